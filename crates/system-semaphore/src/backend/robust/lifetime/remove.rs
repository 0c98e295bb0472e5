//! Removing a semaphore, whoever uses it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::fstat;
use rustix::io::Errno;

use super::file::{names, open_file};
use super::open::OPEN_ATTEMPTS;
use super::path::Place;
use super::registry_lock::Registered;
use super::slots::is_anybody_here;
use super::validate::{explain_unlink, not_found};
use crate::backend::robust::algorithm::layout::REMOVED;
use crate::backend::robust::algorithm::mapped_file::Core;
use crate::backend::robust::algorithm::state::State;
use crate::backend::robust::algorithm::wake as waiting;
use crate::backend::robust::error::Trouble;
use crate::backend::robust::failpoint as breakpoint;
use crate::error::{Cause, ErrorKind};

/// Removes the semaphore, whoever uses it: they are told.
pub(crate) fn remove(place: &Arc<Place>) -> Result<(), Cause> {
    for _ in 0..OPEN_ATTEMPTS {
        let Some(directory) = place.open_directory()? else { return Err(not_found()) };
        let Some(core) = open_file(place, &directory)? else { return Err(not_found()) };
        let registered = Registered::for_open(&core)?;
        if !names(place, &directory, &core) {
            continue;
        }
        check_unlinkable(&core, place, &directory)?;
        let layout = core.layout();
        let is_leftover = layout.persistent.load(Ordering::Acquire) == 0 && !is_anybody_here(&core)?;
        // first, so that nobody uses it any more when the name is free; who opens it in between unlinks it for us
        loop {
            let state = layout.state();
            if layout.exchange(state, State::new(REMOVED, 0, false, 0)) {
                break;
            }
        }
        waiting::wake(&core, u32::MAX);
        breakpoint::pass(breakpoint::Step::MarkedRemoved);
        place.unlink(&directory).map_err(|errno| explain_unlink(place, errno))?;
        drop(registered);
        return if is_leftover { Err(not_found()) } else { Ok(()) };
    }
    Err(Cause::new(ErrorKind::Unknown, "others made and removed it again and again"))
}

/// In a directory where only owners may remove files, whether this user may.
fn check_unlinkable(core: &Core, place: &Place, directory: &OwnedFd) -> Result<(), Cause> {
    let (file, directory) =
        (fstat(core.locks()?.as_fd()).map_err(Trouble::from)?, fstat(directory).map_err(Trouble::from)?);
    let user = crate::sys::user::effective_id();
    let is_sticky = directory.st_mode & libc::S_ISVTX != 0;
    if is_sticky && user != 0 && ![file.st_uid, directory.st_uid].contains(&user) {
        return Err(explain_unlink(place, Errno::PERM));
    }
    Ok(())
}
