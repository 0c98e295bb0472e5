//! The traits that stand between the engine and an operating system, and the types of their arguments and results.

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::robust::error::EngineError;
use crate::sys::atomic::AtomicU64;
use crate::sys::shared_memory::{Part, Shared};

/// Identifies a shared object among those that exist at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectId(pub(crate) u128);

/// A handle of a shared object. Unix has descriptors.
pub(crate) type Object = OwnedFd;

/// Number of a lock of a shared object.
pub(crate) type LockId = u16;

/// Where a shared object is found again.
pub(crate) trait Location: fmt::Debug + Send + Sync {
    /// Opens the object that is there now, which may be another one.
    ///
    /// # Errors
    /// The system's error; of the kind `NotFound` if there is none.
    fn open(&self) -> io::Result<Object>;

    /// Returns the object's path, beside which a platform may keep files of its own. Their names
    /// begin with a dot.
    #[cfg_attr(not(portable_platform), expect(dead_code, reason = "Linux keeps nothing there"))]
    fn full_path(&self) -> PathBuf;

    /// Removes the directory of the object if it belongs to the user's objects and is empty. The
    /// platform calls this after it has removed a file of its own.
    #[cfg_attr(not(portable_platform), expect(dead_code, reason = "Linux keeps nothing there"))]
    fn remove_directory_if_empty(&self);
}

/// An object that several processes map, lock and park on: a `T` that is followed by an `R`.
///
/// # Forks
/// A forked child inherits neither the mapping nor a lock. It must not touch the memory: whoever holds a shared object
/// compares [generations](crate::sys::fork::generation) first. Dropping one in a child does nothing.
pub(crate) trait SharedObject<T: Shared, R: Shared>: Sized {
    /// The object's locks, as this open of it takes them.
    type Locks: LivenessLocks;

    /// Opens an object by `open`, which may be called several times, and maps it. Returns what `open` returns besides.
    ///
    /// `location` is where the object is opened again if other code of the process closes the handle.
    fn open<M>(
        location: Arc<dyn Location>,
        open: impl FnMut() -> io::Result<(Object, ObjectId, M)>,
    ) -> io::Result<(Self, M)>;

    /// Identifies the object.
    fn id(&self) -> ObjectId;

    /// The beginning.
    fn first(&self) -> &T;

    /// What follows the beginning. Only what was [reserved](Self::reserve) may be accessed.
    fn rest(&self) -> &R;

    /// A part of the memory, by itself. It keeps the memory mapped.
    fn part<P: Shared>(
        &self,
        choose: impl for<'a> Fn(&'a T, &'a R) -> &'a P + Send + Sync + 'static,
    ) -> Part<P>;

    /// Reserves the memory of the first `length` bytes, so that an access cannot fail for lack of it.
    fn reserve(locks: &Self::Locks, length: u64) -> Result<(), EngineError>;

    /// The locks. If other code of the process has closed the handle, the object is opened again at its location; locks that
    /// were taken stay, because they live as long as the mapping.
    ///
    /// # Errors
    /// [`LostDescriptor`](EngineError::LostDescriptor) if another object is there now, or none.
    fn ensure_locks(&self) -> Result<Arc<Self::Locks>, EngineError>;

    /// Returns the locks of an object that was opened just now, without the check that the handle still is ours.
    ///
    /// If other code of the process has closed the handle meanwhile, the locks may be those of another object. The caller
    /// therefore calls [`check_still_ours`](LivenessLocks::check_still_ours) after it has found a lock free or taken one, and
    /// before it relies on that. The opener starts over if the check fails.
    fn new_locks(&self) -> Arc<Self::Locks>;

    /// The handle alone, for another program: locks that were taken stay with it. `None` if it is lost or in use.
    ///
    /// It is the handle that the lock belongs to, which may be another file than the object's.
    fn into_object(self) -> Option<Object>;

    /// Removes what the platform keeps beside the objects of a location and no living process uses.
    ///
    /// The caller is about to unlink this object or to reinitialise it, or has found that the
    /// location has none. No thread is parked by `object`. What is not removed, because a living
    /// process uses it, goes with that process's locks.
    fn remove_side_objects(location: &dyn Location, object: Option<&Self>);
}

/// Locks that the system releases when their process ends, however it ends.
///
/// A lock belongs to one open of the object. Another open of the same process is like another process.
pub(crate) trait LivenessLocks {
    /// Takes a lock; returns `false` if another open has it.
    ///
    /// A platform may also return `false` while another process checks the lock. It may return
    /// `true` for a lock that is worth nothing if the object is gone;
    /// [`check_still_ours`](Self::check_still_ours) tells.
    fn try_lock(&self, lock: LockId) -> Result<bool, EngineError>;

    /// Releases a lock. Nothing happens if this open does not have it.
    fn unlock(&self, lock: LockId) -> Result<(), EngineError>;

    /// Returns one of these locks that another open has.
    fn find_locked(&self, locks: Range<LockId>) -> Result<Option<LockId>, EngineError>;

    /// Returns whether another open has the lock.
    fn is_locked(&self, lock: LockId) -> Result<bool, EngineError> {
        Ok(self.find_locked(lock..lock + 1)?.is_some())
    }

    /// Returns whether other code of the process has left the handle alone. If it has not, the locks may be those of
    /// another object.
    fn check_still_ours(&self) -> bool;
}

/// Which threads an unpark wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Threads that wait for one permit.
    Single,
    /// Threads that wait for several permits at once.
    Multi,
}

/// Why a parked thread runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unparked {
    /// It was woken, or the platform cannot tell.
    Woken,
    /// It was not parked: the word had another value.
    Changed,
    /// The time limit was reached, a signal handler ran, or the thread was interrupted.
    Ended,
}

/// Ends a wait from another thread of the same process. No platform offers that yet, so there is no value of this type.
#[derive(Debug)]
pub(crate) enum Interrupt {}

/// Parks threads until another process has changed a word of the mapping.
///
/// Spurious and surplus wake-ups are allowed: the algorithm treats every [`Woken`](Unparked::Woken) as a baton that the
/// woken thread must pass on. A lost wake-up is not allowed: an unpark that follows a change of the word must wake a
/// thread that parks or has parked with the old value.
///
/// The word lies in the mapping, so that a platform can use its address (a futex) or ignore it (a kernel semaphore that
/// belongs to the object).
pub(crate) trait Parking {
    /// Parks the calling thread while the less significant half of `word` is `expected`, for at most `limit`.
    fn park(
        &self,
        word: &AtomicU64,
        expected: u32,
        queue: Queue,
        limit: Duration,
        interrupt: Option<&Interrupt>,
    ) -> Result<Unparked, EngineError>;

    /// Wakes at least `count` of the threads that are parked in a queue, or all if there are fewer.
    fn unpark(&self, word: &AtomicU64, queue: Queue, count: u32);
}
