//! Where each field of the file is, for tests and tools that read or write the file from outside.
//!
//! This is no part of the public interface. It has no compatibility rules of its own: it changes with the file.

use super::algorithm::layout::{self, Layout, Slot};
use super::algorithm::state::State;

/// A field: its name, where it begins, and how many bytes it has.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name of its constant, in lower case.
    pub name: &'static str,
    /// Where it begins: in the file, or in a slot.
    pub offset: u64,
    /// How many bytes it has.
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
/// How many slots there are.
pub const SLOTS: u16 = layout::SLOTS;
/// How many slots are in the first page.
pub const FIRST_SLOTS: u16 = layout::FIRST_SLOTS;
/// The byte that a process locks while it opens or closes the semaphore. A user of a slot locks the byte of its number.
pub const REGISTRY_BYTE: u16 = layout::REGISTRY_BYTE;
/// The byte that the watcher locks.
pub const WATCHER_BYTE: u16 = layout::WATCHER_BYTE;
/// The slot number in the state of a semaphore that was removed.
pub const REMOVED: u16 = layout::REMOVED;
/// The slot number in the state of a semaphore that nobody has operated on.
pub const INITIAL: u16 = layout::INITIAL;
/// The slot number in the state after a reset.
pub const RESET: u16 = layout::RESET;
/// The size of a page.
pub const PAGE_SIZE: u64 = layout::PAGE;
/// Where the first slot is.
pub const SLOTS_AT: u64 = std::mem::offset_of!(Layout, slots) as u64;
/// The size of a slot.
pub const SLOT_SIZE: u64 = size_of::<Slot>() as u64;
/// Where the name is, if the name of the file is only its hash: its length in 4 bytes, and its text.
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
        /// 1: the semaphore stays when its last user leaves.
        PERSISTENT = persistent as "persistent",
        /// How many resets there were.
        EPOCH = epoch as "epoch",
        /// 1: somebody has waited for several permits at once.
        HAS_MULTI_WAITERS = has_multi_waiters as "has_multi_waiters",
        /// The process that has the registry lock.
        REGISTRY_OWNER_PID = registry_owner_pid as "registry_owner_pid",
        /// How many dead holders were recovered.
        RECOVERIES = recoveries as "recoveries",
        /// When all slots were scanned last.
        LAST_FULL_SCAN = last_full_scan as "last_full_scan",
        /// Until when the semaphore is fair.
        FAIR_UNTIL = fair_until as "fair_until",
        /// The word that decides; see [`StateWord`](super::StateWord).
        STATE = state.word as "state",
        /// The largest count, in even epochs and then in odd ones: 4 bytes each.
        MAX_PERMITS = state.max_permits as "max_permits",
        /// How many permits there were at first, in even epochs and then in odd ones: 4 bytes each.
        INITIAL = state.initial as "initial",
        /// One bit for each slot: it is in use.
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
        /// The record of the last operation that was written down.
        COMMITTED = committed as "committed",
        /// The record of the operation that was begun last.
        PENDING = pending as "pending",
        /// The number of an operation that another process saw applied.
        HELPED = helped as "helped",
        /// The epoch in which the record counts.
        EPOCH = epoch as "epoch",
        /// The process that uses the slot,
        PID = pid as "pid",
        /// as seen from this PID namespace,
        PID_NAMESPACE = pid_namespace as "pid_namespace",
        /// and when it was started.
        START_TIME = start_time as "start_time",
        /// How many threads wait.
        WAITING_THREADS = waiting_threads as "waiting_threads",
        /// Since when the process holds what it holds.
        SINCE = since as "since",
        /// The process that recovers the slot.
        RECOVERER = recoverer as "recoverer",
    }
}

/// What the state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateWord {
    /// The slot of the last operation, or [`REMOVED`], [`INITIAL`] or [`RESET`].
    pub slot: u16,
    /// The number of that operation. After a reset: the epoch.
    pub seq: u32,
    /// Whether somebody may wait.
    pub waiters: bool,
    /// How many permits are free.
    pub count: u32,
}

impl StateWord {
    /// What this word says.
    #[must_use]
    pub fn decode(word: u64) -> Self {
        let state = State(word);
        Self { slot: state.slot(), seq: state.seq(), waiters: state.waiters(), count: state.count() }
    }

    /// The word that says this.
    #[must_use]
    pub fn encode(self) -> u64 {
        State::new(self.slot, self.seq, self.waiters, self.count).0
    }
}
