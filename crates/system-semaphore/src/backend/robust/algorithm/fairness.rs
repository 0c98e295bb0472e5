//! The fairness rule: when waiters go before running threads, and for how long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::layout::Layout;
use crate::backend::robust::platform::clock;

/// A waiter requests fairness if it was woken without getting its permits and has waited for this
/// long. A smaller value costs more context switches.
pub(crate) const FAIRNESS_DELAY: Duration = Duration::from_millis(10);
/// Duration of a fairness request, in milliseconds. A waiter that dies leaves the rule fair for
/// this long at most. Tests use a longer one, so that they can observe it.
pub(crate) const FAIR_MS: u64 = if cfg!(test) { 60_000 } else { 5 };

/// Returns whether threads that have not slept must yield to waiters.
#[cold]
pub(crate) fn is_fair_now(layout: &Layout) -> bool {
    let until = layout.fair_until.load(Ordering::Relaxed);
    // no process writes a time so far ahead
    until != 0 && (1..=FAIR_MS).contains(&until.wrapping_sub(clock::milliseconds()))
}

/// Makes the rule fair from now on.
pub(crate) fn begin(layout: &Layout) {
    layout.fair_until.store(clock::milliseconds() + FAIR_MS, Ordering::Relaxed);
}

/// The others need not go on in strict turns.
pub(crate) fn end(layout: &Layout) {
    layout.fair_until.store(0, Ordering::Relaxed);
}
