//! The way that most operations go: nobody else has used the semaphore since this process did, and nobody waits.
//!
//! It is [`super::operation`] with all that is not needed then left out, and all that it needs near at hand. Whenever
//! something is in the way, nothing has happened, and the whole operation is done instead.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::layout::{Layout, MAX_PERMITS, Record, Slot, State, StateCell};
use super::turn::Turn;
use super::{Core, breakpoint};
use crate::backend::Epoch;
use crate::sys::atomic::AtomicU32;
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
            own: core.map.part(move |layout| &layout.slots[usize::from(number)]),
            single: SingleThreaded::find(),
            number,
            max_permits: core.map.part(|layout| &layout.max_permits),
            turn: Arc::clone(turn),
        }
    }

    /// Takes permits if this process has no other thread; tells of which epoch they are.
    ///
    /// No turn is needed then. (A signal handler must not use semaphores; one that takes or gives here is done before we
    /// go on, and the comparisons show it what we have begun, and us what it has done.)
    #[inline(always)]
    pub(crate) fn acquire_alone(&self, count: u32) -> Option<Epoch> {
        if self.single.get() { self.take(count) } else { None }
    }

    /// Takes permits; tells of which epoch they are.
    #[inline(always)]
    pub(crate) fn acquire(&self, count: u32) -> Option<Epoch> {
        let _turn = self.turn.take_at_once()?;
        self.take(count)
    }

    /// Gives permits of this epoch back if this process has no other thread.
    #[inline(always)]
    pub(crate) fn give_back_alone(&self, count: u32, epoch: Epoch) -> bool {
        self.single.get() && self.give(count, epoch)
    }

    /// Gives permits of this epoch back.
    #[inline(always)]
    pub(crate) fn give_back(&self, count: u32, epoch: Epoch) -> bool {
        self.turn.take_at_once().is_some_and(|_turn| self.give(count, epoch))
    }

    #[inline(always)]
    fn take(&self, count: u32) -> Option<Epoch> {
        self.operate(-i64::from(count), |free, _| free >= count)
    }

    #[inline(always)]
    fn give(&self, count: u32, epoch: Epoch) -> bool {
        let done = self.operate(count.into(), |free, current| {
            // neither is above 2^31
            let sum = free.wrapping_add(count);
            current == epoch && sum <= MAX_PERMITS && sum <= self.max_permits.load(Ordering::Relaxed)
        });
        done.is_some()
    }

    /// Adds to what is free, and takes from what is held, if that is possible with so many free ones in this epoch.
    ///
    /// The next state depends on nothing but the state, and so does the swap: that is half of the speed.
    #[inline(always)]
    fn operate(&self, difference: i64, is_possible: impl FnOnce(u32, Epoch) -> bool) -> Option<Epoch> {
        let state = State(self.state.word.load(Ordering::Acquire));
        let committed = Record::load(&self.own.committed, Ordering::Relaxed);
        let epoch = self.own.epoch.load(Ordering::Relaxed);
        if !state.is_quiet(self.number, committed) || !is_possible(state.count(), epoch) {
            return None;
        }
        let pending = committed.next(-difference)?;
        pending.store(&self.own.pending);
        breakpoint::pass(breakpoint::Step::BeforeSwap);
        let next = state.next_of_same_slot(difference);
        self.state.word.compare_exchange(state.0, next.0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        breakpoint::pass(breakpoint::Step::AfterSwap);
        pending.store(&self.own.committed);
        Some(epoch)
    }
}
