//! The monotonic clock, which all processes share.

use std::time::Duration;
pub(super) use std::time::Instant;

use rustix::time::{ClockId, Timespec, clock_gettime};

pub(super) fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// The moment so long from now.
pub(super) fn after(duration: Duration) -> Timespec {
    let duration = Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() };
    clock_gettime(ClockId::Monotonic) + duration
}
