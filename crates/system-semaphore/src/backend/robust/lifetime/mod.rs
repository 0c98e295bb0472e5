//! Opening, closing and removing.
//!
//! Who opens or closes has the *registry lock* ([`registry_lock`]) meanwhile, and then looks whether the path still names
//! the file; if not, it starts over. A new file has no name before it is complete, and gets it together with its
//! first user, so nobody ever meets one that is half made.
//!
//! A file that nobody uses, and that is not persistent, is a leftover of users that were killed: who opens it starts
//! afresh with an initial value of its own.

pub(crate) mod close;
mod create;
pub(crate) mod file;
pub(crate) mod open;
pub(crate) mod path;
pub(crate) mod registry_lock;
pub(crate) mod remove;
pub(crate) mod slots;
pub(crate) mod validate;
