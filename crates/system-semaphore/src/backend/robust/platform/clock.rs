//! The clocks, which all processes share: the monotonic clock, and the time of day for diagnostics.

use std::time::Duration;
pub(crate) use std::time::Instant;

#[cfg(not(portable_platform))]
use rustix::time::Timespec;

use crate::sys::clock::monotonic;
pub(crate) use crate::sys::clock::seconds_since_1970;

pub(crate) fn milliseconds() -> u64 {
    let now = monotonic();
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Returns the time until the next tick of `group`, one of `groups` groups.
///
/// Ticks are multiples of `unit`, and each tick belongs to one group. All members of a group wake
/// at the same tick, so that one CPU wake-up serves them.
pub(crate) fn until_next_tick(group: u64, groups: u64, unit: Duration) -> Duration {
    let (now, unit) = (monotonic(), unit.as_nanos() as u64);
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    Duration::from_nanos(ticks_until(group, groups, now / unit) * unit - now % unit)
}

/// Returns the number of ticks until the next one of `group`, at least 1.
fn ticks_until(group: u64, groups: u64, now: u64) -> u64 {
    (group + groups - (now + 1) % groups) % groups + 1
}

/// Returns the time of the monotonic clock after this duration.
#[cfg(not(portable_platform))]
pub(crate) fn after(duration: Duration) -> Timespec {
    let duration = Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() };
    monotonic() + duration
}

#[cfg(test)]
mod tests {
    use super::ticks_until;

    #[test]
    fn each_tick_belongs_to_one_group() {
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
