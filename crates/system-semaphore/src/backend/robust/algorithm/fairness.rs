//! When waiters go before others, and for how long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::layout::Layout;
use crate::backend::robust::platform::clock;

/// Who has waited so long in vain, and was woken, asks for fairness,
pub(crate) const FAIRNESS_DELAY: Duration = Duration::from_millis(10);
/// for so long.
pub(crate) const FAIR_MS: u64 = if cfg!(test) { 60_000 } else { 5 };

/// Whether who has not waited lets those go first who have.
#[cold]
pub(crate) fn is_fair_now(layout: &Layout) -> bool {
    let until = layout.fair_until.load(Ordering::Relaxed);
    // a moment far ahead is none that anybody has written
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
