//! Permits that other programs inherit: an open of the same file with a slot of its own, of which only the descriptor is kept.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{Mode, OFlags};

use super::algorithm::mapped_file::MappedFile;
use super::error::EngineError;
use super::lifetime::Attempt;
use super::lifetime::file::map;
use super::lifetime::path::SemaphorePath;
use super::lifetime::registry_lock::RegistryLock;
use super::lifetime::slots::take_slot;
use super::open_semaphore::RobustSemaphore;
use super::platform::{LivenessLocks, SharedObject};
use crate::error::Cause;
use crate::sys::standard_descriptors::move_up_inheritable;

/// The lowest number of an inheritable permit's descriptor, if the process may have so many: above the single digits that
/// shell redirections use and the low numbers that programs and their wrappers (make's jobserver, systemd's socket
/// activation) use by convention.
const INHERITABLE: RawFd = 100;

/// Opens a second description of the same file, with a slot of its own.
pub(crate) fn open_second_description(
    mapped: &MappedFile,
    path: &Arc<SemaphorePath>,
) -> Result<MappedFile, Cause> {
    let proc_path = format!("/proc/self/fd/{}", mapped.ensure_locks()?.as_fd().as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let open = || rustix::fs::open(&*proc_path, flags, Mode::empty());
    let (second, _) = map(path, open).map_err(EngineError::from)?;
    let registry_lock = RegistryLock::for_open(&second)?;
    if take_slot(&second, path, &second.new_locks())? == Attempt::StartOver {
        return Err(EngineError::LostDescriptor.into());
    }
    drop(registry_lock);
    Ok(second)
}

/// Gives everything up but the descriptor, with which the slot and its permits live on.
pub(crate) fn into_descriptor(own: RobustSemaphore) -> Result<OwnedFd, Cause> {
    own.keeps_slot.store(true, Ordering::Relaxed);
    let mapped = Arc::clone(&own.participant.mapped);
    drop(own);
    let file = Arc::into_inner(mapped)
        .and_then(|mapped| mapped.file.into_object())
        .ok_or(EngineError::LostDescriptor)?;
    Ok(move_up_inheritable(file, INHERITABLE).map_err(EngineError::from)?)
}

/// Fails unless the slot's lock goes with the descriptor.
pub(crate) fn check_lock_by_descriptor(own: &RobustSemaphore) -> Result<(), EngineError> {
    if own.participant.mapped.ensure_locks()?.is_locked(own.participant.number)? {
        return Err(EngineError::LostDescriptor);
    }
    Ok(())
}
