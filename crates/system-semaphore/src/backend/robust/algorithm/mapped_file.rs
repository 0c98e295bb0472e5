//! What a process knows of the file of a semaphore that it has open.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backoff::ContentionBackoff;
use super::epoch;
use super::layout::{self, FILE_SIZE, FIRST_SLOTS, Layout, MoreSlots, PAGE, Slot};
use super::spin::AdaptiveSpin;
use crate::backend::robust::error::EngineError;
use crate::backend::robust::platform::{LivenessLocks, Locks, SharedFile, SharedObject};
use crate::backend::robust::process_id;

/// The file, open and mapped, and what this process has learnt about it.
#[derive(Debug)]
pub(crate) struct MappedFile {
    pub(crate) file: SharedFile<Layout, MoreSlots>,
    /// The slot of this open, or [`NO_SLOT`].
    own: AtomicU32,
    /// Number of slots whose memory is known to be allocated.
    reserved: AtomicU32,
    /// Excludes other threads of this process from a recovery.
    recovering: Mutex<()>,
    /// The slot of the dead user that was recovered last.
    last_dead: AtomicU32,
    pub(crate) spin: AdaptiveSpin,
    pub(crate) backoff: ContentionBackoff,
}

const NO_SLOT: u32 = u32::MAX;
/// Every offset in the file fits into 32 bits. The casts of offsets and sizes below rely on that.
const _: () = assert!(FILE_SIZE <= u32::MAX as u64 && SLOT_SIZE > 0);
const SLOTS_AT: u32 = std::mem::offset_of!(Layout, slots) as u32;
const SLOT_SIZE: u32 = size_of::<Slot>() as u32;

impl MappedFile {
    /// What this process knows of a file that it has just opened. Nothing in it was read yet.
    pub(crate) fn new(file: SharedFile<Layout, MoreSlots>) -> Self {
        Self {
            file,
            own: AtomicU32::new(NO_SLOT),
            reserved: AtomicU32::new(FIRST_SLOTS.into()),
            recovering: Mutex::new(()),
            last_dead: AtomicU32::new(0),
            spin: AdaptiveSpin::new(),
            backoff: ContentionBackoff::new(),
        }
    }

    #[inline]
    pub(crate) fn layout(&self) -> &Layout {
        self.file.first()
    }

    /// The locks; see [`SharedObject::ensure_locks`].
    pub(crate) fn ensure_locks(&self) -> Result<Arc<Locks>, EngineError> {
        self.file.ensure_locks()
    }

    /// Returns the locks of a file that was opened just now, without the check that its descriptor
    /// still is ours. See [`SharedObject::new_locks`] for what the caller checks.
    pub(crate) fn new_locks(&self) -> Arc<Locks> {
        self.file.new_locks()
    }

    pub(crate) fn own_slot(&self) -> Option<u16> {
        u16::try_from(self.own.load(Ordering::Relaxed)).ok()
    }

    pub(crate) fn set_own_slot(&self, number: u16) {
        self.own.store(number.into(), Ordering::Relaxed);
    }

    /// Returns a slot, after allocating its memory. The number may come from the file.
    #[inline]
    pub(crate) fn ensure_slot(&self, number: u16) -> Result<&Slot, EngineError> {
        let slot = layout::slot(self.file.first(), self.file.rest(), number).ok_or(EngineError::Corrupt)?;
        if u32::from(number) >= self.reserved.load(Ordering::Relaxed) {
            self.reserve(number)?;
        }
        Ok(slot)
    }

    /// Allocates the memory of a slot. An access to memory that cannot be allocated raises SIGBUS.
    #[cold]
    fn reserve(&self, number: u16) -> Result<(), EngineError> {
        // `ensure_slot` has checked the number, so this ends within the file
        let end = u64::from(SLOTS_AT + (u32::from(number) + 1) * SLOT_SIZE).next_multiple_of(PAGE);
        SharedFile::<Layout, MoreSlots>::reserve(&*self.ensure_locks()?, end)?;
        self.reserved.fetch_max((end as u32 - SLOTS_AT) / SLOT_SIZE, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn recovering(&self) -> MutexGuard<'_, ()> {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_dead(&self) -> u16 {
        self.last_dead.load(Ordering::Relaxed) as u16
    }

    pub(crate) fn set_last_dead(&self, number: u16) {
        self.last_dead.store(number.into(), Ordering::Relaxed);
    }

    /// Returns the number of waiting processes in lower slots than this one, and in all. Dead
    /// processes may be among them.
    pub(crate) fn waiting_processes(&self) -> (u64, u64) {
        let own = self.own_slot();
        let waits = |number: &u16| {
            self.ensure_slot(*number).is_ok_and(|slot| slot.waiting_threads.load(Ordering::Relaxed) > 0)
        };
        self.layout().used_slots().filter(waits).fold((0, 0), |(before, all), number| {
            (before + u64::from(own.is_some_and(|own| number < own)), all + 1)
        })
    }

    /// Returns the PIDs of a recoverer that is stopped and of the dead user that it recovers.
    pub(crate) fn stopped_recoverer(&self) -> Option<(u32, u32)> {
        self.layout().used_slots().find_map(|number| {
            let slot = self.ensure_slot(number).ok()?;
            let recoverer = slot.recoverer.load(Ordering::Relaxed);
            let is_stopped = recoverer != 0 && process_id::is_stopped(recoverer);
            is_stopped.then(|| (recoverer, slot.pid.load(Ordering::Relaxed)))
        })
    }

    /// Returns whether the user of a slot appears alive. This is a cheap hint.
    pub(crate) fn seems_alive(&self, number: u16) -> Result<bool, EngineError> {
        Ok(process_id::seems_alive(&self.ensure_slot(number)?.process_id()))
    }

    /// Returns the current epoch, after completing a reset that its resetter has not completed.
    ///
    /// A removed semaphore is in an epoch in which no process holds permits.
    pub(crate) fn resolve_epoch(&self) -> u32 {
        epoch::resolve_epoch(self.layout())
    }

    pub(crate) fn resolve_max_permits(&self) -> u32 {
        self.layout().max_permits(epoch::resolve_reset_epoch(self.layout()))
    }

    /// Returns the slots of living users.
    pub(crate) fn living_slots(&self) -> Result<Vec<(u16, &Slot)>, EngineError> {
        let locks = self.ensure_locks()?;
        let mut living = Vec::new();
        for number in self.layout().used_slots() {
            if Some(number) == self.own_slot() || locks.is_locked(number)? {
                living.push((number, self.ensure_slot(number)?));
            }
        }
        Ok(living)
    }
}
