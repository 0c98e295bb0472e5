//! When deaths are looked for.

use std::time::{Duration, Instant};

use crate::backend::robust::algorithm::recovery::Pass;

/// The close is reported moments before the locks are gone, and who is dying may be put aside between the two for as long as
/// others run. (The watcher's tripwire goes some 10 ms before its lock: the kernel closes its inotify instance between the two.) So
/// long after a report, and then after each look, it is looked again (the last one stands first).
pub(super) const AGAIN: [Duration; 7] = [
    Duration::from_millis(400),
    Duration::from_millis(80),
    Duration::from_millis(14),
    Duration::from_millis(4),
    Duration::from_millis(2),
    Duration::from_micros(300),
    SOON,
];
/// The last look but so many, 20 ms after the report, is at all: not all who are gone seem to be dead (who executes another program,
/// for one).
pub(super) const LATE: usize = 2;
/// The shortest pause between two looks, in which who was woken by the first can run.
pub(super) const SOON: Duration = Duration::from_micros(50);
/// Where one report follows the other, and there are many: so often at most all are looked at who seem to be dead, and not only the
/// first of them who holds something,
pub(super) const ROUND: Duration = Duration::from_millis(20);
/// and so often all.
pub(super) const THOROUGH: Duration = Duration::from_millis(100);

pub(super) struct Schedule {
    /// When it is to be looked, if it is;
    pub(super) due: Option<Instant>,
    /// how often again, after a report;
    pub(super) again: usize,
    /// and at whom a moment after the look before, besides.
    pub(super) soon: Option<Pass>,
    /// When all who seemed to be dead were looked at, and not only the first of them who held something.
    pub(super) round: Instant,
    /// When all were.
    pub(super) thorough: Instant,
}

impl Schedule {
    pub(super) fn new() -> Self {
        Self { due: None, again: 0, soon: None, round: Instant::now(), thorough: Instant::now() }
    }

    /// How long it is until the next look.
    pub(super) fn pause(&self) -> Option<Duration> {
        match (self.soon, self.again) {
            (Some(_), _) => Some(SOON),
            (None, 0) => None,
            // there was a report meanwhile
            (None, again) if again > AGAIN.len() => Some(Duration::ZERO),
            (None, again) => Some(AGAIN[again - 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel reports a close before it drops the locks: much later on a busy machine.
    #[test]
    fn a_report_is_followed_by_looks_at_once_and_for_some_time() {
        let mut one = Schedule { again: AGAIN.len() + 1, ..Schedule::new() };
        let pauses: Vec<Duration> = std::iter::from_fn(|| {
            let pause = one.pause();
            one.again = one.again.saturating_sub(1);
            pause
        })
        .collect();
        assert_eq!(pauses[0], Duration::ZERO);
        assert!(pauses.is_sorted() && pauses[1] <= Duration::from_micros(100), "{pauses:?}");
        let until = |again: usize| pauses[..=AGAIN.len() - again].iter().sum::<Duration>().as_millis();
        assert_eq!((until(LATE), until(1), until(0)), (20, 100, 500), "{pauses:?}");
    }
}
