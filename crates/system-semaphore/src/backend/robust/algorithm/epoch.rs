//! The epoch of a semaphore, as the header, the state and the slots record it.
//!
//! A reset writes the state first and the header's epoch second. A process that reads the epoch in
//! between completes the reset, so a reader never depends on the resetter.

use std::sync::atomic::Ordering;

use super::layout::{Layout, REMOVED, RESET, Slot};
use super::state::{State, truncate_seq};

/// Returns the current epoch, after completing a reset that its resetter has not completed.
///
/// A removed semaphore is in an epoch in which no process holds permits.
pub(crate) fn resolve_epoch(layout: &Layout) -> u32 {
    let state = layout.state();
    complete_reset(layout, state);
    epoch_of(layout.epoch.load(Ordering::Acquire), state)
}

/// Returns the epoch that the last reset began, after completing a reset that its resetter has not
/// completed. This is the current epoch unless the semaphore was removed.
pub(crate) fn resolve_reset_epoch(layout: &Layout) -> u32 {
    complete_reset(layout, layout.state());
    layout.epoch.load(Ordering::Acquire)
}

/// Returns the current epoch, given the header's epoch and the state.
pub(crate) fn epoch_of(epoch: u32, state: State) -> u32 {
    let next = next_epoch(epoch);
    let is_next = match state.slot() {
        REMOVED => true,
        RESET => state.seq() == truncate_seq(next),
        _ => false,
    };
    if is_next { next } else { epoch }
}

/// Stores the new epoch into the header if the state was written by a reset and the resetter has
/// not stored it yet.
pub(crate) fn complete_reset(layout: &Layout, state: State) {
    if state.slot() != RESET {
        return;
    }
    let epoch = layout.epoch.load(Ordering::Acquire);
    let next = epoch_of(epoch, state);
    if next != epoch {
        // a failure means that another process has completed the reset
        let _ = layout.epoch.compare_exchange(epoch, next, Ordering::AcqRel, Ordering::Relaxed);
    }
}

pub(crate) fn next_epoch(epoch: u32) -> u32 {
    epoch.wrapping_add(1)
}

/// Moves a slot that is behind to the current epoch.
///
/// The caller must have loaded the state before: if the state's tag announces a new epoch, the
/// header has that epoch by now.
pub(crate) fn adopt_epoch(layout: &Layout, own: &Slot) {
    let epoch = layout.epoch.load(Ordering::Acquire);
    if own.epoch.load(Ordering::Relaxed) != epoch {
        // In this order, because a slot of an old epoch holds nothing.
        own.committed().with_amount(0).store(&own.committed);
        own.epoch.store(epoch, Ordering::Release);
    }
}
