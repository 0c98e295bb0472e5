//! What the engine needs from the operating system, and the only place where it meets one.
//!
//! | need | trait | on Linux | on any Unix |
//! |---|---|---|---|
//! | memory that processes share | [`SharedObject`] | a mapped file | a mapped file |
//! | locks that end with their process | [`LivenessLocks`] | open-file-description locks on single bytes | `flock` of a file for each lock |
//! | blocking until another process changes a word | [`Parking`] | a futex | a POSIX semaphore for each parked thread |
//! | notice of a death | [`DeathNotices`](death_notices::DeathNotices) | inotify | none: waiters poll |
//! | the time | [`clock`] | the monotonic clock | the monotonic clock |
//!
//! The second implementation is compiled for tests only, by `--cfg portable_platform`
//! (`platforms/portable`). What the seam promises to the engine, on both:
//!
//! - A lock of a process that has died is free when the death can be seen, at the latest.
//! - A lock lives as long as the mapping, even if other code of the process closes all descriptors.
//!   A forked child has neither.
//! - An unpark wakes threads that live. It may be spent on a thread that dies before it runs.
//! - What the platform keeps beside an object is gone when the object and its users are. A process
//!   that is killed may leave some of it, which the next open of the name removes or uses.
//!
//! [`SharedFile`] implements the first and the third trait, [`Locks`] the second, [`Notices`] the
//! fourth. The engine above this module is the same on every platform. `verification/interleavings`
//! puts a simulation in the place of this module.

pub(crate) mod api;
pub(crate) mod clock;
pub(crate) mod death_notices;
#[cfg(not(portable_platform))]
mod linux;
#[cfg(portable_platform)]
mod portable;

pub(crate) use self::api::{
    LivenessLocks, Location, Object, ObjectId, Parking, Queue, SharedObject, Unparked,
};
#[cfg(not(portable_platform))]
pub(crate) use self::linux::inotify::Inotify as Notices;
#[cfg(not(portable_platform))]
pub(crate) use self::linux::{Locks, SharedFile, file_id, is_side_file};
#[cfg(portable_platform)]
pub(crate) use self::portable::{Locks, Notices, SharedFile, file_id, is_side_file};
