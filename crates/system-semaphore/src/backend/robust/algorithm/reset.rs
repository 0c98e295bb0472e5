//! Setting the count of a semaphore in use.
//!
//! A *reset* replaces the state by a tag that no process has and the next *epoch*. Slots of another epoch hold
//! nothing. Whoever meets that tag brings the header up to date, if the resetter has not yet, and whoever finds its
//! own slot behind adopts the new epoch before it does anything else.

use std::sync::atomic::Ordering;

use super::epoch::{complete_reset, next_epoch};
use super::layout::RESET;
use super::mapped_file::MappedFile;
use super::state::State;
use super::wake;
use crate::backend::robust::failpoint::{self, Failpoint};

/// Begins a new epoch with this many free permits, of at most `max`. The caller has the registry lock, so there is no other reset.
pub(crate) fn reset(mapped: &MappedFile, count: u32, max: u32) {
    let layout = mapped.layout();
    complete_reset(layout, layout.state());
    // The next one of the header, also after a removal: the header gets no other.
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
