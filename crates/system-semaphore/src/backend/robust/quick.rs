//! The way that most operations go: nobody else has used the semaphore since this process did, and nobody waits.
//!
//! It is [`super::operation`] with all that is not needed then left out, and all that it needs near at hand. Whenever
//! something is in the way, nothing has happened, and the whole operation is done instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::layout::{Layout, Record, Slot, State, StateCell};
use super::turn::Turn;
use super::{Core, breakpoint};
use crate::backend::Epoch;
use crate::sys::memory::Part;
use crate::sys::thread::SingleThreaded;

/// What the quick way needs of an open semaphore.
#[derive(Debug)]
pub(crate) struct Quick {
    state: Part<StateCell, Layout>,
    own: Part<Slot, Layout>,
    single: SingleThreaded,
    number: u16,
    max_permits: Part<AtomicU32, Layout>,
    turn: Arc<Turn>,
}

impl Quick {
    pub(super) fn new(core: &Core, number: u16, turn: &Arc<Turn>) -> Self {
        Self {
            state: core.map.part(|layout| &layout.state),
            own: core.map.part(|layout| &layout.slots[usize::from(number)]),
            single: SingleThreaded::find(),
            number,
            max_permits: core.map.part(|layout| &layout.max_permits),
            turn: Arc::clone(turn),
        }
    }

    /// Takes permits; tells of which epoch they are.
    #[inline(always)]
    pub(crate) fn acquire(&self, count: u32) -> Option<Epoch> {
        // Without other threads no turn is needed: a signal handler that comes between is done before we go on, and the
        // comparisons here show it what we have begun, and us what it has done.
        if self.single.get() { self.take(count) } else { self.acquire_in_turn(count) }
    }

    #[inline(never)]
    fn acquire_in_turn(&self, count: u32) -> Option<Epoch> {
        let _turn = self.turn.take_at_once()?;
        self.take(count)
    }

    /// Gives permits of this epoch back.
    #[inline(always)]
    pub(crate) fn give_back(&self, count: u32, epoch: Epoch) -> bool {
        if self.single.get() { self.give(count, epoch) } else { self.give_back_in_turn(count, epoch) }
    }

    #[inline(never)]
    fn give_back_in_turn(&self, count: u32, epoch: Epoch) -> bool {
        self.turn.take_at_once().is_some_and(|_turn| self.give(count, epoch))
    }

    #[inline(always)]
    fn take(&self, count: u32) -> Option<Epoch> {
        let is_done = self.operate(-i64::from(count), |free| free >= count);
        is_done.then(|| self.own.epoch.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn give(&self, count: u32, epoch: Epoch) -> bool {
        let is_current = self.own.epoch.load(Ordering::Relaxed) == epoch;
        // neither is above 2^31
        let has_room = |free: u32| free.wrapping_add(count) <= self.max_permits.load(Ordering::Relaxed);
        is_current && self.operate(count.into(), has_room)
    }

    /// Adds to what is free, and takes from what is held.
    ///
    /// The next state depends on nothing but the state, and so does the swap: that is half of the speed.
    #[inline(always)]
    fn operate(&self, difference: i64, is_possible: impl FnOnce(u32) -> bool) -> bool {
        let state = State(self.state.word.load(Ordering::Acquire));
        let committed = Record::load(&self.own.committed, Ordering::Relaxed);
        if !state.is_quiet(self.number, committed) || !is_possible(state.count()) {
            return false;
        }
        let pending = committed.next(-difference);
        pending.store(&self.own.pending);
        breakpoint::pass(breakpoint::Step::BeforeSwap);
        let next = state.next_of_same_slot(difference);
        if self.state.word.compare_exchange(state.0, next.0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        breakpoint::pass(breakpoint::Step::AfterSwap);
        pending.store(&self.own.committed);
        true
    }
}
