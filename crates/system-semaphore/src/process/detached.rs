//! [`DetachedPermits`]: the number of permits that this process holds without a guard.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::fork;
#[cfg(target_os = "linux")]
use crate::sys::thread::SingleThreaded;
use crate::types::Epoch;

/// The number of detached permits, with the generation of the process and the epoch that they belong to.
///
/// In a forked child, and after a reset, the count is 0. It is one atomic word, because a fork could leave a lock locked.
#[derive(Debug)]
pub(super) struct DetachedPermits {
    word: AtomicU64,
    #[cfg(target_os = "linux")]
    single: SingleThreaded,
}

impl Default for DetachedPermits {
    fn default() -> Self {
        Self {
            word: AtomicU64::new(0),
            #[cfg(target_os = "linux")]
            single: SingleThreaded::get_flag(),
        }
    }
}

impl DetachedPermits {
    /// Returns the number of detached permits of this epoch.
    pub(super) fn count(&self, epoch: Epoch) -> u32 {
        Self::read(self.word.load(Ordering::Acquire), epoch)
    }

    /// Whether the count is below `count` in every epoch. `false` means that it may be.
    #[inline]
    pub(super) fn definitely_below(&self, count: u32) -> bool {
        (self.word.load(Ordering::Relaxed) as u32) < count
    }

    /// Replaces the count by the result of `change`, and returns the epoch and the count before.
    ///
    /// The word is loaded before the epoch. If another thread writes a word of a later epoch in between, the exchange
    /// fails. Therefore a word of a later epoch is never replaced by one of an earlier epoch.
    pub(super) fn update(
        &self,
        epoch: impl Fn() -> Epoch,
        change: impl Fn(Epoch, u32) -> u32,
    ) -> (Epoch, u32) {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let now = epoch();
            let held = Self::read(word, now);
            let changed = Self::owner(now) | u64::from(change(now, held));
            // A compare-and-swap costs as much as the rest, and a single thread does not need it.
            if self.is_single() {
                self.word.store(changed, Ordering::Release);
                return (now, held);
            }
            match self.word.compare_exchange_weak(word, changed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return (now, held),
                Err(current) => word = current,
            }
        }
    }

    /// Adds `count` permits of this epoch if the process has one thread and the word is of this epoch.
    ///
    /// Returns whether it did. The current epoch makes no difference: if it is another, neither word counts.
    #[inline]
    pub(super) fn add_single_threaded(&self, count: u32, epoch: Epoch) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let owner = Self::owner(epoch);
        let held = word as u32;
        let is_same = word == owner | u64::from(held);
        if is_same && self.is_single() {
            self.word.store(owner | u64::from(held.saturating_add(count)), Ordering::Release);
            return true;
        }
        false
    }

    #[inline]
    fn is_single(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.single.get();
        #[cfg(not(target_os = "linux"))]
        return false;
    }

    /// Returns the upper half of the word `[ generation:16 | epoch:16 | count:32 ]`.
    ///
    /// The 16 bits would be ambiguous after 65,536 nested forks, or 65,536 resets while permits are detached.
    fn owner(epoch: Epoch) -> u64 {
        u64::from(fork::generation() & 0xFFFF) << 48 | u64::from(epoch & 0xFFFF) << 32
    }

    fn read(word: u64, epoch: Epoch) -> u32 {
        let held = word as u32;
        if word == Self::owner(epoch) | u64::from(held) { held } else { 0 }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicU8;

    use super::{DetachedPermits, SingleThreaded};

    /// Returns the count of a process with one thread (1) or several (0).
    fn detached(single: u8) -> DetachedPermits {
        let single = SingleThreaded::with_flag(Box::leak(Box::new(AtomicU8::new(single))));
        DetachedPermits { single, ..DetachedPermits::default() }
    }

    #[test]
    fn slow_update_keeps_permits_of_later_epoch() {
        let detached = detached(0);
        detached.update(|| 0, |_, held| held + 5);
        let asked = Cell::new(false);
        // Between the query and the exchange, another thread begins the next epoch and detaches two permits.
        let epoch = || {
            if !asked.replace(true) {
                detached.update(|| 1, |_, held| held + 2);
                0
            } else {
                1
            }
        };
        assert_eq!(detached.update(epoch, |_, held| held.saturating_sub(1)), (1, 2));
        assert_eq!((detached.count(0), detached.count(1)), (0, 1));
    }

    #[test]
    fn single_thread_counts_as_several_do() {
        for single in [0, 1] {
            let detached = detached(single);
            let put = |count, epoch, now| {
                if !detached.add_single_threaded(count, epoch) {
                    detached.update(|| now, |now, held| if now == epoch { held + count } else { held });
                }
            };
            put(2, 0, 0);
            put(3, 0, 0);
            assert_eq!(detached.count(0), 5);
            assert_eq!(detached.update(|| 0, |_, held| held - 1), (0, 5));
            // Permits from before a reset do not replace those from after it.
            put(2, 1, 1);
            put(4, 0, 1);
            assert_eq!((detached.count(0), detached.count(1)), (0, 2));
        }
    }
}
