//! The way that most operations go: nobody else has used the semaphore since this process did, and nobody waits.
//!
//! It is [`super::operation`] with all that is not needed then left out, and all that it needs near at hand. Whenever
//! something is in the way, nothing has happened, and the whole operation is done instead.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::layout::{self, MAX_PERMITS, Slot, StateCell};
use super::mapped_file::Core;
use super::operation;
use super::slot_lock::Turn;
use super::state::{Record, State};
use crate::backend::robust::failpoint as breakpoint;
use crate::backend::robust::platform::SharedObject;
use crate::sys::shared_memory::Part;
use crate::sys::thread::SingleThreaded;
use crate::types::Epoch;

/// What the quick way needs of an open semaphore.
#[derive(Debug)]
pub(crate) struct FastPath {
    state: Part<StateCell>,
    own: Part<Slot>,
    single: SingleThreaded,
    /// An empty state of its slot.
    empty: State,
    turn: Arc<Turn>,
}

impl FastPath {
    pub(crate) fn new(core: &Core, number: u16, turn: &Arc<Turn>) -> Self {
        Self {
            state: core.file.part(|layout, _| &layout.state),
            own: core.file.part(move |layout, more| layout::slot(layout, more, number).expect("it has it")),
            single: SingleThreaded::find(),
            empty: State::new(number, 0, false, 0),
            turn: Arc::clone(turn),
        }
    }

    /// Does something with the slot if it is this thread's turn at once, which it always is if there is no other thread.
    ///
    /// (A signal handler must not use semaphores; one that takes or gives here is done before we go on, and the comparisons
    /// show it what we have begun, and us what it has done.)
    #[inline(always)]
    fn in_turn<T>(&self, operate: impl FnOnce() -> T) -> Option<T> {
        if self.single.get() {
            return Some(operate());
        }
        let _turn = self.turn.take_among_others()?;
        Some(operate())
    }

    /// Takes permits if this process has no other thread; tells of which epoch they are.
    #[inline(always)]
    pub(crate) fn acquire_single_threaded(&self, count: u32) -> Option<Epoch> {
        if self.single.get() { self.take(count) } else { None }
    }

    /// Takes permits; tells of which epoch they are.
    #[inline(always)]
    pub(crate) fn acquire(&self, count: u32) -> Option<Epoch> {
        self.in_turn(|| self.take(count))?
    }

    /// Gives permits of this epoch back if this process has no other thread.
    #[inline(always)]
    pub(crate) fn release_single_threaded(&self, count: u32, epoch: Epoch) -> bool {
        self.single.get() && self.give(count, epoch)
    }

    /// Gives permits of this epoch back.
    #[inline(always)]
    pub(crate) fn release(&self, count: u32, epoch: Epoch) -> bool {
        self.in_turn(|| self.give(count, epoch)).unwrap_or(false)
    }

    /// Creates permits.
    #[inline]
    pub(crate) fn add(&self, count: u32) -> bool {
        let is_possible = |free, epoch| count <= MAX_PERMITS && self.has_room(free, count, epoch);
        self.in_turn(|| self.operate(count.into(), 0, is_possible)).flatten().is_some()
    }

    /// Stops holding permits of this epoch, without giving them back.
    #[inline]
    pub(crate) fn forget(&self, count: u32, epoch: Epoch) -> bool {
        self.in_turn(|| operation::forget(&self.own, count, epoch)).is_some()
    }

    #[inline(always)]
    fn take(&self, count: u32) -> Option<Epoch> {
        let difference = i64::from(count);
        self.operate(-difference, difference, |free, _| free >= count)
    }

    #[inline(always)]
    fn give(&self, count: u32, epoch: Epoch) -> bool {
        let difference = i64::from(count);
        let is_possible = |free, current| current == epoch && self.has_room(free, count, epoch);
        self.operate(difference, -difference, is_possible).is_some()
    }

    #[inline(always)]
    fn has_room(&self, free: u32, count: u32, epoch: Epoch) -> bool {
        let max = self.state.max_permits[layout::parity(epoch)].load(Ordering::Relaxed);
        // a process can hold more than can be free
        free.checked_add(count).is_some_and(|sum| sum <= MAX_PERMITS && sum <= max)
    }

    /// Adds to what is free, and to what is held, if that is possible with so many free ones in this epoch.
    ///
    /// The next state depends on nothing but the state, and so does the swap: that is half of the speed.
    #[inline(always)]
    fn operate(&self, free: i64, held: i64, is_possible: impl FnOnce(u32, Epoch) -> bool) -> Option<Epoch> {
        let state = State(self.state.word.load(Ordering::Acquire));
        let committed = Record::load(&self.own.committed, Ordering::Relaxed);
        let epoch = self.own.epoch.load(Ordering::Relaxed);
        if !state.is_quiet(self.empty, committed) || !is_possible(state.count(), epoch) {
            return None;
        }
        let pending = committed.next(held)?;
        pending.store(&self.own.pending);
        breakpoint::pass(breakpoint::Step::BeforeSwap);
        let next = state.next_of_same_slot(free);
        self.state.word.compare_exchange(state.0, next.0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        breakpoint::pass(breakpoint::Step::AfterSwap);
        pending.store(&self.own.committed);
        Some(epoch)
    }
}
