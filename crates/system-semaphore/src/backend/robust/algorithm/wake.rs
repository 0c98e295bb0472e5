//! Waking waiters.

use std::sync::atomic::Ordering;

use super::layout::REMOVED;
use super::mapped_file::MappedFile;
use crate::backend::robust::failpoint::{self, Failpoint};
use crate::backend::robust::platform::{Parking, Queue};
use crate::sys::atomic::fence;

/// Wakes so many waiters, and all that need several permits.
#[cold]
pub(crate) fn wake(mapped: &MappedFile, count: u32) {
    failpoint::hit(Failpoint::BeforeWake);
    let layout = mapped.layout();
    mapped.file.unpark(&layout.state.word, Queue::Single, count);
    // The change of the count comes before the look at the flag: who sets the flag looks at the count after it.
    fence(Ordering::SeqCst);
    if layout.has_multi_waiters.load(Ordering::Relaxed) != 0 {
        mapped.file.unpark(&layout.state.word, Queue::Multi, u32::MAX);
    }
}

/// Wakes one waiter in somebody else's name, and has it wake the next.
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
