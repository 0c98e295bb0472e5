//! What the engine needs from the operating system, and the only place where it meets one.
//!
//! | need | trait | on Linux |
//! |---|---|---|
//! | memory that processes share | [`SharedObject`] | a mapped file |
//! | locks that end with their process | [`LivenessLocks`] | open-file-description locks on single bytes |
//! | blocking until another process changes a word | [`Parking`] | a futex |
//! | notice of a death | [`DeathNotices`](death_notices::DeathNotices) | inotify |
//! | the time | [`clock`] | the monotonic clock |
//!
//! [`SharedFile`] implements the first and the third trait, [`Locks`] the second, [`Notices`] the
//! fourth. The engine above this module is the same on every platform. `verification/interleavings`
//! puts a simulation in the place of this module.

pub(crate) mod api;
pub(crate) mod clock;
pub(crate) mod death_notices;
mod linux;

pub(crate) use self::api::{
    LivenessLocks, Location, Object, ObjectId, Parking, Queue, SharedObject, Unparked,
};
pub(crate) use self::linux::inotify::Inotify as Notices;
pub(crate) use self::linux::{Locks, SharedFile, file_id};
