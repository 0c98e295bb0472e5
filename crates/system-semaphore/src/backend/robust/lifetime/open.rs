//! Opening a semaphore: creating it, registering in it, or reinitialising a stale file.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::Attempt;
use super::close::unlink_if_unused;
use super::create::{check_value, create, max_permits, mode};
use super::file::{names, open_file, unlink};
use super::path::SemaphorePath;
use super::registry_lock::RegistryLock;
use super::slots::{find_other_user, recover_and_take_slot};
use super::validate::{explain_unlink, not_found};
use crate::backend::api::OpenRequest;
use crate::backend::robust::algorithm::epoch;
use crate::backend::robust::algorithm::layout::{Layout, MAX_PERMITS, MoreSlots, REMOVED};
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::algorithm::reset::reset;
use crate::backend::robust::error::EngineError;
use crate::backend::robust::failpoint::{self, Failpoint};
use crate::backend::robust::platform::{LivenessLocks, SharedFile, SharedObject};
use crate::error::{Cause, ErrorKind};
use crate::types::AccessMode;

/// Maximum number of attempts, if the name appears or disappears between two steps of an open.
pub(crate) const OPEN_ATTEMPTS: u32 = 100;

/// Opens or creates the semaphore, and takes a slot in it.
pub(crate) fn open(path: &Arc<SemaphorePath>, request: &OpenRequest) -> Result<Arc<MappedFile>, Cause> {
    if matches!(request.mode, AccessMode::Create | AccessMode::CreateNew) {
        check_value(request.initial_value, max_permits(request)?.unwrap_or(MAX_PERMITS))?;
    }
    let mut created_directory = false;
    let outcome = open_with_retries(path, request, &mut created_directory);
    if outcome.is_err() && created_directory {
        path.remove_directory_if_empty();
    }
    outcome.map(Arc::new)
}

fn open_with_retries(
    path: &Arc<SemaphorePath>,
    request: &OpenRequest,
    created_directory: &mut bool,
) -> Result<MappedFile, Cause> {
    let creates = request.mode != AccessMode::OpenExisting;
    for _ in 0..OPEN_ATTEMPTS {
        let directory =
            if creates { path.ensure_directory(created_directory) } else { path.open_directory() };
        let Some(directory) = directory? else {
            if creates {
                continue;
            }
            return Err(not_found());
        };
        match open_file(path, &directory)? {
            Some(mapped) => {
                if register(&mapped, path, &directory, request)? == Attempt::Done {
                    return Ok(mapped);
                }
            }
            None if creates => {
                if let Some(mapped) = create(path, &directory, request)? {
                    return Ok(mapped);
                }
            }
            None => {
                SharedFile::<Layout, MoreSlots>::remove_side_objects(&**path, None);
                return Err(not_found());
            }
        }
    }
    let reason = format!(
        "others made and removed {} again and again while it was being opened (or /proc is not mounted, which is \
         needed to make one before Linux 6.10)",
        path.full_path().display()
    );
    Err(Cause::new(ErrorKind::Unknown, reason))
}

/// Registers this process as a user of an existing file.
///
/// Returns [`Attempt::StartOver`] if the name belongs to another file now, or if other code has
/// closed the descriptor.
fn register(
    mapped: &MappedFile,
    path: &SemaphorePath,
    directory: &OwnedFd,
    request: &OpenRequest,
) -> Result<Attempt, Cause> {
    let registry_lock = RegistryLock::for_open(mapped)?;
    failpoint::hit(Failpoint::RegistryLocked);
    if !names(path, directory, mapped) {
        return Ok(Attempt::StartOver);
    }
    let outcome = match register_locked(mapped, path, directory, request) {
        Err(_) if !mapped.new_locks().check_still_ours() => Ok(Attempt::StartOver),
        Err(cause) => {
            // A process that closed meanwhile may have skipped its cleanup. It saw the registry
            // lock, or a lock of ours on a slot that we were recovering, and took us for a user.
            let _ = unlink_if_unused(mapped, path);
            Err(cause)
        }
        outcome => outcome,
    };
    drop(registry_lock);
    outcome
}

/// Like [`register`], with the registry lock.
fn register_locked(
    mapped: &MappedFile,
    path: &SemaphorePath,
    directory: &OwnedFd,
    request: &OpenRequest,
) -> Result<Attempt, Cause> {
    let layout = mapped.layout();
    let locks = mapped.new_locks();
    let user = find_other_user(mapped, &locks)?;
    // the remover was killed before it unlinked the file
    let is_removed = layout.state().slot() == REMOVED;
    if is_removed {
        match unlink(mapped, path, directory) {
            Ok(()) | Err(Errno::NOENT) => return Ok(Attempt::StartOver),
            // its users got the error that it was removed: reinitialising it would revive it for
            // them
            Err(errno) if request.mode != AccessMode::OpenExisting && user.is_some() => {
                return Err(explain_unlink(path, errno));
            }
            Err(_) => {}
        }
    }
    let is_stale = is_removed || layout.persistent.load(Ordering::Acquire) == 0 && user.is_none();
    if is_stale && !locks.check_still_ours() {
        return Ok(Attempt::StartOver);
    }
    match request.mode {
        AccessMode::OpenExisting if is_stale => {
            // an opener that may not unlink the file leaves that to one that may
            let _ = unlink(mapped, path, directory);
            return Err(not_found());
        }
        AccessMode::CreateNew if !is_stale => {
            return Err(Cause::new(ErrorKind::AlreadyExists, "it exists already"));
        }
        _ => {}
    }
    let max = max_permits(request)?.unwrap_or_else(|| {
        if is_stale { MAX_PERMITS } else { layout.max_permits(epoch::resolve_reset_epoch(layout)) }
    });
    let resets = !is_stale && request.mode == AccessMode::Create;
    if is_stale || resets {
        check_value(request.initial_value, max)?;
    }
    if is_stale {
        SharedFile::remove_side_objects(path, Some(&mapped.file));
        reinitialise(mapped, request, max)?;
    }
    if recover_and_take_slot(mapped, path, &locks, user)? == Attempt::StartOver {
        return Ok(Attempt::StartOver);
    }
    if resets {
        reset(mapped, request.initial_value, max);
    }
    if request.persistent {
        layout.persistent.store(1, Ordering::Release);
    }
    Ok(Attempt::Done)
}

/// Reinitialises a file that has no user. `persistent` is stored later: if the opener is killed,
/// the file is stale again.
fn reinitialise(mapped: &MappedFile, request: &OpenRequest, max_permits: u32) -> Result<(), EngineError> {
    let layout = mapped.layout();
    // the creator's permissions stay if this user may not change them
    let _ = rustix::fs::fchmod(&*mapped.new_locks(), mode(request));
    layout.persistent.store(0, Ordering::Relaxed);
    for word in &layout.used {
        word.store(0, Ordering::Relaxed);
    }
    layout.recoveries.store(0, Ordering::Relaxed);
    layout.has_multi_waiters.store(0, Ordering::Relaxed);
    reset(mapped, request.initial_value, max_permits);
    Ok(())
}
