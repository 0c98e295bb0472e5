//! The clocks, which all processes share: the monotonic one, and the time of day for people.

use std::time::Duration;
pub(crate) use std::time::Instant;

use rustix::time::Timespec;

use crate::sys::clock::monotonic;
pub(crate) use crate::sys::clock::seconds_since_1970;

pub(crate) fn milliseconds() -> u64 {
    let now = monotonic();
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// How long it is to the next of this turn's moments, where so many take turns and one moment is so long after the other. (All those of one
/// turn wake at the same moment, since to wake a processor that is idle costs more than most of what is done then.)
pub(crate) fn until_next_tick(group: u64, groups: u64, unit: Duration) -> Duration {
    let (now, unit) = (monotonic(), unit.as_nanos() as u64);
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    Duration::from_nanos(ticks_until(group, groups, now / unit) * unit - now % unit)
}

/// In how many moments a turn is on, at least one.
fn ticks_until(group: u64, groups: u64, now: u64) -> u64 {
    (group + groups - (now + 1) % groups) % groups + 1
}

/// The moment so long from now.
pub(crate) fn after(duration: Duration) -> Timespec {
    let duration = Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() };
    monotonic() + duration
}

#[cfg(test)]
mod tests {
    use super::ticks_until;

    #[test]
    fn each_moment_is_the_turn_of_one() {
        for groups in 1..=8 {
            for now in 0..100 {
                let mut all: Vec<u64> = (0..groups).map(|group| ticks_until(group, groups, now)).collect();
                all.sort_unstable();
                assert_eq!(all, (1..=groups).collect::<Vec<_>>());
                let next = (0..groups).find(|group| ticks_until(*group, groups, now) == 1);
                assert_eq!(next, Some((now + 1) % groups));
            }
        }
    }
}
