//! Looking for a moment before sleeping, and leaving the semaphore to who is at it.
//!
//! A sleep and a wake-up cost some microseconds, on a virtual machine whose processors go idle some tens; a permit that comes
//! sooner is better waited for awake. Whether it will, the waits of before tell: who waits looks for about twice as long as they
//! took, if that was short, and not at all if it was long. (To wait for as long as a sleep would cost, and then to sleep, is never
//! worse than twice the best choice: Karlin, Li, Manasse and Owicki, "Empirical studies of competitive spinning", 1991.)
//!
//! Between the looks the processor is offered to others, since the permit may be with a process that waits for it. But whoever accepts
//! may keep it for a whole time slice, and then the next looks are without offers: to sleep and be woken brings it back sooner.

use std::hint;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::layout::Layout;
use super::state::State;
use crate::backend::robust::platform::clock::Instant;
use crate::sys::atomic::AtomicU32;

/// What waits are expected to take before there was one.
const FIRST_GUESS: u32 = 5_000;
/// Nobody looks for permits that are expected later: a sleep costs less.
const WORTH_LOOKING: u32 = 100_000;
/// No single wait counts as longer.
const LONGEST: u32 = 1_000_000;
/// The shortest time of looking, in nanoseconds.
const SHORTEST_LOOK: u32 = 10_000;
/// How often is looked before the processor is offered to others, at most.
const MOST_LOOKS: u32 = 128;
/// An offer that takes longer has cost more than a sleep would. (No look takes so long by itself.)
const LONG_OFFER: Duration = Duration::from_nanos(2 * WORTH_LOOKING as u64);
/// None is made in so many looks after it.
const KEPT: u32 = 512;
/// In what time whoever is at it shows it by another change,
const GLIMPSE: Duration = Duration::from_nanos(100);
/// how long it is left alone then: some hundred times as long as an operation takes,
const MOMENT: Duration = Duration::from_nanos(1500);
/// and how many operations it is to do in that time.
const BUSY: u32 = 20;
/// For so many operations at most no way is made after that was in vain.
const MOST_VAIN: u32 = 127;

/// What this process has learnt about waits for one semaphore.
#[derive(Debug)]
pub(crate) struct Experience {
    /// How long a wait takes, in nanoseconds.
    expected: AtomicU32,
    /// How often it is worth looking before the processor is offered to others.
    looks: AtomicU32,
    /// For how many operations it does not try to make way,
    hurry: AtomicU32,
    /// after it did so in vain this time.
    vain: AtomicU32,
    /// In how many looks the processor is not offered.
    keeps: AtomicU32,
}

impl Experience {
    pub(crate) fn new() -> Self {
        Self {
            expected: AtomicU32::new(FIRST_GUESS),
            looks: AtomicU32::new(MOST_LOOKS / 4),
            hurry: AtomicU32::new(0),
            vain: AtomicU32::new(0),
            keeps: AtomicU32::new(0),
        }
    }

    /// Looks until something is enough, for as long as that makes sense, and no longer than `longest`; tells whether it was. `begin` is
    /// a moment just before.
    pub(crate) fn look(
        &self,
        layout: &Layout,
        begin: Instant,
        longest: Duration,
        is_enough: impl Fn(State) -> bool,
    ) -> bool {
        let expected = self.expected.load(Ordering::Relaxed);
        if cfg!(loom) || expected > WORTH_LOOKING || longest.is_zero() {
            return false;
        }
        let limit = Duration::from_nanos((2 * expected).max(SHORTEST_LOOK).into()).min(longest);
        let looks = self.looks.load(Ordering::Relaxed);
        let offers = self.offers();
        let mut last = layout.state();
        loop {
            for _ in 0..looks {
                hint::spin_loop();
                let state = layout.state();
                if is_enough(state) {
                    self.looks.store((looks * 2).min(MOST_LOOKS), Ordering::Relaxed);
                    return true;
                }
                if state != last {
                    // somebody is at it, who would be slowed down
                    pause(MOMENT);
                    last = layout.state();
                    break;
                }
            }
            if offers {
                thread::yield_now();
                if is_enough(layout.state()) {
                    self.looks.store((looks / 2).max(1), Ordering::Relaxed);
                    return true;
                }
            }
            let looked = begin.elapsed();
            if looked >= limit {
                if offers && looked >= limit + LONG_OFFER {
                    self.keeps.store(KEPT, Ordering::Relaxed);
                }
                return false;
            }
        }
    }

    /// Leaves the state to another process for a moment, if one is at it right now.
    ///
    /// Where processes on two processors take turns at each operation, the state and the slots travel between them each time, which
    /// takes some ten times as long as the operation. So each does some dozens in a row. If the others turn out not to be
    /// that fast, this is left out for a while.
    pub(crate) fn make_way(&self, layout: &Layout, own: u16) {
        let state = layout.state();
        // loom explores all interleavings anyway
        if cfg!(loom) || state.slot() == own {
            return;
        }
        let hurry = self.hurry.load(Ordering::Relaxed);
        if hurry > 0 {
            self.hurry.store(hurry - 1, Ordering::Relaxed);
            return;
        }
        pause(GLIMPSE);
        let now = layout.state();
        if now != state {
            pause(MOMENT);
            if layout.state().operations_since(now) >= BUSY {
                self.vain.store(0, Ordering::Relaxed);
                return;
            }
        }
        let vain = (self.vain.load(Ordering::Relaxed) * 2 + 1).min(MOST_VAIN);
        self.vain.store(vain, Ordering::Relaxed);
        self.hurry.store(vain, Ordering::Relaxed);
    }

    /// Whether to offer the processor in this look.
    fn offers(&self) -> bool {
        let keeps = self.keeps.load(Ordering::Relaxed);
        self.keeps.store(keeps.saturating_sub(1), Ordering::Relaxed);
        keeps == 0
    }

    /// Learns from a wait. One without a sleep is long only by an offer.
    pub(crate) fn note(&self, waited: Duration, slept: bool) {
        if !slept && waited >= LONG_OFFER {
            self.keeps.store(KEPT, Ordering::Relaxed);
        }
        let waited = u32::try_from(waited.as_nanos()).unwrap_or(u32::MAX).min(LONGEST);
        let expected = self.expected.load(Ordering::Relaxed);
        self.expected.store(expected - expected / 4 + waited / 4, Ordering::Relaxed);
    }
}

/// Lets time pass without looking.
fn pause(duration: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < duration {
        hint::spin_loop();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Experience, KEPT, LONG_OFFER};

    #[test]
    fn after_a_long_offer_none_is_made_for_a_while() {
        let experience = Experience::new();
        for _ in 0..3 {
            assert!(experience.offers());
        }
        experience.note(LONG_OFFER / 2, false);
        experience.note(LONG_OFFER, true);
        assert!(experience.offers());
        experience.note(LONG_OFFER, false);
        assert!((0..KEPT).all(|_| !experience.offers()));
        assert!(experience.offers());
    }
}
