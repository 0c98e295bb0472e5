//! Waits for other processes, for which the system has no notification.

use std::thread;
use std::time::{Duration, Instant};

/// Looks again and again until the condition holds or the time is over.
pub(super) fn poll(timeout: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(200));
    }
}
