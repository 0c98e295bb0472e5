//! [`Account`]: how many permits this process holds without a guard.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::fork;
#[cfg(target_os = "linux")]
use crate::sys::thread::SingleThreaded;
use crate::types::Epoch;

/// How many permits a process holds without a guard, with the process and the epoch that they belong to: in a forked
/// child, and after a reset, it reads as none. One word, so that no lock can be left locked by a fork.
#[derive(Debug)]
pub(super) struct Account {
    word: AtomicU64,
    #[cfg(target_os = "linux")]
    single: SingleThreaded,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            word: AtomicU64::new(0),
            #[cfg(target_os = "linux")]
            single: SingleThreaded::find(),
        }
    }
}

impl Account {
    pub(super) fn held(&self, epoch: Epoch) -> u32 {
        Self::read(self.word.load(Ordering::Acquire), epoch)
    }

    /// Whether, in whatever epoch it is, fewer are held. `false` says nothing.
    #[inline]
    pub(super) fn is_surely_below(&self, count: u32) -> bool {
        (self.word.load(Ordering::Relaxed) as u32) < count
    }

    /// Changes what is held, knowing the epoch; returns the epoch and what was held before.
    ///
    /// The epoch is asked for after the word was loaded, so that no word of a later epoch can be taken for one of an
    /// earlier: if there is one, it was written since, and the exchange fails.
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
            // a locked instruction costs as much as all the rest, and is for the other threads
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

    /// Adds to what is held of this epoch, if that is what stands there and this is the only thread; tells whether it did. Which
    /// epoch it is now makes no difference: if another, neither counts.
    #[inline]
    pub(super) fn add_alone(&self, count: u32, epoch: Epoch) -> bool {
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

    /// `[ generation:16 | epoch:16 | held:32 ]`: so many forks in a row, or resets while something is held, that 16
    /// bits come round do not happen.
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

    use super::{Account, SingleThreaded};

    /// An account of a process that has one thread, or has not.
    fn account(single: u8) -> Account {
        let single = SingleThreaded::told_by(Box::leak(Box::new(AtomicU8::new(single))));
        Account { single, ..Account::default() }
    }

    #[test]
    fn what_is_held_in_a_later_epoch_is_not_lost_to_one_who_was_slow() {
        let account = account(0);
        account.update(|| 0, |_, held| held + 5);
        let asked = Cell::new(false);
        // between this one's question and its change, another begins the next epoch and holds two
        let epoch = || {
            if !asked.replace(true) {
                account.update(|| 1, |_, held| held + 2);
                0
            } else {
                1
            }
        };
        assert_eq!(account.update(epoch, |_, held| held.saturating_sub(1)), (1, 2));
        assert_eq!((account.held(0), account.held(1)), (0, 1));
    }

    #[test]
    fn the_only_thread_counts_like_any_other() {
        for single in [0, 1] {
            let account = account(single);
            let put = |count, epoch, now| {
                if !account.add_alone(count, epoch) {
                    account.update(|| now, |now, held| if now == epoch { held + count } else { held });
                }
            };
            put(2, 0, 0);
            put(3, 0, 0);
            assert_eq!(account.held(0), 5);
            assert_eq!(account.update(|| 0, |_, held| held - 1), (0, 5));
            // what was taken before a reset does not drive out what was taken since
            put(2, 1, 1);
            put(4, 0, 1);
            assert_eq!((account.held(0), account.held(1)), (0, 2));
        }
    }
}
