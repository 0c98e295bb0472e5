//! Data that describes a semaphore, its holders and its waiters.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::Result;
use crate::key::{KeyType, NativeIpcKey};

/// Who holds permits.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process id, unless it is one of another PID namespace.
    pub pid: Option<u32>,
    /// The name of its program, where that may be read.
    pub command: Option<String>,
    /// How many permits it holds.
    pub permits: u32,
    /// Since when, where that is known; never guessed.
    pub since: Option<SystemTime>,
}

/// The state of a semaphore. A field is `None` if this type of semaphore has no such information.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How many permits are free.
    pub available: u32,
    /// The largest count.
    pub max_permits: u32,
    /// How many permits it was made with, or reset to.
    pub initial_value: Option<u32>,
    /// Who holds permits.
    pub holders: Option<Vec<Holder>>,
    /// How many permits the dead hold still: whoever looks for them next gives them back.
    pub held_by_dead: Option<u32>,
    /// Who waits.
    pub waiters: Option<Vec<Waiter>>,
    /// How many threads wait.
    pub waiting: Option<u32>,
    /// How many opens of it there are, by living processes.
    pub users: Option<u32>,
    /// Who operated on it last.
    pub last_pid: Option<u32>,
    /// Whether it stays when its last user leaves.
    pub persistent: Option<bool>,
    /// How many dead holders have had their permits given back.
    pub recoveries: Option<u64>,
    /// The user that it belongs to.
    pub owner: u32,
    /// Who may use it, as permission bits.
    pub permissions: u32,
}

/// Who waits for permits.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The process id, unless it is one of another PID namespace.
    pub pid: Option<u32>,
    /// The name of its program, where that may be read.
    pub command: Option<String>,
    /// How many of its threads wait.
    pub threads: u32,
}

impl Waiter {
    #[cfg(target_os = "linux")]
    pub(crate) fn new(pid: Option<u32>, command: Option<String>, threads: u32) -> Self {
        Self { pid, command, threads }
    }
}

/// Whose semaphores are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Owners {
    /// This user's.
    #[default]
    User,
    /// Everybody's, as far as they can be seen.
    All,
}

/// A semaphore that is on this machine.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Listed {
    /// The key by which it can be opened from here, if there is one that is known: not of a private robust semaphore of
    /// another user, nor of a System V set whose key file is not found in the usual places.
    pub native_key: Option<NativeIpcKey>,
    /// Its type.
    pub key_type: KeyType,
    /// What it is called: the name of a robust or POSIX semaphore, the key and id of a System V set.
    pub name: String,
    /// The file that it is in, or that its key is made of.
    pub path: Option<PathBuf>,
    /// The user that it belongs to.
    pub owner: u32,
    /// What can be seen of it.
    pub snapshot: Result<Snapshot>,
}
