//! One operation: acquiring, releasing or adding permits.
//!
//! An operation changes the number of free permits and the number that its process holds. No
//! instruction changes both words at once. Three steps leave no doubt if the process dies between
//! them:
//!
//! 1. The process writes down what it will hold (`pending`), with the operation's sequence number.
//! 2. It changes the number of free permits by one compare-and-swap, which leaves the operation's
//!    *tag* (slot and sequence number) in the state.
//! 3. It writes down what it holds now (`committed`), with the same sequence number.
//!
//! The operation happened if and only if its tag came into the state. A process overwrites a tag
//! only after the tag is no longer needed: either the tag's owner has written `committed`, or the
//! overwriting process itself stores the sequence number in `helped`. A recoverer can therefore
//! always tell whether a dead process's last operation happened: `committed` says so, or the tag is
//! still in the state, or `helped` says so ([`super::recovery`]). A [reset](super::reset) leaves a
//! tag that no process has.
//!
//! The tag has 20 bits of the sequence number. The following schedule defeats it:
//!
//! 1. A loads the state and is stopped.
//! 2. B does an exact multiple of 2^20 operations, which end at the same number of free permits.
//! 3. B dies after its last compare-and-swap and before it stores `committed`.
//! 4. A's compare-and-swap succeeds and overwrites B's tag.

use std::sync::atomic::Ordering;

use super::epoch::{adopt_epoch, complete_reset};
use super::fairness::is_fair_now;
use super::layout::{INITIAL, Layout, REMOVED, RESET, Slot};
use super::mapped_file::MappedFile;
use super::state::{Record, State, truncate_seq};
use crate::backend::robust::error::EngineError;
use crate::backend::robust::failpoint::{self, Failpoint};

/// A change of the number of free permits and of the number that the process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) subtract: u32,
    pub(crate) add: u32,
    /// The epoch of the released permits. The operation does nothing in another epoch.
    pub(crate) epoch: Option<u32>,
    /// Whether the operation yields to waiters while the rule is fair (see [`super::wait`]).
    pub(crate) yields_to_waiters: bool,
    pub(crate) held: HeldDelta,
    pub(crate) on_overflow: OnOverflow,
    pub(crate) waiters: WaitersFlag,
}

/// The change of the number of permits that the process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeldDelta {
    Add(u32),
    Sub(u32),
}

impl HeldDelta {
    /// Returns the change for a process that holds this many permits.
    fn difference(self, held: u32) -> i64 {
        match self {
            Self::Add(count) => count.into(),
            // the process holds fewer permits than it releases only if another program has written
            // to the file
            Self::Sub(count) => -i64::from(held.min(count)),
        }
    }
}

/// What an operation does if the free permits would pass the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnOverflow {
    Refuse,
    Saturate,
}

/// What an operation does to the WAITERS bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitersFlag {
    Keep,
    Set,
    /// Clears the bit. The caller must then wake waiters.
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

    /// Releases permits of this epoch and adds new ones, in one step.
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
    /// Nothing happened: there are too few free permits, or the operation yields to waiters.
    Insufficient(State),
    /// Nothing happened: the free permits would pass the maximum, or the held ones would overflow.
    Overflow,
    /// Nothing happened: a reset has voided the permits.
    Stale,
}

/// Whether a state that was loaded is worth a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
enum LoadedState {
    /// No change of the state was seen.
    Current,
    /// The state, or the record of the operation that its tag names, has changed. It must be loaded
    /// again.
    Outdated,
}

/// The only writer of a slot: a thread of its user that has the slot lock, or the recoverer of a
/// dead user.
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
            if state.slot() != self.number && self.resolve_foreign_tag(state)? == LoadedState::Outdated {
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

    /// Returns whether an operation of this slot was applied and is not committed.
    ///
    /// No other thread writes to the slot. The operation is therefore one of this thread, which a
    /// signal handler has interrupted on the [fast path](super::fast_path), or another program has
    /// written to the file.
    fn has_unfinished_operation(self, state: State) -> bool {
        let (committed, pending) = (self.slot.committed(), self.slot.pending());
        let has_tag = state.slot() == self.number && state.seq() == truncate_seq(pending.seq());
        let is_applied = has_tag || self.slot.helped.load(Ordering::Acquire) == pending.seq();
        pending.seq() != committed.seq() && is_applied
    }

    /// Tries to do an operation on this state, whose tag can be overwritten. Returns `None` if the
    /// state has changed.
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
                // `room` was computed from this state only if the state has not changed
                return (self.layout.state() == state).then_some(Outcome::Overflow);
            }
            left + operation.add.min(room)
        };
        let committed = Record::load(&own.committed, Ordering::Relaxed);
        let Some(pending) = committed.next(operation.held.difference(committed.amount())) else {
            return Some(Outcome::Overflow);
        };
        // a release store: it must not become visible before `committed` of the previous operation
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

    /// Makes sure that the tag in this state can be overwritten, and that the slot is in the
    /// state's epoch. Returns [`LoadedState::Outdated`] if the state has changed meanwhile.
    ///
    /// A tag of this very slot needs neither: a reset after the slot's last operation would have
    /// left another tag.
    #[cold]
    fn resolve_foreign_tag(self, state: State) -> Result<LoadedState, EngineError> {
        match state.slot() {
            REMOVED => return Err(EngineError::Removed),
            INITIAL => {}
            RESET => complete_reset(self.layout, state),
            other => {
                if help(self.layout, self.mapped.ensure_slot(other)?, state) == LoadedState::Outdated {
                    return Ok(LoadedState::Outdated);
                }
            }
        }
        adopt_epoch(self.layout, self.slot);
        check_count(self.layout, state, self.slot.epoch.load(Ordering::Relaxed))?;
        Ok(LoadedState::Current)
    }
}

/// Fails if a state of this epoch counts more free permits than the epoch's maximum. No operation
/// leaves such a state, so another program has written to the file.
///
/// A state with the caller's own tag needs no check, because the caller checked the state that it
/// replaced.
pub(crate) fn check_count(layout: &Layout, state: State, epoch: u32) -> Result<(), EngineError> {
    // If a reset came in between, the loaded maximum is a later epoch's, and the state has changed.
    if state.count() > layout.max_permits(epoch) && layout.state() == state {
        return Err(EngineError::Corrupt);
    }
    Ok(())
}

/// Stores the sequence number of the operation with this state's tag in `helped`, if its process
/// has not committed it.
fn help(layout: &Layout, other: &Slot, state: State) -> LoadedState {
    // Before the next two loads: if `helped` changes after this load, the exchange below fails.
    let helped = other.helped.load(Ordering::Acquire);
    if truncate_seq(other.committed().seq()) == state.seq() {
        return LoadedState::Current;
    }
    let pending = other.pending().seq();
    if truncate_seq(pending) != state.seq() || pending == helped {
        return LoadedState::Current;
    }
    // The state must be unchanged *after* the loads of the records, or they may belong to a later
    // operation. The exchange compares for equality, because sequence numbers wrap.
    let is_helped = layout.state() == state
        && other.helped.compare_exchange(helped, pending, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if is_helped { LoadedState::Current } else { LoadedState::Outdated }
}

/// Disowns permits of this epoch, without releasing them. Permits of another epoch are not held.
///
/// This is one store, so a death leaves nothing to resolve.
pub(crate) fn forget(own: &Slot, count: u32, epoch: u32) {
    if own.epoch.load(Ordering::Relaxed) == epoch {
        let committed = own.committed();
        committed.with_amount(committed.amount().saturating_sub(count)).store(&own.committed);
    }
}
