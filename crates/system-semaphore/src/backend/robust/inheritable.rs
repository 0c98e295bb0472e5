//! Permits that other programs inherit: an open of the same file with a slot of its own, of which only the descriptor is kept.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{Mode, OFlags};

use super::algorithm::mapped_file::Core;
use super::error::Trouble;
use super::lifetime::file::map;
use super::lifetime::path::Place;
use super::lifetime::registry_lock::Registered;
use super::lifetime::slots::take_slot;
use super::open_semaphore::Robust;
use super::platform::{LivenessLocks, SharedObject};
use crate::error::Cause;
use crate::sys::standard_descriptors::move_up_inheritable;

/// The lowest number of an inheritable permit's descriptor, if the process may have so many: above the single digits that
/// shell redirections use and the low numbers that programs and their wrappers (make's jobserver, systemd's socket
/// activation) use by convention.
const INHERITABLE: RawFd = 100;

/// Opens another description of the same file, with a slot of its own.
pub(crate) fn open_again(core: &Core, place: &Arc<Place>) -> Result<Core, Cause> {
    let path = format!("/proc/self/fd/{}", core.locks()?.as_fd().as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let open = || rustix::fs::open(&*path, flags, Mode::empty());
    let (again, _) = map(place, open).map_err(Trouble::from)?;
    let registered = Registered::for_open(&again)?;
    if !take_slot(&again, place, &again.new_locks())? {
        return Err(Trouble::LostDescriptor.into());
    }
    drop(registered);
    Ok(again)
}

/// Gives everything up but the descriptor, with which the slot and its permits live on.
pub(crate) fn into_descriptor(own: Robust) -> Result<OwnedFd, Cause> {
    own.keeps_slot.store(true, Ordering::Relaxed);
    let core = Arc::clone(&own.participant.core);
    drop(own);
    let file =
        Arc::into_inner(core).and_then(|core| core.file.into_object()).ok_or(Trouble::LostDescriptor)?;
    Ok(move_up_inheritable(file, INHERITABLE).map_err(Trouble::from)?)
}

/// Fails unless the slot's lock goes with the descriptor.
pub(crate) fn has_lock_by_descriptor(own: &Robust) -> Result<(), Trouble> {
    if own.participant.core.locks()?.is_locked(own.participant.number)? {
        return Err(Trouble::LostDescriptor);
    }
    Ok(())
}
