//! Places at which a test lets a process stop or die. Outside of this crate's own tests there is nothing here.

/// A place between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    BeforeSwap,
    AfterSwap,
    /// Permits are given, waiters are not yet woken.
    BeforeWake,
    /// A waiter was woken and has not looked yet.
    Woken,
    /// A recoverer has the dead slot's lock and has done nothing yet;
    RecoveryBegins,
    /// has settled its last operation;
    RecoverySettled,
    /// has given back what it held;
    RecoveryGaveBack,
    /// has woken;
    RecoveryWoke,
    /// An opener or closer has the registry lock.
    Registered,
    /// A reset has replaced the state, not yet the epoch.
    ResetSwapped,
}

#[cfg(not(test))]
#[inline(always)]
pub(super) fn pass(_: Step) {}

#[cfg(test)]
pub(super) fn pass(step: Step) {
    super::tests::pass(step);
}
