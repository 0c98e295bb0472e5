//! The layout of the file.
//!
//! The file consists of atomics of fixed size. No value in it is trusted as an index, a length or a
//! bound.

use std::iter;
use std::sync::atomic::Ordering;

use super::state::{Record, State};
use crate::backend::robust::process_id::ProcessId;
use crate::sys::atomic::{AtomicU32, AtomicU64};
use crate::sys::shared_memory::shared;

/// `"SYSSEMA4"` identifies the file. A machine of the other byte order reads another number.
pub(crate) const MAGIC: u64 = u64::from_ne_bytes(*b"SYSSEMA4");
/// Version of the layout that this module describes.
pub(crate) const VERSION: u32 = 2;

/// Maximum number of processes that use one semaphore.
pub(crate) const SLOTS: u16 = if cfg!(loom) { 4 } else { 4093 };
/// Number of slots in the first page. That page is always allocated.
pub(crate) const FIRST_SLOTS: u16 = if cfg!(loom) { SLOTS } else { 54 };
/// Slot number in the tag of a removed semaphore. No process has this slot.
pub(crate) const REMOVED: u16 = SLOTS;
/// Slot number in the tag of a new semaphore. No process has this slot.
pub(crate) const INITIAL: u16 = SLOTS + 1;
/// Slot number in the tag of a reset. No process has this slot. The tag's sequence number is the
/// new epoch.
pub(crate) const RESET: u16 = SLOTS + 2;

/// The byte that the owner of the registry lock has locked. The user of slot *i* has locked byte
/// *i*.
pub(crate) const REGISTRY_BYTE: u16 = SLOTS;
/// The byte that the watcher has locked.
pub(crate) const WATCHER_BYTE: u16 = SLOTS + 1;

/// Largest number of free permits.
pub(crate) const MAX_PERMITS: u32 = i32::MAX as u32;
pub(crate) const PAGE: u64 = 4096;
/// Maximum length of a name, in bytes.
pub(crate) const MAX_NAME: usize = if cfg!(loom) { 1 } else { 1024 };
/// Offset of the name, which the file contains if the file name is only a hash: a length (4 bytes)
/// and the text.
pub(crate) const NAME_AT: u64 = (size_of::<Layout>() + size_of::<MoreSlots>()) as u64;
/// Length of the file, which is sparse.
pub(crate) const FILE_SIZE: u64 = (NAME_AT + 4 + MAX_NAME as u64).next_multiple_of(PAGE);

shared! {
    /// The first page of the file. The other slots follow it.
    struct Layout {
        magic: AtomicU64,
        version: AtomicU32,
        /// 1 if the semaphore stays when its last user closes it.
        persistent: AtomicU32,
        /// Number of resets. A slot of another epoch holds nothing.
        epoch: AtomicU32,
        /// 1 if a waiter has waited for several permits at once.
        has_multi_waiters: AtomicU32,
        /// PID of the owner of the registry lock, for messages.
        registry_owner_pid: AtomicU32,
        /// Number of dead holders that were recovered.
        recoveries: AtomicU64,
        /// Time of the last full scan of many slots, in milliseconds of the monotonic clock.
        last_full_scan: AtomicU64,
        /// End of the current fairness request, in milliseconds of the monotonic clock. Until then
        /// a thread that has not slept yields to waiters.
        fair_until: AtomicU64,
        state: StateCell,
        /// One bit for each slot in use. A slot whose bit was never set may lie in a hole of the
        /// file.
        used: [AtomicU64; USED_WORDS],
        slots: [Slot; FIRST_SLOTS as usize],
    }
}

/// The slots after the first page.
pub(crate) type MoreSlots = [Slot; (SLOTS - FIRST_SLOTS) as usize];

const USED_WORDS: usize = (SLOTS as usize).div_ceil(64);

shared! {
    /// The state word. Its cache line also holds `max_permits`, which every release reads, and
    /// `initial`, which only a reset writes.
    struct StateCell {
        word: AtomicU64,
        /// Largest number of free permits, for even epochs and for odd ones. A reset writes the
        /// value of the next epoch before that epoch begins.
        max_permits: [AtomicU32; 2],
        /// Number of permits at the beginning of the epoch, for even epochs and for odd ones. For
        /// diagnostics.
        initial: [AtomicU32; 2],
    }
}

shared! {
    /// The record of one user. The user writes it, and its recoverer writes it after the user's
    /// death. Every process may write `helped`.
    struct Slot {
        /// The permits that the user holds after its last operation, as a [`Record`].
        committed: AtomicU64,
        /// The value that `committed` will have after the operation that the user has begun.
        pending: AtomicU64,
        /// Sequence number of an operation that another process saw applied.
        helped: AtomicU32,
        /// The epoch in which `committed` is valid.
        epoch: AtomicU32,
        /// PID of the user, for diagnostics.
        pid: AtomicU32,
        /// Inode number of the user's PID namespace.
        pid_namespace: AtomicU32,
        /// Start time of the user (field 22 of `/proc/PID/stat`), to detect PID reuse.
        start_time: AtomicU64,
        /// Number of the user's threads that wait.
        waiting_threads: AtomicU32,
        /// Time since when the user holds its permits, in seconds since 1970, as a [`Record`] of
        /// the operation.
        since: AtomicU64,
        /// PID of the process that is recovering this slot, or 0.
        recoverer: AtomicU32,
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64 && size_of::<Layout>() == PAGE as usize);

impl Slot {
    /// Returns the identity of the slot's user, or of its last one.
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

    /// Returns the number of permits that the user holds in this epoch.
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

    /// Returns the slots in use.
    pub(crate) fn used_slots(&self) -> impl Iterator<Item = u16> {
        self.used_slots_from(0)
    }

    /// Returns the slots in use, beginning with the group of 64 that contains this one.
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

    /// Returns the largest number of free permits in this epoch.
    pub(crate) fn max_permits(&self, epoch: u32) -> u32 {
        self.state.max_permits[epoch_index(epoch)].load(Ordering::Acquire).min(MAX_PERMITS)
    }

    /// Returns the number of permits at the beginning of this epoch.
    pub(crate) fn initial(&self, epoch: u32) -> u32 {
        self.state.initial[epoch_index(epoch)].load(Ordering::Acquire)
    }

    /// Stores the initial and the largest number of permits of an epoch that is not current yet.
    pub(crate) fn prepare_epoch(&self, epoch: u32, initial: u32, max_permits: u32) {
        self.state.initial[epoch_index(epoch)].store(initial, Ordering::Release);
        self.state.max_permits[epoch_index(epoch)].store(max_permits, Ordering::Release);
    }
}

/// Returns the index of an epoch in the arrays of two values.
#[inline(always)]
pub(crate) fn epoch_index(epoch: u32) -> usize {
    (epoch & 1) as usize
}

/// Returns the slot of this number, or `None` if the number is too large.
#[inline]
pub(crate) fn slot<'a>(layout: &'a Layout, rest: &'a MoreSlots, number: u16) -> Option<&'a Slot> {
    let number = usize::from(number);
    layout.slots.get(number).or_else(|| rest.get(number - layout.slots.len()))
}

fn bit_position(slot: u16) -> (usize, u64) {
    (usize::from(slot / 64), 1 << (slot % 64))
}
