//! Opening a semaphore: making it, joining it, or starting afresh in a leftover.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::close::unlink_if_unused;
use super::create::{check_value, create, max_permits, mode};
use super::file::{names, open_file};
use super::path::Place;
use super::registry_lock::Registered;
use super::slots::{find_user, recover_and_take_slot};
use super::validate::{explain_unlink, not_found};
use crate::backend::api::OpenRequest;
use crate::backend::robust::algorithm::epoch;
use crate::backend::robust::algorithm::layout::{MAX_PERMITS, REMOVED};
use crate::backend::robust::algorithm::mapped_file::Core;
use crate::backend::robust::algorithm::reset::reset;
use crate::backend::robust::error::Trouble;
use crate::backend::robust::failpoint as breakpoint;
use crate::backend::robust::platform::LivenessLocks;
use crate::error::{Cause, ErrorKind};
use crate::types::AccessMode;

/// How often an open begins again when the name comes or goes between two steps.
pub(crate) const OPEN_ATTEMPTS: u32 = 100;

/// Opens or makes the semaphore, and takes a slot in it.
pub(crate) fn open(place: &Arc<Place>, request: &OpenRequest) -> Result<Arc<Core>, Cause> {
    if matches!(request.mode, AccessMode::Create | AccessMode::CreateNew) {
        check_value(request.initial_value, max_permits(request)?.unwrap_or(MAX_PERMITS))?;
    }
    let mut made_directory = false;
    let outcome = open_again_and_again(place, request, &mut made_directory);
    if outcome.is_err() && made_directory {
        place.leave_no_directory();
    }
    outcome.map(Arc::new)
}

fn open_again_and_again(
    place: &Arc<Place>,
    request: &OpenRequest,
    made_directory: &mut bool,
) -> Result<Core, Cause> {
    let makes = request.mode != AccessMode::OpenExisting;
    for _ in 0..OPEN_ATTEMPTS {
        let directory = if makes { place.make_directory(made_directory) } else { place.open_directory() };
        let Some(directory) = directory? else {
            if makes {
                continue;
            }
            return Err(not_found());
        };
        match open_file(place, &directory)? {
            Some(core) => {
                if join(&core, place, &directory, request)? {
                    return Ok(core);
                }
            }
            None if makes => {
                if let Some(core) = create(place, &directory, request)? {
                    return Ok(core);
                }
            }
            None => return Err(not_found()),
        }
    }
    let reason = format!(
        "others made and removed {} again and again while it was being opened (or /proc is not mounted, which is \
         needed to make one before Linux 6.10)",
        place.path().display()
    );
    Err(Cause::new(ErrorKind::Unknown, reason))
}

/// Becomes a user of an existing one. `false` if the name is another file's by now, or other code has closed the descriptor.
fn join(core: &Core, place: &Place, directory: &OwnedFd, request: &OpenRequest) -> Result<bool, Cause> {
    let registered = Registered::for_open(core)?;
    breakpoint::pass(breakpoint::Step::Registered);
    if !names(place, directory, core) {
        return Ok(false);
    }
    let outcome = match join_registered(core, place, directory, request) {
        Err(_) if !core.new_locks().is_ours() => Ok(false),
        Err(cause) => {
            // who closed meanwhile may have left it to us, or have taken us for a user, by a lock of a dead one's slot
            let _ = unlink_if_unused(core, place);
            Err(cause)
        }
        joined => joined,
    };
    drop(registered);
    outcome
}

/// The same, with the registry lock.
fn join_registered(
    core: &Core,
    place: &Place,
    directory: &OwnedFd,
    request: &OpenRequest,
) -> Result<bool, Cause> {
    let layout = core.layout();
    let locks = core.new_locks();
    let user = find_user(core, &locks)?;
    // who removed it was killed before it was done
    let is_removed = layout.state().slot() == REMOVED;
    if is_removed {
        match place.unlink(directory) {
            Ok(()) | Err(Errno::NOENT) => return Ok(false),
            // its users have been told that it is gone: to start afresh in it would bring it back for them
            Err(errno) if request.mode != AccessMode::OpenExisting && user.is_some() => {
                return Err(explain_unlink(place, errno));
            }
            Err(_) => {}
        }
    }
    let is_leftover = is_removed || layout.persistent.load(Ordering::Acquire) == 0 && user.is_none();
    if is_leftover && !locks.is_ours() {
        return Ok(false);
    }
    match request.mode {
        AccessMode::OpenExisting if is_leftover => {
            // who may not unlink it leaves it to those who may
            let _ = place.unlink(directory);
            return Err(not_found());
        }
        AccessMode::CreateNew if !is_leftover => {
            return Err(Cause::new(ErrorKind::AlreadyExists, "it exists already"));
        }
        _ => {}
    }
    let max = max_permits(request)?.unwrap_or_else(|| {
        if is_leftover { MAX_PERMITS } else { layout.max_permits(epoch::last_epoch(layout)) }
    });
    let resets = !is_leftover && request.mode == AccessMode::Create;
    if is_leftover || resets {
        check_value(request.initial_value, max)?;
    }
    if is_leftover {
        renew(core, request, max)?;
    }
    if !recover_and_take_slot(core, place, &locks, user)? {
        return Ok(false);
    }
    if resets {
        reset(core, request.initial_value, max);
    }
    if request.persistent {
        layout.persistent.store(1, Ordering::Release);
    }
    Ok(true)
}

/// Starts afresh where nobody is left. Who is killed half way leaves a leftover again: `persistent` comes later.
fn renew(core: &Core, request: &OpenRequest, max_permits: u32) -> Result<(), Trouble> {
    let layout = core.layout();
    // the permissions are those of whoever made it, if they are not ours to change
    let _ = rustix::fs::fchmod(&*core.new_locks(), mode(request));
    layout.persistent.store(0, Ordering::Relaxed);
    for word in &layout.used {
        word.store(0, Ordering::Relaxed);
    }
    layout.recoveries.store(0, Ordering::Relaxed);
    layout.several.store(0, Ordering::Relaxed);
    reset(core, request.initial_value, max_permits);
    Ok(())
}
