//! The file of a semaphore, open and mapped.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, Stat, fallocate, fstat};
use rustix::io::{Errno, retry_on_intr};

use super::algorithm::epoch as reset;
use super::algorithm::fairness;
use super::algorithm::layout::{self, FIRST_SLOTS, Layout, Map, PAGE, Slot};
use super::algorithm::spin::Experience;
use super::clock;
use super::error::Trouble;
use super::lifetime::path::{self, Place};
use super::process_id as people;
use crate::sys::descriptor::{PrivateDescriptor, undisturbed};
use crate::sys::lock;

/// The file, open and mapped.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) map: Map,
    pub(crate) place: Arc<Place>,
    file: Mutex<Arc<PrivateDescriptor>>,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// This open's slot, or [`NO_SLOT`].
    own: AtomicU32,
    /// So many slots are known to lie in memory that is there.
    reserved: AtomicU32,
    /// Threads take turns at recovering.
    recovering: Mutex<()>,
    /// The slot of who was found dead last.
    last_dead: AtomicU32,
    pub(crate) experience: Experience,
}

const NO_SLOT: u32 = u32::MAX;
const SLOTS_AT: u32 = std::mem::offset_of!(Layout, slots) as u32;
const SLOT_SIZE: u32 = size_of::<Slot>() as u32;

impl Core {
    /// Opens the file, by a function that may be called several times, and maps it; tells what the system says of it.
    /// Nothing is looked at yet.
    pub(crate) fn open(
        place: &Arc<Place>,
        mut open: impl FnMut() -> Result<OwnedFd, Errno>,
    ) -> io::Result<(Self, Stat)> {
        let (file, map, data) = undisturbed(|| {
            let file = retry_on_intr(&mut open)?;
            let data = fstat(&file)?;
            let file = PrivateDescriptor::of_file(file, data.st_dev, data.st_ino)?;
            let map = Map::new(file.as_fd())?;
            Ok::<_, io::Error>((file, map, data))
        })?;
        let core = Self {
            map,
            place: Arc::clone(place),
            file: Mutex::new(Arc::new(file)),
            device: data.st_dev,
            inode: data.st_ino,
            own: AtomicU32::new(NO_SLOT),
            reserved: AtomicU32::new(FIRST_SLOTS.into()),
            recovering: Mutex::new(()),
            last_dead: AtomicU32::new(0),
            experience: Experience::new(),
        };
        Ok((core, data))
    }

    #[inline]
    pub(crate) fn layout(&self) -> &Layout {
        &self.map
    }

    /// The descriptor. If other code of the process has closed it, the file is opened again: our own lock lives on with
    /// the mapping, and any open of the file will do for all others.
    pub(crate) fn file(&self) -> Result<Arc<PrivateDescriptor>, Trouble> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !file.is_ours() {
            let again = undisturbed(|| PrivateDescriptor::new(path::open_by_name(&self.place)?));
            let again = again.map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT) => Trouble::LostDescriptor,
                _ => error.into(),
            })?;
            if !self.is(&fstat(&again)?) {
                return Err(Trouble::LostDescriptor);
            }
            *file = Arc::new(again);
        }
        Ok(Arc::clone(&file))
    }

    /// The descriptor, for who has just opened the file. That nobody has closed it since is to be looked at before anything is
    /// done that rests on a lock that was free or could be had: it may have been one of another file.
    pub(crate) fn new_file(&self) -> Arc<PrivateDescriptor> {
        Arc::clone(&self.file.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The descriptor alone.
    pub(crate) fn into_file(self) -> Option<OwnedFd> {
        let file = self.file.into_inner().unwrap_or_else(PoisonError::into_inner);
        Arc::into_inner(file)?.into_inner()
    }

    pub(crate) fn is(&self, data: &Stat) -> bool {
        (data.st_dev, data.st_ino) == (self.device, self.inode)
    }

    pub(crate) fn own_slot(&self) -> Option<u16> {
        u16::try_from(self.own.load(Ordering::Relaxed)).ok()
    }

    pub(crate) fn set_own_slot(&self, number: u16) {
        self.own.store(number.into(), Ordering::Relaxed);
    }

    /// A slot, whose number may come from the file.
    #[inline]
    pub(crate) fn slot(&self, number: u16) -> Result<&Slot, Trouble> {
        let slot = layout::slot(&self.map, self.map.rest(), number).ok_or(Trouble::Corrupt)?;
        if u32::from(number) >= self.reserved.load(Ordering::Relaxed) {
            self.reserve(number)?;
        }
        Ok(slot)
    }

    /// Sees that the memory of a slot is there: to touch what is not, where there is no more, is SIGBUS.
    #[cold]
    fn reserve(&self, number: u16) -> Result<(), Trouble> {
        let end = u64::from(SLOTS_AT + (u32::from(number) + 1) * SLOT_SIZE).next_multiple_of(PAGE);
        reserve(&*self.file()?, end)?;
        self.reserved.fetch_max((end as u32 - SLOTS_AT) / SLOT_SIZE, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn recovering(&self) -> MutexGuard<'_, ()> {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_dead(&self) -> u16 {
        self.last_dead.load(Ordering::Relaxed) as u16
    }

    pub(crate) fn note_dead(&self, number: u16) {
        self.last_dead.store(number.into(), Ordering::Relaxed);
    }

    /// Whether who has not waited lets those go first who have.
    #[cold]
    pub(crate) fn is_fair_now(&self) -> bool {
        let until = self.layout().fair_until.load(Ordering::Relaxed);
        // a moment far ahead is none that anybody has written
        until != 0 && (1..=fairness::FAIR_MS).contains(&until.wrapping_sub(clock::milliseconds()))
    }

    /// How many processes seem to wait: those in slots before this one's, and all. (The dead may still be among them.)
    pub(crate) fn waiting_processes(&self) -> (u64, u64) {
        let own = self.own_slot();
        let waits = |number: &u16| {
            self.slot(*number).is_ok_and(|slot| slot.waiting_threads.load(Ordering::Relaxed) > 0)
        };
        self.layout().used_slots().filter(waits).fold((0, 0), |(before, all), number| {
            (before + u64::from(own.is_some_and(|own| number < own)), all + 1)
        })
    }

    /// A process that is stopped in the middle of a recovery, and the dead one.
    pub(crate) fn stopped_recoverer(&self) -> Option<(u32, u32)> {
        self.layout().used_slots().find_map(|number| {
            let slot = self.slot(number).ok()?;
            let recoverer = slot.recoverer.load(Ordering::Relaxed);
            let is_stopped = recoverer != 0 && people::is_stopped(recoverer);
            is_stopped.then(|| (recoverer, slot.pid.load(Ordering::Relaxed)))
        })
    }

    /// Whether it looks as if the slot's process lived. That is a hint, and cheap.
    pub(crate) fn seems_alive(&self, number: u16) -> Result<bool, Trouble> {
        Ok(people::seems_alive(&self.slot(number)?.identity()))
    }

    /// The epoch of now. After a removal it is one in which nobody holds anything.
    pub(crate) fn epoch(&self) -> u32 {
        reset::epoch(self.layout())
    }

    pub(crate) fn max_permits(&self) -> u32 {
        self.layout().max_permits(reset::last_epoch(self.layout()))
    }

    /// The slots of living processes.
    pub(crate) fn living_slots(&self) -> Result<Vec<(u16, &Slot)>, Trouble> {
        let file = self.file()?;
        let mut living = Vec::new();
        for number in self.layout().used_slots() {
            if Some(number) == self.own_slot() || lock::is_locked(file.as_fd(), number..number + 1)? {
                living.push((number, self.slot(number)?));
            }
        }
        Ok(living)
    }
}

/// Reserves memory for the beginning of the file: a page that cannot be had is an error here, and SIGBUS later.
pub(crate) fn reserve(file: impl AsFd, length: u64) -> Result<(), Errno> {
    match retry_on_intr(|| fallocate(&file, FallocateFlags::empty(), 0, length)) {
        // a file system that cannot reserve: not that of shared memory
        Err(Errno::OPNOTSUPP) => Ok(()),
        outcome => outcome,
    }
}
