//! Taking a slot, and finding other users.

use std::sync::atomic::Ordering;

use super::Attempt;
use super::path::SemaphorePath;
use super::validate::explain_at;
use crate::backend::robust::algorithm::layout::SLOTS;
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::algorithm::recovery::{ScanScope, recover_through};
use crate::backend::robust::error::EngineError;
use crate::backend::robust::platform::{LivenessLocks, Locks};
use crate::backend::robust::process_id::ProcessId;
use crate::error::{Cause, ErrorKind};

/// Recovers dead users, and takes a slot as [`take_slot`] does. The caller knows that the user of
/// slot `user` is alive.
pub(crate) fn recover_and_take_slot(
    mapped: &MappedFile,
    path: &SemaphorePath,
    locks: &Locks,
    user: Option<u16>,
) -> Result<Attempt, Cause> {
    let is_full = (0..SLOTS).all(|number| mapped.layout().is_used(number));
    // before this process reports that no slot is free
    recover_through(mapped, locks, user, if is_full { ScanScope::All } else { ScanScope::AllRateLimited })?;
    take_slot(mapped, path, locks)
}

/// Takes a free slot for this process. The caller has the registry lock, or the file has no name
/// yet.
///
/// Returns [`Attempt::StartOver`] if other code has closed the descriptor, because the lock may
/// then be one of another file.
pub(crate) fn take_slot(mapped: &MappedFile, path: &SemaphorePath, locks: &Locks) -> Result<Attempt, Cause> {
    let layout = mapped.layout();
    for number in (0..SLOTS).filter(|number| !layout.is_used(*number)) {
        // a recoverer that is about to free the slot has the lock
        if !locks.try_lock(number)? {
            continue;
        }
        if !locks.check_still_ours() {
            let _ = locks.unlock(number);
            return Ok(Attempt::StartOver);
        }
        let slot = match mapped.ensure_slot(number) {
            Ok(slot) => slot,
            Err(error) => {
                // no process may take this lock for a user's until the file is closed
                let _ = locks.unlock(number);
                return Err(explain_at(path, error));
            }
        };
        // The sequence numbers continue. A helper that was stopped long ago must not take an
        // operation of this process for the one that it saw.
        slot.pending().with_amount(0).store(&slot.committed);
        slot.epoch.store(mapped.resolve_epoch(), Ordering::Release);
        let process = ProcessId::current();
        slot.pid.store(process.pid, Ordering::Relaxed);
        slot.pid_namespace.store(process.pid_namespace, Ordering::Relaxed);
        slot.start_time.store(process.start_time, Ordering::Relaxed);
        slot.waiting_threads.store(0, Ordering::Relaxed);
        slot.recoverer.store(0, Ordering::Relaxed);
        layout.set_used(number, true);
        mapped.set_own_slot(number);
        return Ok(Attempt::Done);
    }
    let reason = format!("{SLOTS} processes use it already; end some, or use several semaphores");
    Err(Cause::new(ErrorKind::OutOfResources, reason))
}

/// Returns whether another open uses the semaphore.
pub(crate) fn has_other_users(mapped: &MappedFile) -> Result<bool, EngineError> {
    find_other_user(mapped, &*mapped.ensure_locks()?).map(|user| user.is_some())
}

/// Returns the slot of another user, if there is one.
pub(crate) fn find_other_user(mapped: &MappedFile, locks: &Locks) -> Result<Option<u16>, EngineError> {
    let find = |slots| locks.find_locked(slots);
    // The check skips this open's slot, whose lock would show if the descriptor had to be reopened.
    // During a close the slot is free already, and another process may have taken it.
    let own = mapped.own_slot().filter(|own| !mapped.layout().is_used(*own)).unwrap_or(SLOTS);
    Ok(match find(0..own)? {
        None => find(own + 1..SLOTS)?,
        user => user,
    })
}
