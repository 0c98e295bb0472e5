//! Places at which a test lets a process stop or die, and a way to leave it in its sleep. Outside of this crate's own
//! tests there is nothing here.

#[cfg(not(test))]
use std::time::Duration;

/// A place between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failpoint {
    BeforeSwap,
    AfterSwap,
    /// Permits are given, waiters are not yet woken.
    BeforeWake,
    /// A waiter was woken and has not looked yet.
    Woken,
    /// A recoverer has the dead slot's lock and has done nothing yet;
    RecoveryBegins,
    /// has settled its last operation;
    RecoveryResolved,
    /// has given back what it held;
    RecoveryReleased,
    /// has woken;
    RecoveryWoke,
    /// An opener or closer has the registry lock.
    RegistryLocked,
    /// A reset has not replaced the state yet;
    ResetPrepared,
    /// has, but not the epoch.
    ResetSwapped,
    /// A remover has told the users, the name is still there.
    MarkedRemoved,
}

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn hit(_: Failpoint) {}

/// How long a waiter sleeps at most, if it is to sleep this long.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn longest_sleep(sleep: Duration) -> Duration {
    sleep
}

#[cfg(test)]
pub(crate) use super::tests::{hit, longest_sleep};
