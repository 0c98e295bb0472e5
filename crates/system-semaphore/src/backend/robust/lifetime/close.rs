//! Ceasing to use a semaphore.

use std::sync::atomic::Ordering;

use super::file::names;
use super::path::Place;
use super::registry_lock::Registered;
use super::slots::{find_user, is_anybody_here};
use crate::backend::robust::algorithm::mapped_file::Core;
use crate::backend::robust::algorithm::recovery::free;
use crate::backend::robust::failpoint as breakpoint;
use crate::backend::robust::platform::LivenessLocks;
use crate::error::Cause;

/// Stops using it, and removes the file if nobody else does.
pub(crate) fn close(core: &Core, place: &Place) {
    // what fails here is nobody's to hear, and the next open cleans up
    let _ = try_close(core, place);
}

fn try_close(core: &Core, place: &Place) -> Result<(), Cause> {
    let own = core.own_slot();
    own.map_or(Ok(()), |own| free(core, own))?;
    let locks = core.locks()?;
    if let Some(own) = own {
        // before the look: of two that close at once, the later one sees that nobody is left
        locks.unlock(own)?;
    }
    // whoever has a slot closes later, and looks then, too
    if find_user(core, &locks)?.is_some() {
        return Ok(());
    }
    let registered = Registered::for_close(core)?;
    breakpoint::pass(breakpoint::Step::Registered);
    unlink_if_unused(core, place)?;
    drop(registered);
    Ok(())
}

/// Unlinks the file if it is to end with its last user, and nobody uses it. The caller has the registry lock.
pub(crate) fn unlink_if_unused(core: &Core, place: &Place) -> Result<(), Cause> {
    if core.layout().persistent.load(Ordering::Acquire) == 0
        && !is_anybody_here(core)?
        && let Some(directory) = place.open_directory()?
        && names(place, &directory, core)
    {
        let _ = place.unlink(&directory);
    }
    Ok(())
}
