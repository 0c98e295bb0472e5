//! Staying away from the state word while another process operates on it.
//!
//! If processes on two CPUs alternate at each operation, the cache lines of the state and the slots
//! travel between the CPUs each time. That takes about ten times as long as an operation. A process
//! that finds another one active therefore backs off for [`BACKOFF_TIME`], in which the other one
//! does some dozens of operations in a row.

use std::hint;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::layout::Layout;
use crate::backend::robust::platform::clock::Instant;
use crate::sys::atomic::AtomicU32;

/// How long a process watches for another update before it concludes that there is no contention.
const PROBE_TIME: Duration = Duration::from_nanos(100);
/// How long a process stays away from the state under contention: about 100 operations.
pub(super) const BACKOFF_TIME: Duration = Duration::from_nanos(1500);
/// A back-off was useful if the other process completed this many operations in it.
const USEFUL_BACKOFF_OPS: u32 = 20;
/// Largest number of operations that skip the back-off after a useless one.
const MAX_SKIP: u32 = 127;

/// What this process has learnt about contention for one semaphore.
#[derive(Debug)]
pub(crate) struct ContentionBackoff {
    /// Number of operations that will skip the back-off.
    skip_left: AtomicU32,
    /// Number of operations that skipped the back-off after the last useless one.
    skip_len: AtomicU32,
}

impl ContentionBackoff {
    pub(crate) fn new() -> Self {
        Self { skip_left: AtomicU32::new(0), skip_len: AtomicU32::new(0) }
    }

    /// Waits for [`BACKOFF_TIME`] if another process is operating on the semaphore right now.
    ///
    /// After a back-off that was useless, because the other process completed few operations in it,
    /// the next operations skip this.
    pub(crate) fn back_off_if_contended(&self, layout: &Layout, own: u16) {
        let state = layout.state();
        if cfg!(loom) || state.slot() == own {
            return;
        }
        let skip_left = self.skip_left.load(Ordering::Relaxed);
        if skip_left > 0 {
            self.skip_left.store(skip_left - 1, Ordering::Relaxed);
            return;
        }
        spin_for(PROBE_TIME);
        let now = layout.state();
        if now != state {
            spin_for(BACKOFF_TIME);
            if layout.state().operations_since(now) >= USEFUL_BACKOFF_OPS {
                self.skip_len.store(0, Ordering::Relaxed);
                return;
            }
        }
        let skip_len = (self.skip_len.load(Ordering::Relaxed) * 2 + 1).min(MAX_SKIP);
        self.skip_len.store(skip_len, Ordering::Relaxed);
        self.skip_left.store(skip_len, Ordering::Relaxed);
    }
}

/// Lets time pass without reading the state.
pub(super) fn spin_for(duration: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < duration {
        hint::spin_loop();
    }
}
