//! The fast path: an operation of the process that also did the last one, while no process waits.
//!
//! It does the same as [`super::operation`], without the steps that such an operation does not
//! need. If any condition fails, the fast path changes nothing, and the caller does the whole
//! operation instead.

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

/// The parts of an open semaphore that the fast path needs.
#[derive(Debug)]
pub(crate) struct FastPath {
    state: Part<StateCell>,
    own: Part<Slot>,
    single_threaded: SingleThreaded,
    /// A state with this process's slot and with zeros for everything else.
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

    /// Runs `operate` with the slot lock, or returns `None` if the lock is not free at once. A
    /// process with one thread needs no lock.
    ///
    /// A signal handler must not use semaphores. An operation in a handler finishes before the
    /// interrupted one continues. The compare-and-swap and the sequence numbers show each of them
    /// the other.
    #[inline(always)]
    fn with_slot_lock<T>(&self, operate: impl FnOnce() -> T) -> Option<T> {
        if self.single_threaded.get() {
            return Some(operate());
        }
        let _guard = self.slot_lock.try_lock_mt()?;
        Some(operate())
    }

    /// Acquires permits if this process has no other thread. Returns their epoch.
    #[inline(always)]
    pub(crate) fn acquire_single_threaded(&self, count: u32) -> Option<Epoch> {
        if self.single_threaded.get() { self.acquire_impl(count) } else { None }
    }

    /// Acquires permits. Returns their epoch.
    #[inline(always)]
    pub(crate) fn acquire(&self, count: u32) -> Option<Epoch> {
        self.with_slot_lock(|| self.acquire_impl(count))?
    }

    /// Releases permits of this epoch if this process has no other thread.
    #[inline(always)]
    pub(crate) fn release_single_threaded(&self, count: u32, epoch: Epoch) -> bool {
        self.single_threaded.get() && self.release_impl(count, epoch)
    }

    /// Releases permits of this epoch.
    #[inline(always)]
    pub(crate) fn release(&self, count: u32, epoch: Epoch) -> bool {
        self.with_slot_lock(|| self.release_impl(count, epoch)).unwrap_or(false)
    }

    /// Adds permits.
    #[inline]
    pub(crate) fn add(&self, count: u32) -> bool {
        let is_allowed = |free, epoch| count <= MAX_PERMITS && self.has_room(free, count, epoch);
        self.with_slot_lock(|| self.operate(count.into(), 0, is_allowed)).flatten().is_some()
    }

    /// Disowns permits of this epoch, without releasing them.
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
        // a process can hold more permits than the count of free ones can represent
        free.checked_add(count).is_some_and(|sum| sum <= MAX_PERMITS && sum <= max)
    }

    /// Adds `free` to the free permits and `held` to the held ones, if `is_allowed` accepts the
    /// number of free permits and the epoch.
    ///
    /// The next state is computed from the state alone, so the compare-and-swap waits for no other
    /// load. This is half of the speed.
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
