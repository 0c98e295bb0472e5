//! The lifetime of the file: opening, closing and removing a semaphore.
//!
//! An opener, a closer and a remover hold the *registry lock* ([`registry_lock`]). With the lock
//! each of them checks that the path still names the file. Otherwise it starts over. A new file has
//! no name before it is complete, and gets its name after its first user's slot. A process
//! therefore never opens an incomplete file.
//!
//! A file that has no user and is not persistent is *stale*: its users were killed. An opener
//! reinitialises it with an initial value of its own.

pub(crate) mod close;
mod create;
pub(crate) mod file;
pub(crate) mod open;
pub(crate) mod path;
pub(crate) mod registry_lock;
pub(crate) mod remove;
pub(crate) mod slots;
pub(crate) mod validate;

/// How an attempt of an opener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Attempt {
    Done,
    /// The file that the opener found may no longer be the semaphore's. The opener must start over.
    StartOver,
}
