//! When waiters go before others, and for how long.

use std::time::Duration;

/// Who has waited so long in vain, and was woken, asks for fairness,
pub(crate) const UNFAIR: Duration = Duration::from_millis(10);
/// for so long.
pub(crate) const FAIR_MS: u64 = if cfg!(test) { 60_000 } else { 5 };
