//! Points at which a test stops or kills a process, and ways to let its waiters sleep without a
//! bound and to end their time.
//!
//! Outside this crate's unit tests all of this is empty.

#[cfg(not(test))]
use std::time::Duration;

/// A point between two steps of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failpoint {
    BeforeSwap,
    AfterSwap,
    /// A releaser has released permits and has not woken waiters.
    BeforeWake,
    /// A waiter was woken and has not loaded the state.
    Woken,
    /// A recoverer has the lock of the dead user's slot and has done nothing.
    RecoveryBegins,
    /// A recoverer has resolved the last operation.
    RecoveryResolved,
    /// A recoverer has released the held permits.
    RecoveryReleased,
    /// A recoverer has woken a waiter.
    RecoveryWoke,
    /// An opener or a closer has the registry lock.
    RegistryLocked,
    /// A resetter has prepared the next epoch and has not replaced the state.
    ResetPrepared,
    /// A resetter has replaced the state and has not changed the header's epoch.
    ResetSwapped,
    /// A remover has marked the state and has not unlinked the file.
    MarkedRemoved,
}

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn hit(_: Failpoint) {}

/// Returns the bound of a waiter's sleep. A test replaces it.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn longest_sleep(sleep: Duration) -> Duration {
    sleep
}

/// Returns whether the time of each wait of this process is over. A test ends it between two steps.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn is_expired() -> bool {
    false
}

#[cfg(test)]
pub(crate) use super::tests::{hit, is_expired, longest_sleep};
