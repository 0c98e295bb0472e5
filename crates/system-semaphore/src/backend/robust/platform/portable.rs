//! Any Unix: a mapped file, slot files with `flock`, POSIX semaphores, and no notices of deaths.
//!
//! The build with `--cfg portable_platform` uses this module instead of the one for Linux. It
//! exists for tests: it shows that the engine needs nothing that only Linux has for locks, parking
//! and notices.
//!
//! The platform keeps *side files* beside the object's file:
//!
//! | side file | contents | lock (`flock`) |
//! |---|---|---|
//! | `.FILE.INODE.lock-N` | nothing | exclusive, by the process that has lock *N* |
//! | `.FILE.INODE.parking` | the seats of parked threads | shared, by each process that has it mapped |
//! | `.FILE.INODE.new-...` | a side file that has no name yet | as above |
//!
//! A side file that no process has locked is garbage. Any process may delete it, but only while it
//! has the exclusive lock. A process that has taken a lock therefore checks that the side file
//! still has its name, and starts over if not.
//!
//! # Limits
//! glibc creates a semaphore under another name first, `/dev/shm/sem.` and six characters. A
//! process that is killed at that moment leaves that file, of 32 bytes.
//!
//! An inheritable permit keeps its slot file and not the object. If the object is removed, a file
//! system that uses inode numbers again may give its number to a successor, for which the slot is
//! then in use until the permit ends.

mod locks;
mod parking;
mod side_file;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, fstat};
use rustix::io::{Errno, retry_on_intr};

pub(crate) use self::locks::Locks;
use self::locks::SideFiles;
use self::parking::Attachment;
pub(crate) use self::side_file::{file_id, is_side_file};
use super::api::{
    Interrupt, LivenessLocks, Location, Object, ObjectId, Parking, Queue, SharedObject, Unparked,
};
use super::death_notices::{DeathNotices, Disconnected, Notice, Role};
use crate::backend::robust::error::EngineError;
use crate::sys::atomic::AtomicU64;
use crate::sys::private_fd::{PrivateFd, retry_if_forked};
use crate::sys::shared_memory::{Mapping, Part, Shared};

/// A file that is open and mapped.
pub(crate) struct SharedFile<T: Shared, R: Shared> {
    map: Mapping<T, R>,
    locks: Mutex<Arc<Locks>>,
    side_files: Arc<SideFiles>,
    parking: Attachment,
}

impl<T: Shared, R: Shared> fmt::Debug for SharedFile<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFile").field("side_files", &self.side_files).finish_non_exhaustive()
    }
}

impl<T: Shared, R: Shared> SharedObject<T, R> for SharedFile<T, R> {
    type Locks = Locks;

    fn open<M>(
        location: Arc<dyn Location>,
        mut open: impl FnMut() -> io::Result<(Object, ObjectId, M)>,
    ) -> io::Result<(Self, M)> {
        let (file, map, id, data) = retry_if_forked(|| {
            let (file, id, data) = open()?;
            let file = PrivateFd::new(file)?;
            let map = Mapping::new(file.as_fd())?;
            io::Result::Ok((file, map, id, data))
        })?;
        let side_files = Arc::new(SideFiles::new(location, id));
        let locks = Mutex::new(Arc::new(Locks::new(file, Arc::clone(&side_files))));
        Ok((Self { map, locks, side_files, parking: Attachment::default() }, data))
    }

    fn id(&self) -> ObjectId {
        self.side_files.id()
    }

    #[inline]
    fn first(&self) -> &T {
        &self.map
    }

    #[inline]
    fn rest(&self) -> &R {
        self.map.rest()
    }

    fn part<P: Shared>(
        &self,
        choose: impl for<'a> Fn(&'a T, &'a R) -> &'a P + Send + Sync + 'static,
    ) -> Part<P> {
        self.map.part(choose)
    }

    fn reserve(locks: &Locks, length: u64) -> Result<(), EngineError> {
        match retry_on_intr(|| fallocate(locks, FallocateFlags::empty(), 0, length)) {
            // The file system cannot reserve. That of shared memory can.
            Err(Errno::OPNOTSUPP) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    fn ensure_locks(&self) -> Result<Arc<Locks>, EngineError> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if !locks.check_still_ours() {
            let again = retry_if_forked(|| PrivateFd::new(self.side_files.location().open()?));
            let again = again.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => EngineError::LostDescriptor,
                _ => error.into(),
            })?;
            let data = fstat(&again)?;
            if file_id(data.st_dev, data.st_ino) != self.id() {
                return Err(EngineError::LostDescriptor);
            }
            *locks = Arc::new(Locks::new(again, Arc::clone(&self.side_files)));
        }
        Ok(Arc::clone(&locks))
    }

    fn new_locks(&self) -> Arc<Locks> {
        Arc::clone(&self.locks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the slot file's descriptor, because the lock belongs to the slot file.
    fn into_object(self) -> Option<Object> {
        self.side_files.take_slot_file()
    }

    fn remove_side_objects(location: &dyn Location, object: Option<&Self>) {
        if let Some(object) = object {
            object.parking.detach();
        }
        side_file::remove_unlocked(location, parking::remove_semaphores);
    }
}

impl<T: Shared, R: Shared> Parking for SharedFile<T, R> {
    fn park(
        &self,
        word: &AtomicU64,
        expected: u32,
        queue: Queue,
        limit: Duration,
        _interrupt: Option<&Interrupt>,
    ) -> Result<Unparked, EngineError> {
        let locks = self.ensure_locks()?;
        self.parking.park(&self.side_files, &locks, word, expected, queue, limit)
    }

    fn unpark(&self, _: &AtomicU64, queue: Queue, count: u32) {
        self.parking.unpark(&self.side_files, queue, count);
    }
}

/// Notices of deaths, of which there is no instance: waiters poll.
pub(crate) enum Notices {}

impl DeathNotices for Notices {
    type Object = Locks;
    type Subscription = i32;
    type StandbySignal = ();

    fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn subscribe(&self, _: &Locks, _: Role) -> io::Result<i32> {
        match *self {}
    }

    fn unsubscribe(&self, _: i32) {
        match *self {}
    }

    fn open_standby_signal(&self, _: &Locks) -> io::Result<()> {
        match *self {}
    }

    fn wait(&self, _: Duration, _: impl FnMut(Notice<i32>)) -> Result<(), Disconnected> {
        match *self {}
    }
}
