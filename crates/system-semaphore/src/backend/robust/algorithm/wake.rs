//! Waking waiters.

use std::sync::atomic::Ordering;

use super::layout::REMOVED;
use super::mapped_file::MappedFile;
use crate::backend::robust::failpoint::{self, Failpoint};
use crate::backend::robust::platform::{Parking, Queue};
use crate::sys::atomic::fence;

/// Wakes up to `count` waiters for one permit, and all waiters for several.
#[cold]
pub(crate) fn wake(mapped: &MappedFile, count: u32) {
    failpoint::hit(Failpoint::BeforeWake);
    let layout = mapped.layout();
    mapped.file.unpark(&layout.state.word, Queue::Single, count);
    // Pairs with the fence in `Waiter::sleep`. The change of the state precedes the load of the
    // flag here, and the store of the flag precedes the load of the state there.
    fence(Ordering::SeqCst);
    if layout.has_multi_waiters.load(Ordering::Relaxed) != 0 {
        mapped.file.unpark(&layout.state.word, Queue::Multi, u32::MAX);
    }
}

/// Sets WAITERS and wakes one waiter, which then has the baton.
pub(crate) fn announce_and_wake(mapped: &MappedFile) {
    let layout = mapped.layout();
    loop {
        let state = layout.state();
        if state.slot() == REMOVED || state.waiters() || layout.exchange(state, state.with_waiters()) {
            break;
        }
    }
    wake(mapped, 1);
}
