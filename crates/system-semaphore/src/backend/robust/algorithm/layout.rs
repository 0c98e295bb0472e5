//! What is in the file.
//!
//! All of it is atomics of fixed size, and nothing in it is trusted as an index, a length or a bound.

use std::iter;
use std::sync::atomic::Ordering;

use super::state::{Record, State};
use crate::backend::robust::process_id::ProcessId;
use crate::sys::atomic::{AtomicU32, AtomicU64};
use crate::sys::shared_memory::shared;

/// `"SYSSEMA4"`: which file this is. It differs where the byte order does.
pub(crate) const MAGIC: u64 = u64::from_ne_bytes(*b"SYSSEMA4");
/// The version of what this module describes.
pub(crate) const VERSION: u32 = 2;

/// How many processes can use one semaphore at once.
pub(crate) const SLOTS: u16 = if cfg!(loom) { 4 } else { 4093 };
/// The slots in the file's first page, which is there if there is anything.
pub(crate) const FIRST_SLOTS: u16 = if cfg!(loom) { SLOTS } else { 54 };
/// Instead of a slot, in the tag of a state that no process wrote: the semaphore was removed,
pub(crate) const REMOVED: u16 = SLOTS;
/// has just been made,
pub(crate) const INITIAL: u16 = SLOTS + 1;
/// or was reset; the tag's number is the new epoch.
pub(crate) const RESET: u16 = SLOTS + 2;

/// The bytes of the file that are locked, all of them beyond doubt: who uses slot *i* has a lock on byte *i*.
pub(crate) const REGISTRY_BYTE: u16 = SLOTS;
/// Who has this one is the watcher.
pub(crate) const WATCHER_BYTE: u16 = SLOTS + 1;

/// The largest count.
pub(crate) const MAX_PERMITS: u32 = i32::MAX as u32;
pub(crate) const PAGE: u64 = 4096;
/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = if cfg!(loom) { 1 } else { 1024 };
/// The name, where the file's name is only its hash: a length (4 bytes) and the text.
pub(crate) const NAME_AT: u64 = (size_of::<Layout>() + size_of::<MoreSlots>()) as u64;
/// The length of the file, which is sparse.
pub(crate) const FILE_SIZE: u64 = (NAME_AT + 4 + MAX_NAME as u64).next_multiple_of(PAGE);

shared! {
    /// The file's first page; what follows are the other slots.
    struct Layout {
        magic: AtomicU64,
        version: AtomicU32,
        /// 1: stays when its last user leaves.
        persistent: AtomicU32,
        /// How many resets there were. A slot of another epoch holds nothing.
        epoch: AtomicU32,
        /// 1: somebody has waited for several permits at once, at some time.
        has_multi_waiters: AtomicU32,
        /// Who has the registry lock, for messages.
        registry_owner_pid: AtomicU32,
        /// How many dead holders were recovered.
        recoveries: AtomicU64,
        /// When somebody last looked for dead holders among many, in milliseconds of the monotonic clock.
        last_full_scan: AtomicU64,
        /// Until when who has not waited lets those go first who have, on the same clock.
        fair_until: AtomicU64,
        state: StateCell,
        /// One bit a slot: it is in use. A slot whose bit was never set may lie in a hole of the file.
        used: [AtomicU64; USED_WORDS],
        slots: [Slot; FIRST_SLOTS as usize],
    }
}

/// The slots that are not in the first page.
pub(crate) type MoreSlots = [Slot; (SLOTS - FIRST_SLOTS) as usize];

const USED_WORDS: usize = (SLOTS as usize).div_ceil(64);

shared! {
    /// The one word that decides, on a cache line with nothing but what those ask for who change it, and what only a reset changes.
    struct StateCell {
        word: AtomicU64,
        /// The largest count, in even epochs and in odd ones: so the next one's can be written before it begins.
        max_permits: [AtomicU32; 2],
        /// For people: how many permits it was made with, or reset to, in the same way.
        initial: [AtomicU32; 2],
    }
}

shared! {
    /// What is known of one process that uses the semaphore. Written by that process, by who recovers it when it is
    /// dead, and (`helped` only) by anybody.
    struct Slot {
        /// What the process holds after its last operation: a [`Record`] with the permits held.
        committed: AtomicU64,
        /// What `committed` is to be after the operation that was begun last.
        pending: AtomicU64,
        /// The number of an operation that somebody else saw applied.
        helped: AtomicU32,
        /// The epoch in which `committed` counts.
        epoch: AtomicU32,
        /// For people: who it is,
        pid: AtomicU32,
        /// as seen from this PID namespace (its inode number),
        pid_namespace: AtomicU32,
        /// and which process of that number (field 22 of `/proc/PID/stat`);
        start_time: AtomicU64,
        /// how many of its threads wait,
        waiting_threads: AtomicU32,
        /// since when it holds what it holds: a [`Record`] of the operation and the seconds of that moment;
        since: AtomicU64,
        /// which process gives back what this one, dead, has held.
        recoverer: AtomicU32,
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64 && size_of::<Layout>() == PAGE as usize);

impl Slot {
    /// Whose it is, or was.
    pub(crate) fn process_id(&self) -> ProcessId {
        ProcessId {
            pid: self.pid.load(Ordering::Relaxed),
            pid_namespace: self.pid_namespace.load(Ordering::Relaxed),
            start_time: self.start_time.load(Ordering::Relaxed),
        }
    }

    #[inline]
    pub(crate) fn committed(&self) -> Record {
        Record::load(&self.committed, Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn pending(&self) -> Record {
        Record::load(&self.pending, Ordering::Acquire)
    }

    /// What the process holds, if its epoch is the current one.
    pub(crate) fn held(&self, epoch: u32) -> u32 {
        if self.epoch.load(Ordering::Acquire) == epoch { self.committed().amount() } else { 0 }
    }
}

impl Layout {
    #[inline]
    pub(crate) fn state(&self) -> State {
        State(self.state.word.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn exchange(&self, from: State, to: State) -> bool {
        self.state.word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn is_used(&self, slot: u16) -> bool {
        let (word, bit) = bit_position(slot);
        self.used[word].load(Ordering::Acquire) & bit != 0
    }

    pub(crate) fn set_used(&self, slot: u16, used: bool) {
        let (word, bit) = bit_position(slot);
        if used {
            self.used[word].fetch_or(bit, Ordering::AcqRel);
        } else {
            self.used[word].fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// The slots in use.
    pub(crate) fn used_slots(&self) -> impl Iterator<Item = u16> {
        self.used_slots_from(0)
    }

    /// The same, beginning with those about this one.
    pub(crate) fn used_slots_from(&self, slot: u16) -> impl Iterator<Item = u16> {
        let (first, _) = bit_position(slot);
        let mut words = (first..USED_WORDS).chain(0..first);
        let (mut index, mut word) = (0, 0);
        let bits = iter::from_fn(move || {
            if word == 0 {
                let in_use = |index: usize| (index, self.used[index].load(Ordering::Acquire));
                (index, word) = words.by_ref().map(in_use).find(|(_, word)| *word != 0)?;
            }
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            Some((index * 64 + bit) as u16)
        });
        bits.filter(|slot| *slot < SLOTS)
    }

    /// The largest count in this epoch.
    pub(crate) fn max_permits(&self, epoch: u32) -> u32 {
        self.state.max_permits[epoch_index(epoch)].load(Ordering::Acquire).min(MAX_PERMITS)
    }

    /// How many permits there were at the beginning of this epoch.
    pub(crate) fn initial(&self, epoch: u32) -> u32 {
        self.state.initial[epoch_index(epoch)].load(Ordering::Acquire)
    }

    /// Says what is to be in this epoch, which is not, or not yet, the current one.
    pub(crate) fn prepare_epoch(&self, epoch: u32, initial: u32, max_permits: u32) {
        self.state.initial[epoch_index(epoch)].store(initial, Ordering::Release);
        self.state.max_permits[epoch_index(epoch)].store(max_permits, Ordering::Release);
    }
}

/// Which of the two values of an epoch are this one's.
#[inline(always)]
pub(crate) fn epoch_index(epoch: u32) -> usize {
    (epoch & 1) as usize
}

/// A slot, which may be one of those that follow; `None` if there is none of this number.
#[inline]
pub(crate) fn slot<'a>(layout: &'a Layout, rest: &'a MoreSlots, number: u16) -> Option<&'a Slot> {
    let number = usize::from(number);
    layout.slots.get(number).or_else(|| rest.get(number - layout.slots.len()))
}

fn bit_position(slot: u16) -> (usize, u64) {
    (usize::from(slot / 64), 1 << (slot % 64))
}
