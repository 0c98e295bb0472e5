//! Reset: setting the number of free permits of a semaphore in use.
//!
//! A *reset* replaces the state by a tag that no process has and by the next *epoch*. Slots of
//! another epoch hold nothing. A process that loads such a state first completes the reset in the
//! header, if the resetter has not, and then moves its own slot to the new epoch.

use std::sync::atomic::Ordering;

use super::epoch::{complete_reset, next_epoch};
use super::layout::RESET;
use super::mapped_file::MappedFile;
use super::state::State;
use super::wake;
use crate::backend::robust::failpoint::{self, Failpoint};

/// Begins a new epoch with this many free permits, and with `max` as the largest number.
///
/// The caller has the registry lock, so there is no other reset at the same time.
pub(crate) fn reset(mapped: &MappedFile, count: u32, max: u32) {
    let layout = mapped.layout();
    complete_reset(layout, layout.state());
    // The epoch after the header's, even after a removal, because a removal changes no header.
    let epoch = next_epoch(layout.epoch.load(Ordering::Acquire));
    layout.prepare_epoch(epoch, count, max);
    failpoint::hit(Failpoint::ResetPrepared);
    loop {
        let state = layout.state();
        if layout.exchange(state, State::new(RESET, epoch, state.waiters(), count)) {
            break;
        }
    }
    failpoint::hit(Failpoint::ResetSwapped);
    complete_reset(layout, layout.state());
    if count > 0 {
        wake::wake(mapped, count);
    }
}
