//! Crash points.

use super::breakpoint::Step;

pub(super) fn pass(_: Step) {}
