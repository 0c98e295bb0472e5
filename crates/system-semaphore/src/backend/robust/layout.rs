//! What is in the file.
//!
//! All of it is atomics of fixed size, and nothing in it is trusted as an index, a length or a bound.

use std::sync::atomic::Ordering;
use std::{fmt, iter};

use crate::sys::atomic::{AtomicU32, AtomicU64};
use crate::sys::memory::{Mapping, shared};

/// `"SYSSEMA4"`: which file this is. It differs where the byte order does.
pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"SYSSEMA4");
/// The version of what this module describes.
pub(super) const VERSION: u32 = 2;

/// How many processes can use one semaphore at once.
pub(super) const SLOTS: u16 = if cfg!(loom) { 4 } else { 4093 };
/// The slots in the file's first page, which is there if there is anything.
pub(super) const FIRST_SLOTS: u16 = if cfg!(loom) { SLOTS } else { 54 };
/// Instead of a slot, in the tag of a state that no process wrote: the semaphore was removed,
pub(super) const REMOVED: u16 = SLOTS;
/// has just been made,
pub(super) const INITIAL: u16 = SLOTS + 1;
/// or was reset; the tag's number is the new epoch.
pub(super) const RESET: u16 = SLOTS + 2;

/// The bytes of the file that are locked, all of them beyond doubt: who uses slot *i* has a lock on byte *i*.
pub(super) const REGISTRY_BYTE: u16 = SLOTS;
/// Who has this one is the watcher.
pub(super) const WATCHER_BYTE: u16 = SLOTS + 1;

/// The largest count.
pub(super) const MAX_PERMITS: u32 = i32::MAX as u32;
pub(super) const PAGE: u64 = 4096;
/// The name, where the file's name is only its hash: a length (4 bytes) and the text.
pub(super) const NAME_AT: u64 = (size_of::<Layout>() + size_of::<MoreSlots>()) as u64;
/// The length of the file, which is sparse.
pub(super) const FILE_SIZE: u64 = (NAME_AT + 4 + super::place::MAX_NAME as u64).next_multiple_of(PAGE);

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
        several: AtomicU32,
        /// Who has the registry lock, for messages.
        registrar: AtomicU32,
        /// How many dead holders were recovered.
        recoveries: AtomicU64,
        /// When somebody last looked for dead holders among many, in milliseconds of the monotonic clock.
        last_pass: AtomicU64,
        /// Until when who has not waited lets those go first who have, on the same clock.
        fair_until: AtomicU64,
        state: StateCell,
        /// One bit a slot: it is in use. A slot whose bit was never set may lie in a hole of the file.
        used: [AtomicU64; USED_WORDS],
        slots: [Slot; FIRST_SLOTS as usize],
    }
}

/// The slots that are not in the first page.
pub(super) type MoreSlots = [Slot; (SLOTS - FIRST_SLOTS) as usize];
/// The file in memory.
pub(super) type Map = Mapping<Layout, MoreSlots>;

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

/// `[ seq:20 | slot:12 | WAITERS:1 | count:31 ]`: how many permits are free, and which operation made it so.
///
/// The lower half is the futex. (slot, seq) is the *tag*. The number is on top, so that adding one to it wraps around
/// and needs no test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State(pub(super) u64);

impl State {
    const WAITERS: u64 = 1 << 31;
    const COUNT: u64 = Self::WAITERS - 1;
    const SLOT_SHIFT: u32 = 32;
    const SEQ_SHIFT: u32 = 44;

    #[inline]
    pub(super) fn new(slot: u16, seq: u32, waiters: bool, count: u32) -> Self {
        Self(
            u64::from(seq) << Self::SEQ_SHIFT
                | u64::from(slot) << Self::SLOT_SHIFT
                | if waiters { Self::WAITERS } else { 0 }
                | u64::from(count) & Self::COUNT,
        )
    }

    #[inline]
    pub(super) fn slot(self) -> u16 {
        (self.0 >> Self::SLOT_SHIFT) as u16 & 0xFFF
    }

    /// The last 20 bits of the operation's number.
    #[inline]
    pub(super) fn seq(self) -> u32 {
        (self.0 >> Self::SEQ_SHIFT) as u32
    }

    #[inline]
    pub(super) fn waiters(self) -> bool {
        self.0 & Self::WAITERS != 0
    }

    #[inline]
    pub(super) fn count(self) -> u32 {
        (self.0 & Self::COUNT) as u32
    }

    /// Whether nobody waits, and the last operation was the one that is committed in a slot, of which this is an empty state.
    #[inline(always)]
    pub(super) fn is_quiet(self, of_slot: Self, committed: Record) -> bool {
        let seq = u64::from(committed.seq()) << Self::SEQ_SHIFT;
        self.0 & !Self::COUNT == of_slot.0 | seq
    }

    /// How many operations there were since an earlier state, if they are of one slot; if not, many.
    pub(super) fn operations_since(self, earlier: Self) -> u32 {
        if self.slot() == earlier.slot() { tag_of(self.seq().wrapping_sub(earlier.seq())) } else { u32::MAX }
    }

    /// The state after the next operation of the same slot, if this one is [quiet](Self::is_quiet).
    #[inline(always)]
    pub(super) fn next_of_same_slot(self, difference: i64) -> Self {
        Self(self.0.wrapping_add(1 << Self::SEQ_SHIFT).wrapping_add_signed(difference))
    }

    /// The same with a waiter announced: that is no operation, so the tag stays.
    pub(super) fn with_waiters(self) -> Self {
        Self(self.0 | Self::WAITERS)
    }

    /// What a futex compares.
    pub(super) fn futex_value(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, seq, waiters, count) = (self.slot(), self.seq(), self.waiters(), self.count());
        write!(f, "State(slot {slot}, seq {seq}, waiters {waiters}, count {count})")
    }
}

/// What of an operation's number a tag has room for.
#[inline]
pub(super) fn tag_of(seq: u32) -> u32 {
    seq & 0xF_FFFF
}

/// `[ seq:32 | amount:32 ]`: an amount of permits (or seconds) as of operation `seq` of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record(u64);

impl Record {
    pub(super) fn new(seq: u32, amount: u32) -> Self {
        Self(u64::from(seq) << 32 | u64::from(amount))
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline(always)]
    pub(super) fn load(cell: &AtomicU64, order: Ordering) -> Self {
        Self(cell.load(order))
    }

    #[inline(always)]
    pub(super) fn store(self, cell: &AtomicU64) {
        cell.store(self.0, Ordering::Release);
    }

    #[inline(always)]
    pub(super) fn seq(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) fn amount(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn with_amount(self, amount: u32) -> Self {
        Self::new(self.seq(), amount)
    }

    /// The record of the next operation; `None` if there cannot be so little or so much.
    #[inline(always)]
    pub(super) fn next(self, difference: i64) -> Option<Self> {
        let is_possible = u32::try_from(i64::from(self.amount()) + difference).is_ok();
        is_possible.then(|| Self(self.0.wrapping_add(1 << 32).wrapping_add_signed(difference)))
    }
}

impl Slot {
    #[inline]
    pub(super) fn committed(&self) -> Record {
        Record::load(&self.committed, Ordering::Acquire)
    }

    #[inline]
    pub(super) fn pending(&self) -> Record {
        Record::load(&self.pending, Ordering::Acquire)
    }

    /// What the process holds, if its epoch is the current one.
    pub(super) fn held(&self, epoch: u32) -> u32 {
        if self.epoch.load(Ordering::Acquire) == epoch { self.committed().amount() } else { 0 }
    }
}

impl Layout {
    #[inline]
    pub(super) fn state(&self) -> State {
        State(self.state.word.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn exchange(&self, from: State, to: State) -> bool {
        self.state.word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(super) fn is_used(&self, slot: u16) -> bool {
        let (word, bit) = position(slot);
        self.used[word].load(Ordering::Acquire) & bit != 0
    }

    pub(super) fn set_used(&self, slot: u16, used: bool) {
        let (word, bit) = position(slot);
        if used {
            self.used[word].fetch_or(bit, Ordering::AcqRel);
        } else {
            self.used[word].fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// The slots in use.
    pub(super) fn used_slots(&self) -> impl Iterator<Item = u16> {
        self.used_slots_from(0)
    }

    /// The same, beginning with those about this one.
    pub(super) fn used_slots_from(&self, slot: u16) -> impl Iterator<Item = u16> {
        let (first, _) = position(slot);
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
    pub(super) fn max_permits(&self, epoch: u32) -> u32 {
        self.state.max_permits[parity(epoch)].load(Ordering::Acquire).min(MAX_PERMITS)
    }

    /// How many permits there were at the beginning of this epoch.
    pub(super) fn initial(&self, epoch: u32) -> u32 {
        self.state.initial[parity(epoch)].load(Ordering::Acquire)
    }

    /// Says what is to be in this epoch, which is not, or not yet, the current one.
    pub(super) fn prepare(&self, epoch: u32, initial: u32, max_permits: u32) {
        self.state.initial[parity(epoch)].store(initial, Ordering::Release);
        self.state.max_permits[parity(epoch)].store(max_permits, Ordering::Release);
    }
}

/// Which of the two values of an epoch are this one's.
#[inline(always)]
pub(super) fn parity(epoch: u32) -> usize {
    (epoch & 1) as usize
}

/// A slot, which may be one of those that follow; `None` if there is none of this number.
#[inline]
pub(super) fn slot<'a>(layout: &'a Layout, more: &'a MoreSlots, number: u16) -> Option<&'a Slot> {
    let number = usize::from(number);
    layout.slots.get(number).or_else(|| more.get(number - layout.slots.len()))
}

fn position(slot: u16) -> (usize, u64) {
    (usize::from(slot / 64), 1 << (slot % 64))
}
