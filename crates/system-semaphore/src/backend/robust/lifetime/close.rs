//! Closing a semaphore.

use std::sync::atomic::Ordering;

use super::file::{names, unlink};
use super::path::SemaphorePath;
use super::registry_lock::RegistryLock;
use super::slots::{find_other_user, has_other_users};
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::algorithm::recovery::free;
use crate::backend::robust::failpoint::{self, Failpoint};
use crate::backend::robust::platform::{LivenessLocks, SharedFile, SharedObject};
use crate::error::Cause;

/// Closes the semaphore, and removes the file if it has no other user.
pub(crate) fn close(mapped: &MappedFile, path: &SemaphorePath) {
    // a closer reports no error, and the next opener cleans up
    let _ = try_close(mapped, path);
}

fn try_close(mapped: &MappedFile, path: &SemaphorePath) -> Result<(), Cause> {
    let own = mapped.own_slot();
    own.map_or(Ok(()), |own| free(mapped, own))?;
    let locks = mapped.ensure_locks()?;
    if let Some(own) = own {
        // Before the check for other users: if two processes close at once, the later one sees no
        // other user.
        locks.unlock(own)?;
    }
    // another user closes later, and runs this check then
    if find_other_user(mapped, &locks)?.is_some() {
        return Ok(());
    }
    let registry_lock = RegistryLock::for_close(mapped)?;
    failpoint::hit(Failpoint::RegistryLocked);
    unlink_if_unused(mapped, path)?;
    drop(registry_lock);
    Ok(())
}

/// Unlinks the file if it is not persistent and has no user. The caller has the registry lock.
pub(crate) fn unlink_if_unused(mapped: &MappedFile, path: &SemaphorePath) -> Result<(), Cause> {
    if mapped.layout().persistent.load(Ordering::Acquire) != 0 || has_other_users(mapped)? {
        return Ok(());
    }
    match path.open_directory()? {
        Some(directory) if names(path, &directory, mapped) => {
            let _ = unlink(mapped, path, &directory);
        }
        // The file has neither its name nor users.
        _ => SharedFile::remove_side_objects(path, Some(&mapped.file)),
    }
    Ok(())
}
