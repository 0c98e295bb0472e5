//! The offsets of the file's fields, for tests and tools that read or write the file from outside.
//!
//! This is no part of the public interface. It has no compatibility rules of its own: it changes
//! with the file.

use super::algorithm::layout::{self, Layout, Slot};
use super::algorithm::state::State;

/// A field of the file or of a slot.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name of the field's constant, in lower case.
    pub name: &'static str,
    /// Offset of the field in the file or in the slot, in bytes.
    pub offset: u64,
    /// Size of the field in bytes.
    pub size: usize,
}

const fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// Declares a constant for each field, and the list of all of them.
macro_rules! fields {
    ($structure:ty: $($(#[$doc:meta])* $constant:ident = $($field:ident).+ as $name:literal,)*) => {
        $($(#[$doc])* pub const $constant: u64 = std::mem::offset_of!($structure, $($field).+) as u64;)*

        /// All these fields, in the order of the file.
        pub const FIELDS: &[super::Field] = &[$(super::Field {
            name: $name,
            offset: $constant,
            size: super::size_of_field(|it: &$structure| &it.$($field).+),
        }),*];
    };
}

/// The first bytes of each file.
pub const MAGIC: [u8; 8] = layout::MAGIC.to_ne_bytes();
/// The version of the format.
pub const VERSION: u32 = layout::VERSION;
/// Number of slots.
pub const SLOTS: u16 = layout::SLOTS;
/// Number of slots in the first page.
pub const FIRST_SLOTS: u16 = layout::FIRST_SLOTS;
/// The byte that a process locks while it opens or closes the semaphore. The user of slot *i* locks
/// byte *i*.
pub const REGISTRY_BYTE: u16 = layout::REGISTRY_BYTE;
/// The byte that the watcher locks.
pub const WATCHER_BYTE: u16 = layout::WATCHER_BYTE;
/// The slot number in the state of a semaphore that was removed.
pub const REMOVED: u16 = layout::REMOVED;
/// The slot number in the state of a semaphore that no process has operated on.
pub const INITIAL: u16 = layout::INITIAL;
/// The slot number in the state after a reset.
pub const RESET: u16 = layout::RESET;
/// The size of a page.
pub const PAGE_SIZE: u64 = layout::PAGE;
/// Offset of the first slot.
pub const SLOTS_AT: u64 = std::mem::offset_of!(Layout, slots) as u64;
/// The size of a slot.
pub const SLOT_SIZE: u64 = size_of::<Slot>() as u64;
/// Offset of the name, which the file contains if the file name is only a hash: its length in 4
/// bytes, and its text.
pub const NAME_AT: u64 = layout::NAME_AT;
/// The size of the file.
pub const FILE_SIZE: u64 = layout::FILE_SIZE;

/// The fields before the slots.
pub mod header {
    use super::Layout;

    fields! {
        Layout:
        /// See [`MAGIC`](super::MAGIC).
        MAGIC = magic as "magic",
        /// See [`VERSION`](super::VERSION).
        VERSION = version as "version",
        /// 1 if the semaphore stays when its last user closes it.
        PERSISTENT = persistent as "persistent",
        /// Number of resets.
        EPOCH = epoch as "epoch",
        /// 1 if a waiter has waited for several permits at once.
        HAS_MULTI_WAITERS = has_multi_waiters as "has_multi_waiters",
        /// PID of the owner of the registry lock.
        REGISTRY_OWNER_PID = registry_owner_pid as "registry_owner_pid",
        /// Number of dead holders that were recovered.
        RECOVERIES = recoveries as "recoveries",
        /// Time of the last full scan.
        LAST_FULL_SCAN = last_full_scan as "last_full_scan",
        /// End of the current fairness request.
        FAIR_UNTIL = fair_until as "fair_until",
        /// The state word; see [`StateWord`](super::StateWord).
        STATE = state.word as "state",
        /// The largest number of free permits, in even epochs and then in odd ones: 4 bytes each.
        MAX_PERMITS = state.max_permits as "max_permits",
        /// The number of permits at the beginning of the epoch, in even epochs and then in odd
        /// ones: 4 bytes each.
        INITIAL = state.initial as "initial",
        /// One bit for each slot in use.
        USED = used as "used",
    }
    /// The size of the bits of used slots.
    pub const USED_SIZE: usize = super::SLOTS_AT as usize - USED as usize;
}

/// The fields of a slot.
pub mod slot {
    use super::Slot;

    fields! {
        Slot:
        /// The record of the last committed operation.
        COMMITTED = committed as "committed",
        /// The record of the operation that the user has begun.
        PENDING = pending as "pending",
        /// The sequence number of an operation that another process saw applied.
        HELPED = helped as "helped",
        /// The epoch in which the record is valid.
        EPOCH = epoch as "epoch",
        /// PID of the user.
        PID = pid as "pid",
        /// Inode number of the user's PID namespace.
        PID_NAMESPACE = pid_namespace as "pid_namespace",
        /// Start time of the user.
        START_TIME = start_time as "start_time",
        /// Number of the user's threads that wait.
        WAITING_THREADS = waiting_threads as "waiting_threads",
        /// Time since when the user holds its permits.
        SINCE = since as "since",
        /// PID of the process that is recovering the slot.
        RECOVERER = recoverer as "recoverer",
    }
}

/// The parts of the state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateWord {
    /// The slot of the last operation, or [`REMOVED`], [`INITIAL`] or [`RESET`].
    pub slot: u16,
    /// The sequence number of that operation. After a reset: the epoch.
    pub seq: u32,
    /// Whether a process may wait.
    pub waiters: bool,
    /// The number of free permits.
    pub count: u32,
}

impl StateWord {
    /// Splits a state word.
    #[must_use]
    pub fn decode(word: u64) -> Self {
        let state = State(word);
        Self { slot: state.slot(), seq: state.seq(), waiters: state.waiters(), count: state.count() }
    }

    /// Returns the state word.
    #[must_use]
    pub fn encode(self) -> u64 {
        State::new(self.slot, self.seq, self.waiters, self.count).0
    }
}
