//! Linux: a mapped file, open-file-description locks, a futex.

pub(crate) mod inotify;

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, fstat};
use rustix::io::{Errno, retry_on_intr};

use super::api::{
    Interrupt, LivenessLocks, Location, LockId, Object, ObjectId, Parking, Queue, SharedObject, Unparked,
};
use super::clock;
use crate::backend::robust::error::EngineError;
use crate::sys::atomic::AtomicU64;
use crate::sys::private_fd::{PrivateFd, retry_if_forked};
use crate::sys::shared_memory::{Mapping, Part, Shared};
use crate::sys::{byte_lock, futex};

/// A file that is open and mapped.
pub(crate) struct SharedFile<T: Shared, R: Shared> {
    map: Mapping<T, R>,
    locks: Mutex<Arc<Locks>>,
    id: ObjectId,
    location: Arc<dyn Location>,
}

impl<T: Shared, R: Shared> fmt::Debug for SharedFile<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFile")
            .field("id", &self.id)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// Identifies a file by its file system and its number there.
pub(crate) fn file_id(device: u64, inode: u64) -> ObjectId {
    ObjectId(u128::from(device) << 64 | u128::from(inode))
}

impl<T: Shared, R: Shared> SharedObject<T, R> for SharedFile<T, R> {
    type Locks = Locks;

    fn open<M>(
        location: Arc<dyn Location>,
        mut open: impl FnMut() -> io::Result<(Object, ObjectId, M)>,
    ) -> io::Result<(Self, M)> {
        retry_if_forked(|| {
            let (file, id, data) = open()?;
            let file = PrivateFd::of_file(file, (id.0 >> 64) as u64, id.0 as u64)?;
            let map = Mapping::new(file.as_fd())?;
            let locks = Mutex::new(Arc::new(Locks(file)));
            Ok((Self { map, locks, id, location: Arc::clone(&location) }, data))
        })
    }

    fn id(&self) -> ObjectId {
        self.id
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
            let reopened = retry_if_forked(|| PrivateFd::new(self.location.open()?));
            let reopened = reopened.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => EngineError::LostDescriptor,
                _ => error.into(),
            })?;
            let data = fstat(&reopened)?;
            if file_id(data.st_dev, data.st_ino) != self.id {
                return Err(EngineError::LostDescriptor);
            }
            *locks = Arc::new(Locks(reopened));
        }
        Ok(Arc::clone(&locks))
    }

    fn new_locks(&self) -> Arc<Locks> {
        Arc::clone(&self.locks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn into_object(self) -> Option<Object> {
        let locks = self.locks.into_inner().unwrap_or_else(PoisonError::into_inner);
        Arc::into_inner(locks)?.0.into_inner()
    }

    #[inline]
    fn remove_side_objects(_: &dyn Location, _: Option<&Self>) {}
}

/// Returns whether a file in the object's directory is the platform's own: there is none.
#[inline]
pub(crate) fn is_side_file(_: &str) -> bool {
    false
}

/// A file, as a set of locks on its bytes.
#[derive(Debug)]
pub(crate) struct Locks(PrivateFd);

impl Locks {
    /// Returns whether a process has the lock of an object that this process only observes.
    pub(crate) fn is_locked_of_observed(
        file: BorrowedFd<'_>,
        _: &dyn Location,
        lock: LockId,
    ) -> Result<bool, EngineError> {
        Ok(byte_lock::is_locked(file, lock..lock + 1)?)
    }
}

impl AsFd for Locks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl LivenessLocks for Locks {
    fn try_lock(&self, lock: LockId) -> Result<bool, EngineError> {
        Ok(byte_lock::try_lock(self.as_fd(), lock)?)
    }

    fn unlock(&self, lock: LockId) -> Result<(), EngineError> {
        Ok(byte_lock::unlock(self.as_fd(), lock)?)
    }

    fn find_locked(&self, locks: Range<LockId>) -> Result<Option<LockId>, EngineError> {
        Ok(byte_lock::find_locked(self.as_fd(), locks)?)
    }

    fn check_still_ours(&self) -> bool {
        self.0.check_still_ours()
    }
}

impl Queue {
    /// The bits of the futex on which the threads of a queue sleep.
    fn bits(self) -> NonZeroU32 {
        match self {
            Self::Single => NonZeroU32::MIN,
            Self::Multi => const { NonZeroU32::new(2).expect("2 is not 0") },
        }
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
        match futex::wait(word, expected, &clock::after(limit), queue.bits()) {
            Ok(()) => Ok(Unparked::Woken),
            Err(Errno::AGAIN) => Ok(Unparked::Changed),
            Err(Errno::TIMEDOUT | Errno::INTR) => Ok(Unparked::Ended),
            Err(errno) => Err(errno.into()),
        }
    }

    fn unpark(&self, word: &AtomicU64, queue: Queue, count: u32) {
        futex::wake(word, count, queue.bits());
    }
}
