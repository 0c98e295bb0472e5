//! Setting the count of a semaphore in use.
//!
//! A *reset* replaces the state by a tag that no process has and the next *epoch*. Slots of another epoch hold
//! nothing. Whoever meets that tag brings the header up to date, if the resetter has not yet, and whoever finds its
//! own slot behind adopts the new epoch before it does anything else.

use std::sync::atomic::Ordering;

use super::layout::{Layout, REMOVED, RESET, Slot, State, tag_of};
use super::{Core, breakpoint, waiting};

/// Begins a new epoch with this many free permits, of at most `max`. The caller has the registry lock, so there is no other reset.
pub(super) fn reset(core: &Core, count: u32, max: u32) {
    let layout = core.layout();
    complete_reset(layout, layout.state());
    // The next one of the header, also after a removal: the header gets no other.
    let epoch = next_epoch(layout.epoch.load(Ordering::Acquire));
    layout.prepare(epoch, count, max);
    breakpoint::pass(breakpoint::Step::ResetBegins);
    loop {
        let state = layout.state();
        if layout.exchange(state, State::new(RESET, epoch, state.waiters(), count)) {
            break;
        }
    }
    breakpoint::pass(breakpoint::Step::ResetSwapped);
    complete_reset(layout, layout.state());
    if count > 0 {
        waiting::wake(core, count);
    }
}

/// The epoch of now. After a removal it is one in which nobody holds anything.
pub(super) fn epoch(layout: &Layout) -> u32 {
    let state = layout.state();
    complete_reset(layout, state);
    epoch_with(layout.epoch.load(Ordering::Acquire), state)
}

/// The last epoch that began with a reset: that of now, unless it was removed.
pub(super) fn last_epoch(layout: &Layout) -> u32 {
    complete_reset(layout, layout.state());
    layout.epoch.load(Ordering::Acquire)
}

/// The epoch of now, by what the header and the state say.
pub(super) fn epoch_with(epoch: u32, state: State) -> u32 {
    let next = next_epoch(epoch);
    let is_next = match state.slot() {
        REMOVED => true,
        RESET => state.seq() == tag_of(next),
        _ => false,
    };
    if is_next { next } else { epoch }
}

/// If this is the state of a reset, brings the header's epoch up to what it says, if the resetter has not yet.
pub(super) fn complete_reset(layout: &Layout, state: State) {
    if state.slot() != RESET {
        return;
    }
    let epoch = layout.epoch.load(Ordering::Acquire);
    let next = epoch_with(epoch, state);
    if next != epoch {
        // if it fails, somebody else has done the same
        let _ = layout.epoch.compare_exchange(epoch, next, Ordering::AcqRel, Ordering::Relaxed);
    }
}

fn next_epoch(epoch: u32) -> u32 {
    epoch.wrapping_add(1)
}

/// Lets a slot begin the current epoch, if it is behind. To be called after the state was loaded: what the state's tag
/// says of the epoch is known then.
pub(super) fn adopt_epoch(layout: &Layout, own: &Slot) {
    let epoch = layout.epoch.load(Ordering::Acquire);
    if own.epoch.load(Ordering::Relaxed) != epoch {
        // in this order: a slot of an old epoch holds nothing anyway
        own.committed().with_amount(0).store(&own.committed);
        own.epoch.store(epoch, Ordering::Release);
    }
}
