//! The way that most operations go: nobody else has used the semaphore since this process did, and nobody waits.
//!
//! It is [`super::operation`] with all that is not needed then left out, and all that it needs near at hand. Whenever
//! something is in the way, nothing has happened, and the whole operation is done instead.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::layout::{self, MAX_PERMITS, Slot, StateCell};
use super::mapped_file::MappedFile;
use super::operation;
use super::slot_lock::SlotLock;
use super::state::{Record, State};
use crate::backend::robust::failpoint::{self, Failpoint};
use crate::backend::robust::platform::SharedObject;
use crate::sys::shared_memory::Part;
use crate::sys::thread::SingleThreaded;
use crate::types::Epoch;

/// What the quick way needs of an open semaphore.
#[derive(Debug)]
pub(crate) struct FastPath {
    state: Part<StateCell>,
    own: Part<Slot>,
    single_threaded: SingleThreaded,
    /// An empty state of its slot.
    tag_base: State,
    slot_lock: Arc<SlotLock>,
}

impl FastPath {
    pub(crate) fn new(mapped: &MappedFile, number: u16, slot_lock: &Arc<SlotLock>) -> Self {
        Self {
            state: mapped.file.part(|layout, _| &layout.state),
            own: mapped.file.part(move |layout, rest| layout::slot(layout, rest, number).expect("it has it")),
            single_threaded: SingleThreaded::get_flag(),
            tag_base: State::new(number, 0, false, 0),
            slot_lock: Arc::clone(slot_lock),
        }
    }

    /// Does something with the slot if it is this thread's turn at once, which it always is if there is no other thread.
    ///
    /// (A signal handler must not use semaphores; one that takes or gives here is done before we go on, and the comparisons
    /// show it what we have begun, and us what it has done.)
    #[inline(always)]
    fn with_slot_lock<T>(&self, operate: impl FnOnce() -> T) -> Option<T> {
        if self.single_threaded.get() {
            return Some(operate());
        }
        let _guard = self.slot_lock.try_lock_mt()?;
        Some(operate())
    }

    /// Takes permits if this process has no other thread; tells of which epoch they are.
    #[inline(always)]
    pub(crate) fn acquire_single_threaded(&self, count: u32) -> Option<Epoch> {
        if self.single_threaded.get() { self.acquire_impl(count) } else { None }
    }

    /// Takes permits; tells of which epoch they are.
    #[inline(always)]
    pub(crate) fn acquire(&self, count: u32) -> Option<Epoch> {
        self.with_slot_lock(|| self.acquire_impl(count))?
    }

    /// Gives permits of this epoch back if this process has no other thread.
    #[inline(always)]
    pub(crate) fn release_single_threaded(&self, count: u32, epoch: Epoch) -> bool {
        self.single_threaded.get() && self.release_impl(count, epoch)
    }

    /// Gives permits of this epoch back.
    #[inline(always)]
    pub(crate) fn release(&self, count: u32, epoch: Epoch) -> bool {
        self.with_slot_lock(|| self.release_impl(count, epoch)).unwrap_or(false)
    }

    /// Creates permits.
    #[inline]
    pub(crate) fn add(&self, count: u32) -> bool {
        let is_allowed = |free, epoch| count <= MAX_PERMITS && self.has_room(free, count, epoch);
        self.with_slot_lock(|| self.operate(count.into(), 0, is_allowed)).flatten().is_some()
    }

    /// Stops holding permits of this epoch, without giving them back.
    #[inline]
    pub(crate) fn forget(&self, count: u32, epoch: Epoch) -> bool {
        self.with_slot_lock(|| operation::forget(&self.own, count, epoch)).is_some()
    }

    #[inline(always)]
    fn acquire_impl(&self, count: u32) -> Option<Epoch> {
        let difference = i64::from(count);
        self.operate(-difference, difference, |free, _| free >= count)
    }

    #[inline(always)]
    fn release_impl(&self, count: u32, epoch: Epoch) -> bool {
        let difference = i64::from(count);
        let is_allowed = |free, current| current == epoch && self.has_room(free, count, epoch);
        self.operate(difference, -difference, is_allowed).is_some()
    }

    #[inline(always)]
    fn has_room(&self, free: u32, count: u32, epoch: Epoch) -> bool {
        let max = self.state.max_permits[layout::epoch_index(epoch)].load(Ordering::Relaxed);
        // a process can hold more than can be free
        free.checked_add(count).is_some_and(|sum| sum <= MAX_PERMITS && sum <= max)
    }

    /// Adds to what is free, and to what is held, if that is possible with so many free ones in this epoch.
    ///
    /// The next state depends on nothing but the state, and so does the swap: that is half of the speed.
    #[inline(always)]
    fn operate(&self, free: i64, held: i64, is_allowed: impl FnOnce(u32, Epoch) -> bool) -> Option<Epoch> {
        let state = State(self.state.word.load(Ordering::Acquire));
        let committed = Record::load(&self.own.committed, Ordering::Relaxed);
        let epoch = self.own.epoch.load(Ordering::Relaxed);
        if !state.is_uncontended(self.tag_base, committed) || !is_allowed(state.count(), epoch) {
            return None;
        }
        let pending = committed.next(held)?;
        pending.store(&self.own.pending);
        failpoint::hit(Failpoint::BeforeSwap);
        let next = state.next(free);
        self.state.word.compare_exchange(state.0, next.0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        failpoint::hit(Failpoint::AfterSwap);
        pending.store(&self.own.committed);
        Some(epoch)
    }
}
