//! Waking waiters.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use super::layout::REMOVED;
use crate::backend::robust::failpoint as breakpoint;
use crate::backend::robust::mapped_file::Core;
use crate::sys::atomic::fence;
use crate::sys::futex;

/// On which bit waiters sleep.
pub(crate) const ONE: NonZeroU32 = NonZeroU32::MIN;
pub(crate) const SEVERAL: NonZeroU32 = NonZeroU32::new(2).expect("2 is not 0");

/// Wakes so many waiters, and all that need several permits.
#[cold]
pub(crate) fn wake(core: &Core, count: u32) {
    breakpoint::pass(breakpoint::Step::BeforeWake);
    let layout = core.layout();
    futex::wake(&layout.state.word, count, ONE);
    // The change of the count comes before the look at the flag: who sets the flag looks at the count after it.
    fence(Ordering::SeqCst);
    if layout.several.load(Ordering::Relaxed) != 0 {
        futex::wake(&layout.state.word, u32::MAX, SEVERAL);
    }
}

/// Wakes one waiter in somebody else's name, and has it wake the next.
pub(crate) fn announce_and_wake(core: &Core) {
    let layout = core.layout();
    loop {
        let state = layout.state();
        if state.slot() == REMOVED || state.waiters() || layout.exchange(state, state.with_waiters()) {
            break;
        }
    }
    wake(core, 1);
}
