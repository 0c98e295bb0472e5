//! The words that the algorithm compares and swaps: the state of a semaphore, and the records of a
//! slot.

use std::fmt;
use std::sync::atomic::Ordering;

use crate::sys::atomic::AtomicU64;

/// `[ seq:20 | slot:12 | WAITERS:1 | count:31 ]`: the number of free permits, and the operation
/// that wrote it.
///
/// (slot, seq) is the *tag*. The lower half is the futex. The sequence number is on top, so that
/// adding one to it wraps without a test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) u64);

impl State {
    const WAITERS: u64 = 1 << 31;
    const COUNT: u64 = Self::WAITERS - 1;
    const SLOT_SHIFT: u32 = 32;
    const SEQ_SHIFT: u32 = 44;

    #[inline]
    pub(crate) fn new(slot: u16, seq: u32, waiters: bool, count: u32) -> Self {
        Self(
            u64::from(seq) << Self::SEQ_SHIFT
                | u64::from(slot) << Self::SLOT_SHIFT
                | if waiters { Self::WAITERS } else { 0 }
                | u64::from(count) & Self::COUNT,
        )
    }

    #[inline]
    pub(crate) fn slot(self) -> u16 {
        (self.0 >> Self::SLOT_SHIFT) as u16 & 0xFFF
    }

    /// Returns the last 20 bits of the operation's sequence number.
    #[inline]
    pub(crate) fn seq(self) -> u32 {
        (self.0 >> Self::SEQ_SHIFT) as u32
    }

    #[inline]
    pub(crate) fn waiters(self) -> bool {
        self.0 & Self::WAITERS != 0
    }

    #[inline]
    pub(crate) fn count(self) -> u32 {
        (self.0 & Self::COUNT) as u32
    }

    /// Returns whether no process waits and the last operation is the committed one of a slot.
    /// `tag_base` is a state with that slot and with zeros for everything else.
    #[inline(always)]
    pub(crate) fn is_uncontended(self, tag_base: Self, committed: Record) -> bool {
        let seq = u64::from(committed.seq()) << Self::SEQ_SHIFT;
        self.0 & !Self::COUNT == tag_base.0 | seq
    }

    /// Returns the number of operations since an earlier state, or `u32::MAX` if another slot's
    /// operation was among them.
    pub(crate) fn operations_since(self, earlier: Self) -> u32 {
        if self.slot() == earlier.slot() {
            truncate_seq(self.seq().wrapping_sub(earlier.seq()))
        } else {
            u32::MAX
        }
    }

    /// Returns the state after the next operation of the same slot, if this one is
    /// [uncontended](Self::is_uncontended).
    #[inline(always)]
    pub(crate) fn next(self, difference: i64) -> Self {
        Self(self.0.wrapping_add(1 << Self::SEQ_SHIFT).wrapping_add_signed(difference))
    }

    /// Returns the state with WAITERS set. Setting WAITERS is no operation, so the tag stays.
    pub(crate) fn with_waiters(self) -> Self {
        Self(self.0 | Self::WAITERS)
    }

    /// Returns the value that a futex compares.
    pub(crate) fn futex_value(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, seq, waiters, count) = (self.slot(), self.seq(), self.waiters(), self.count());
        write!(f, "State(slot {slot}, seq {seq}, waiters {waiters}, count {count})")
    }
}

/// Returns the bits of a sequence number that a tag contains.
#[inline]
pub(crate) fn truncate_seq(seq: u32) -> u32 {
    seq & 0xF_FFFF
}

/// `[ seq:32 | amount:32 ]`: an amount of permits (or of seconds) after operation `seq` of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record(u64);

impl Record {
    pub(crate) fn new(seq: u32, amount: u32) -> Self {
        Self(u64::from(seq) << 32 | u64::from(amount))
    }

    pub(crate) fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline(always)]
    pub(crate) fn load(cell: &AtomicU64, order: Ordering) -> Self {
        Self(cell.load(order))
    }

    #[inline(always)]
    pub(crate) fn store(self, cell: &AtomicU64) {
        cell.store(self.0, Ordering::Release);
    }

    #[inline(always)]
    pub(crate) fn seq(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(crate) fn amount(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn with_amount(self, amount: u32) -> Self {
        Self::new(self.seq(), amount)
    }

    /// Returns the record of the next operation, or `None` if the amount would be below 0 or would
    /// overflow.
    #[inline(always)]
    pub(crate) fn next(self, difference: i64) -> Option<Self> {
        let is_possible = u32::try_from(i64::from(self.amount()) + difference).is_ok();
        is_possible.then(|| Self(self.0.wrapping_add(1 << 32).wrapping_add_signed(difference)))
    }
}
