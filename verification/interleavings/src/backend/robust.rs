//! The engine's algorithm, as it is, over a simulated platform.

#![allow(dead_code)]

#[path = "../../../../crates/system-semaphore/src/backend/robust/algorithm/mod.rs"]
mod algorithm;
#[path = "../../../../crates/system-semaphore/src/backend/robust/error.rs"]
mod error;
#[path = "../../../../crates/system-semaphore/src/backend/robust/failpoint.rs"]
mod failpoint;
mod platform;
mod tests;

pub(crate) use self::platform::clock::Instant;

/// Processes cannot be inspected here: each user seems to be dead until its lock says otherwise.
mod process_id {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct ProcessId {
        pub(crate) pid: u32,
        pub(crate) pid_namespace: u32,
        pub(crate) start_time: u64,
    }

    pub(crate) fn seems_alive(_: &ProcessId) -> bool {
        false
    }

    pub(crate) fn is_stopped(_: u32) -> bool {
        false
    }
}
