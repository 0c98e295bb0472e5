//! One operation: taking permits, giving them back, creating them.
//!
//! An operation changes the count of free permits and what its process holds, two words that cannot be changed
//! at once. So that a death between the two leaves no doubt,
//!
//! 1. the process writes down what it will hold (`pending`), with the operation's number;
//! 2. it changes the count by one compare-and-swap, which leaves its *tag* (slot and number) in the state;
//! 3. it writes down what it holds now (`committed`), with the same number.
//!
//! The operation happened if and only if its tag came into the state. Nobody overwrites a tag before it is sure
//! that this is known without it: either the tag's owner has written `committed`, or the overwriter itself notes
//! the number in `helped`. So whether a dead process's last operation happened can always be told:
//! `committed` says so, or the tag is still there, or `helped` says so ([`super::recovery`]). A [reset](super::reset)
//! leaves a tag that no process has.
//!
//! The tag has 20 bits of the number. The compare-and-swap is fooled if a process stalls between loading the
//! state and swapping it while another does an exact multiple of 2^20 operations that end at the same count and dies
//! right after its last swap, before `committed`.

use std::sync::atomic::Ordering;

use super::epoch::{adopt_epoch, complete_reset};
use super::fairness::is_fair_now;
use super::layout::{INITIAL, Layout, REMOVED, RESET, Slot};
use super::mapped_file::MappedFile;
use super::state::{Record, State, truncate_seq};
use crate::backend::robust::error::EngineError;
use crate::backend::robust::failpoint::{self, Failpoint};

/// What is to happen to the count and to what the process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) subtract: u32,
    pub(crate) add: u32,
    /// The epoch in which what is given was taken: after another reset it is void.
    pub(crate) epoch: Option<u32>,
    /// Lets those go first who wait, while the rule is fair (see [`super::wait`]).
    pub(crate) yields_to_waiters: bool,
    pub(crate) held: HeldDelta,
    pub(crate) on_overflow: OnOverflow,
    pub(crate) waiters: WaitersFlag,
}

/// What happens to the permits that the process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeldDelta {
    Add(u32),
    Sub(u32),
}

impl HeldDelta {
    /// The difference that it makes to who holds so many.
    fn difference(self, held: u32) -> i64 {
        match self {
            Self::Add(count) => count.into(),
            // it holds fewer than it gives back only if somebody else has written to the file
            Self::Sub(count) => -i64::from(held.min(count)),
        }
    }
}

/// What to do if there is no room for what is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnOverflow {
    Refuse,
    Saturate,
}

/// What becomes of the mark that somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitersFlag {
    Keep,
    Set,
    /// The operation then wakes them.
    Clear,
}

impl Operation {
    pub(crate) fn acquire(count: u32, yields_to_waiters: bool, waiters: WaitersFlag) -> Self {
        Self {
            subtract: count,
            add: 0,
            epoch: None,
            yields_to_waiters,
            held: HeldDelta::Add(count),
            on_overflow: OnOverflow::Refuse,
            waiters,
        }
    }

    pub(crate) fn release(count: u32, epoch: u32, waiters: WaitersFlag) -> Self {
        Self {
            subtract: 0,
            add: count,
            epoch: Some(epoch),
            yields_to_waiters: false,
            held: HeldDelta::Sub(count),
            on_overflow: OnOverflow::Saturate,
            waiters,
        }
    }

    /// Gives back permits taken in this epoch, and creates others, in one step.
    pub(crate) fn release_and_add(held: u32, epoch: u32, added: u32) -> Self {
        Self {
            subtract: 0,
            add: held.saturating_add(added),
            epoch: (held > 0).then_some(epoch),
            yields_to_waiters: false,
            held: HeldDelta::Sub(held),
            on_overflow: OnOverflow::Refuse,
            waiters: WaitersFlag::Clear,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Done {
        before: State,
        after: State,
        epoch: u32,
    },
    /// Nothing happened: there are too few free permits, or others go first.
    Insufficient(State),
    /// Nothing happened: there is no room, or the process would hold more than can be counted.
    Overflow,
    /// Nothing happened: the permits were voided by a reset.
    Stale,
}

/// In whose name an operation is done. Nobody else writes to the slot: this is its process, with the turn, or its
/// recoverer.
#[derive(Clone, Copy)]
pub(crate) struct SlotWriter<'a> {
    pub(crate) mapped: &'a MappedFile,
    pub(crate) layout: &'a Layout,
    pub(crate) number: u16,
    pub(crate) slot: &'a Slot,
}

impl<'a> SlotWriter<'a> {
    pub(crate) fn new(mapped: &'a MappedFile, number: u16) -> Result<Self, EngineError> {
        Ok(Self { mapped, layout: mapped.layout(), number, slot: mapped.ensure_slot(number)? })
    }

    /// Does an operation.
    pub(crate) fn operate(self, operation: &Operation) -> Result<Outcome, EngineError> {
        loop {
            let state = self.layout.state();
            if state.slot() != self.number && !self.resolve_foreign_tag(state)? {
                continue;
            }
            if self.has_unfinished_operation(state) {
                return Err(EngineError::Unfinished);
            }
            if let Some(outcome) = self.attempt(state, operation) {
                return Ok(outcome);
            }
        }
    }

    /// Whether an operation of this slot was applied and is not written down. As nobody else writes to the slot, it is of
    /// this very thread, which was interrupted by a signal handler on the [quick](super::fast_path) way. (Or somebody else has
    /// written to the file.)
    fn has_unfinished_operation(self, state: State) -> bool {
        let (committed, pending) = (self.slot.committed(), self.slot.pending());
        let has_tag = state.slot() == self.number && state.seq() == truncate_seq(pending.seq());
        let is_applied = has_tag || self.slot.helped.load(Ordering::Acquire) == pending.seq();
        pending.seq() != committed.seq() && is_applied
    }

    /// One attempt to do an operation on this state, whose tag can be overwritten; `None` if the state has changed.
    fn attempt(self, state: State, operation: &Operation) -> Option<Outcome> {
        let own = self.slot;
        let epoch = own.epoch.load(Ordering::Relaxed);
        if operation.epoch.is_some_and(|acquired_in| acquired_in != epoch) {
            return Some(Outcome::Stale);
        }
        if operation.yields_to_waiters && state.waiters() && is_fair_now(self.layout) {
            return Some(Outcome::Insufficient(state));
        }
        let Some(left) = state.count().checked_sub(operation.subtract) else {
            return Some(Outcome::Insufficient(state));
        };
        let count = if operation.add == 0 {
            left
        } else {
            let room = self.layout.max_permits(epoch).saturating_sub(left);
            if operation.add > room && operation.on_overflow == OnOverflow::Refuse {
                // the room is that of the state only if that is still the same
                return (self.layout.state() == state).then_some(Outcome::Overflow);
            }
            left + operation.add.min(room)
        };
        let committed = Record::load(&own.committed, Ordering::Relaxed);
        let Some(pending) = committed.next(operation.held.difference(committed.amount())) else {
            return Some(Outcome::Overflow);
        };
        // its store is a release: it must not be seen before the `committed` of the operation before
        pending.store(&own.pending);
        let waiters = match operation.waiters {
            WaitersFlag::Keep => state.waiters(),
            WaitersFlag::Set => true,
            WaitersFlag::Clear => state.waiters() && is_fair_now(self.layout),
        };
        let after = State::new(self.number, pending.seq(), waiters, count);
        failpoint::hit(Failpoint::BeforeSwap);
        if !self.layout.exchange(state, after) {
            return None;
        }
        failpoint::hit(Failpoint::AfterSwap);
        pending.store(&own.committed);
        Some(Outcome::Done { before: state, after, epoch })
    }

    /// Makes sure that the tag in this state can be overwritten, and that the slot is in the epoch of the state.
    /// `false`: the state is no longer this one.
    ///
    /// For a tag of this very slot none of that is to be done: nothing was reset since its last operation, or there would
    /// be another tag.
    #[cold]
    fn resolve_foreign_tag(self, state: State) -> Result<bool, EngineError> {
        match state.slot() {
            REMOVED => return Err(EngineError::Removed),
            INITIAL => {}
            RESET => complete_reset(self.layout, state),
            other => {
                if !help(self.layout, self.mapped.ensure_slot(other)?, state) {
                    return Ok(false);
                }
            }
        }
        adopt_epoch(self.layout, self.slot);
        check_count(self.layout, state, self.slot.epoch.load(Ordering::Relaxed))?;
        Ok(true)
    }
}

/// Fails if a state of this epoch counts more free permits than the epoch's maximum: no operation leaves such a state, so
/// something else has written to the file.
///
/// A state with the caller's own tag needs no check, because the caller checked the state that it replaced.
pub(crate) fn check_count(layout: &Layout, state: State, epoch: u32) -> Result<(), EngineError> {
    // The maximum that was loaded is the one of a later epoch if a reset came between; then the state has changed.
    if state.count() > layout.max_permits(epoch) && layout.state() == state {
        return Err(EngineError::Corrupt);
    }
    Ok(())
}

/// Notes that the operation whose tag this is was applied, if its process has not written it down yet.
/// `false`: the state is no longer this one.
fn help(layout: &Layout, other: &Slot, state: State) -> bool {
    // before the next two: if it changes after this, the exchange below fails
    let helped = other.helped.load(Ordering::Acquire);
    if truncate_seq(other.committed().seq()) == state.seq() {
        return true;
    }
    let pending = other.pending().seq();
    if truncate_seq(pending) != state.seq() || pending == helped {
        return true;
    }
    // The state must still be this one *after* the records were read, or they may be of a later operation. The exchange
    // is a plain one: a comparison of which number is newer would wrap.
    layout.state() == state
        && other.helped.compare_exchange(helped, pending, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Stops holding permits, without giving them back: one store, so there is nothing to tell after a death. Permits of
/// another epoch are not held.
pub(crate) fn forget(own: &Slot, count: u32, epoch: u32) {
    if own.epoch.load(Ordering::Relaxed) == epoch {
        let committed = own.committed();
        committed.with_amount(committed.amount().saturating_sub(count)).store(&own.committed);
    }
}
