//! Removing a semaphore that may have users.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::fstat;
use rustix::io::Errno;

use super::file::{names, open_file, unlink};
use super::open::OPEN_ATTEMPTS;
use super::path::SemaphorePath;
use super::registry_lock::RegistryLock;
use super::slots::has_other_users;
use super::validate::{explain_unlink, not_found};
use crate::backend::robust::algorithm::layout::REMOVED;
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::algorithm::state::State;
use crate::backend::robust::algorithm::wake;
use crate::backend::robust::error::EngineError;
use crate::backend::robust::failpoint::{self, Failpoint};
use crate::error::{Cause, ErrorKind};

/// Removes the semaphore. Its users get an error from their next operation.
pub(crate) fn remove(path: &Arc<SemaphorePath>) -> Result<(), Cause> {
    for _ in 0..OPEN_ATTEMPTS {
        let Some(directory) = path.open_directory()? else { return Err(not_found()) };
        let Some(mapped) = open_file(path, &directory)? else { return Err(not_found()) };
        let registry_lock = RegistryLock::for_open(&mapped)?;
        if !names(path, &directory, &mapped) {
            continue;
        }
        check_unlinkable(&mapped, path, &directory)?;
        let layout = mapped.layout();
        let is_stale = layout.persistent.load(Ordering::Acquire) == 0 && !has_other_users(&mapped)?;
        // Before the unlink: when the name is free, no process may use the file any more. An opener
        // that sees this state unlinks the file for a remover that was killed.
        loop {
            let state = layout.state();
            if layout.exchange(state, State::new(REMOVED, 0, false, 0)) {
                break;
            }
        }
        wake::wake(&mapped, u32::MAX);
        failpoint::hit(Failpoint::MarkedRemoved);
        unlink(&mapped, path, &directory).map_err(|errno| explain_unlink(path, errno))?;
        drop(registry_lock);
        return if is_stale { Err(not_found()) } else { Ok(()) };
    }
    Err(Cause::new(ErrorKind::Unknown, "others made and removed it again and again"))
}

/// Fails if the directory is sticky and this user may not unlink the file.
fn check_unlinkable(mapped: &MappedFile, path: &SemaphorePath, directory: &OwnedFd) -> Result<(), Cause> {
    let (file, directory) = (
        fstat(mapped.ensure_locks()?.as_fd()).map_err(EngineError::from)?,
        fstat(directory).map_err(EngineError::from)?,
    );
    let user = crate::sys::user::effective_id();
    let is_sticky = directory.st_mode & libc::S_ISVTX != 0;
    if is_sticky && user != 0 && ![file.st_uid, directory.st_uid].contains(&user) {
        return Err(explain_unlink(path, Errno::PERM));
    }
    Ok(())
}
