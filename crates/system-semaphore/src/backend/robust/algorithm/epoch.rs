//! Which epoch it is: what the header, the state and a slot say of it.

use std::sync::atomic::Ordering;

use super::layout::{Layout, REMOVED, RESET, Slot};
use super::state::{State, truncate_seq};

/// The epoch of now. After a removal it is one in which nobody holds anything.
pub(crate) fn resolve_epoch(layout: &Layout) -> u32 {
    let state = layout.state();
    complete_reset(layout, state);
    epoch_of(layout.epoch.load(Ordering::Acquire), state)
}

/// The last epoch that began with a reset: that of now, unless it was removed.
pub(crate) fn resolve_reset_epoch(layout: &Layout) -> u32 {
    complete_reset(layout, layout.state());
    layout.epoch.load(Ordering::Acquire)
}

/// The epoch of now, by what the header and the state say.
pub(crate) fn epoch_of(epoch: u32, state: State) -> u32 {
    let next = next_epoch(epoch);
    let is_next = match state.slot() {
        REMOVED => true,
        RESET => state.seq() == truncate_seq(next),
        _ => false,
    };
    if is_next { next } else { epoch }
}

/// If this is the state of a reset, brings the header's epoch up to what it says, if the resetter has not yet.
pub(crate) fn complete_reset(layout: &Layout, state: State) {
    if state.slot() != RESET {
        return;
    }
    let epoch = layout.epoch.load(Ordering::Acquire);
    let next = epoch_of(epoch, state);
    if next != epoch {
        // if it fails, somebody else has done the same
        let _ = layout.epoch.compare_exchange(epoch, next, Ordering::AcqRel, Ordering::Relaxed);
    }
}

pub(crate) fn next_epoch(epoch: u32) -> u32 {
    epoch.wrapping_add(1)
}

/// Lets a slot begin the current epoch, if it is behind. To be called after the state was loaded: what the state's tag
/// says of the epoch is known then.
pub(crate) fn adopt_epoch(layout: &Layout, own: &Slot) {
    let epoch = layout.epoch.load(Ordering::Acquire);
    if own.epoch.load(Ordering::Relaxed) != epoch {
        // in this order: a slot of an old epoch holds nothing anyway
        own.committed().with_amount(0).store(&own.committed);
        own.epoch.store(epoch, Ordering::Release);
    }
}
