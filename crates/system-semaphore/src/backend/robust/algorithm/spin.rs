//! Spinning for a moment before a waiter sleeps.
//!
//! A sleep and a wake-up cost some microseconds, and some tens on a virtual machine whose CPUs go
//! idle. A waiter therefore spins first if a permit is likely to be released soon. Earlier waits
//! predict that: a waiter spins for about twice as long as they took if they were short, and does
//! not spin if they were long. (Spinning for as long as a sleep would cost, and then sleeping,
//! costs at most twice the best choice: Karlin, Li, Manasse and Owicki, "Empirical studies of
//! competitive spinning", 1991.)
//!
//! Between its polls the waiter yields the CPU, because the holder of the permit may be waiting for
//! it. The process that gets the CPU may keep it for a whole time slice. After such a yield the
//! next waits do not yield: a sleeping waiter gets the CPU back sooner.

use std::hint;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::backoff::{BACKOFF_TIME, spin_for};
use super::layout::Layout;
use super::state::State;
use crate::backend::robust::platform::clock::Instant;
use crate::sys::atomic::AtomicU32;

/// Expected duration of the first wait, in nanoseconds.
const FIRST_EXPECTED_NS: u32 = 5_000;
/// Longest expected wait for which a waiter spins, in nanoseconds. A sleep costs less than spinning
/// for longer.
const MAX_EXPECTED_NS: u32 = 100_000;
/// Longest duration that a single wait counts for, in nanoseconds.
const MAX_RECORDED_NS: u32 = 1_000_000;
/// Shortest time limit of a spin, in nanoseconds.
const MIN_SPIN_NS: u32 = 10_000;
/// Largest number of polls between two yields.
const MAX_SPINS_PER_YIELD: u32 = 128;
/// A yield that takes longer has cost more than a sleep would. No spin takes so long without one.
const LONG_YIELD: Duration = Duration::from_nanos(2 * MAX_EXPECTED_NS as u64);
/// Number of waits that do not yield after a long yield.
const YIELD_PENALTY: u32 = 512;

/// What this process has learnt from its waits for one semaphore.
#[derive(Debug)]
pub(crate) struct AdaptiveSpin {
    /// Expected duration of a wait, in nanoseconds.
    expected: AtomicU32,
    /// Number of polls before each yield.
    spins_per_yield: AtomicU32,
    /// Number of waits that will not yield.
    yield_penalty: AtomicU32,
}

impl AdaptiveSpin {
    pub(crate) fn new() -> Self {
        Self {
            expected: AtomicU32::new(FIRST_EXPECTED_NS),
            spins_per_yield: AtomicU32::new(MAX_SPINS_PER_YIELD / 4),
            yield_penalty: AtomicU32::new(0),
        }
    }

    /// Polls the state until `is_sufficient` accepts it, and returns whether it did.
    ///
    /// The poll ends when a sleep is the better choice, and `max` after `begin` at the latest. The
    /// caller has read `begin` from the clock just before.
    pub(crate) fn spin_until(
        &self,
        layout: &Layout,
        begin: Instant,
        max: Duration,
        is_sufficient: impl Fn(State) -> bool,
    ) -> bool {
        let expected = self.expected.load(Ordering::Relaxed);
        if cfg!(loom) || expected > MAX_EXPECTED_NS || max.is_zero() {
            return false;
        }
        let limit = Duration::from_nanos((2 * expected).max(MIN_SPIN_NS).into()).min(max);
        let spins_per_yield = self.spins_per_yield.load(Ordering::Relaxed);
        let may_yield = self.may_yield();
        let mut last = layout.state();
        loop {
            for _ in 0..spins_per_yield {
                hint::spin_loop();
                let state = layout.state();
                if is_sufficient(state) {
                    self.spins_per_yield
                        .store((spins_per_yield * 2).min(MAX_SPINS_PER_YIELD), Ordering::Relaxed);
                    return true;
                }
                if state != last {
                    // another process is operating on the semaphore, and polling would slow it down
                    spin_for(BACKOFF_TIME);
                    last = layout.state();
                    break;
                }
            }
            if may_yield {
                thread::yield_now();
                if is_sufficient(layout.state()) {
                    self.spins_per_yield.store((spins_per_yield / 2).max(1), Ordering::Relaxed);
                    return true;
                }
            }
            let elapsed = begin.elapsed();
            if elapsed >= limit {
                if may_yield && elapsed >= limit + LONG_YIELD {
                    self.yield_penalty.store(YIELD_PENALTY, Ordering::Relaxed);
                }
                return false;
            }
        }
    }

    /// Returns whether this wait may yield, and counts it if it may not.
    fn may_yield(&self) -> bool {
        let yield_penalty = self.yield_penalty.load(Ordering::Relaxed);
        self.yield_penalty.store(yield_penalty.saturating_sub(1), Ordering::Relaxed);
        yield_penalty == 0
    }

    /// Records how long a wait took. A long wait without a sleep was long because of a yield.
    pub(crate) fn record_wait(&self, waited: Duration, has_slept: bool) {
        if !has_slept && waited >= LONG_YIELD {
            self.yield_penalty.store(YIELD_PENALTY, Ordering::Relaxed);
        }
        let waited = u32::try_from(waited.as_nanos()).unwrap_or(u32::MAX).min(MAX_RECORDED_NS);
        let expected = self.expected.load(Ordering::Relaxed);
        self.expected.store(expected - expected / 4 + waited / 4, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{AdaptiveSpin, LONG_YIELD, YIELD_PENALTY};

    #[test]
    fn long_yield_stops_yields_for_a_while() {
        let spin = AdaptiveSpin::new();
        for _ in 0..3 {
            assert!(spin.may_yield());
        }
        spin.record_wait(LONG_YIELD / 2, false);
        spin.record_wait(LONG_YIELD, true);
        assert!(spin.may_yield());
        spin.record_wait(LONG_YIELD, false);
        assert!((0..YIELD_PENALTY).all(|_| !spin.may_yield()));
        assert!(spin.may_yield());
    }
}
