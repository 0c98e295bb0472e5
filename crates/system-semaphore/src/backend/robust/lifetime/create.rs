//! Creating the file of a new semaphore, which is complete before it gets its name.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::Attempt;
use super::file::map;
use super::path::SemaphorePath;
use super::slots::take_slot;
use super::validate::{explain_at, write_name};
use crate::backend::api::OpenRequest;
use crate::backend::robust::algorithm::layout::{
    FILE_SIZE, INITIAL, Layout, MAGIC, MAX_PERMITS, MoreSlots, PAGE, VERSION,
};
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::algorithm::state::State;
use crate::backend::robust::platform::{SharedFile, SharedObject};
use crate::error::{Cause, ErrorKind};

/// Default permissions.
const MODE: u32 = 0o600;

/// Creates a file without a name, completes it and links it. Returns `None` if the name or the
/// directory appeared or disappeared meanwhile.
pub(crate) fn create(
    path: &Arc<SemaphorePath>,
    directory: &OwnedFd,
    request: &OpenRequest,
) -> Result<Option<MappedFile>, Cause> {
    let max_permits = max_permits(request)?.unwrap_or(MAX_PERMITS);
    check_value(request.initial_value, max_permits)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let (mapped, data) = match map(path, || openat(directory, ".", flags, Mode::RUSR | Mode::WUSR)) {
        Ok(opened) => opened,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            let reason = format!(
                "the file system of {} cannot make files without a name (O_TMPFILE)",
                path.full_path().display()
            );
            return Err(Cause::unsupported(reason));
        }
        Err(error) => return Err(explain_at(path, error.into())),
    };
    let locks = mapped.new_locks();
    let file = locks.as_fd();
    let full = |errno: Errno| explain_at(path, errno.into());
    // a write beyond that limit raises a signal that ends the process
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < FILE_SIZE) {
        let full_path = path.full_path();
        let reason = format!(
            "this process may not make files of {FILE_SIZE} bytes, as {} is to have (though it needs little memory); \
             raise its limit of file sizes (ulimit -f)",
            full_path.display()
        );
        return Err(Cause::new(ErrorKind::OutOfResources, reason));
    }
    // undoes the umask: the permissions are explicit
    if Mode::from_raw_mode(data.st_mode) != mode(request) {
        rustix::fs::fchmod(file, mode(request)).map_err(full)?;
    }
    retry_on_intr(|| rustix::fs::ftruncate(file, FILE_SIZE)).map_err(full)?;
    SharedFile::<Layout, MoreSlots>::reserve(&locks, PAGE).map_err(|error| explain_at(path, error))?;
    if let Some(name) = &path.hashed {
        write_name(file, name).map_err(full)?;
    }
    let layout = mapped.layout();
    layout.persistent.store(request.persistent.into(), Ordering::Relaxed);
    layout.prepare_epoch(0, request.initial_value, max_permits);
    layout.state.word.store(State::new(INITIAL, 0, false, request.initial_value).0, Ordering::Relaxed);
    layout.version.store(VERSION, Ordering::Relaxed);
    layout.magic.store(MAGIC, Ordering::Release);
    if take_slot(&mapped, path, &locks)? == Attempt::StartOver {
        return Ok(None);
    }
    match link(file, directory, path) {
        Ok(()) => Ok(Some(mapped)),
        Err(Errno::EXIST | Errno::NOENT) => Ok(None),
        Err(errno) => Err(explain_at(path, errno.into())),
    }
}

/// Gives a file without a name its name.
fn link(file: BorrowedFd<'_>, directory: &OwnedFd, path: &SemaphorePath) -> Result<(), Errno> {
    match linkat(file, "", directory, &*path.file, AtFlags::EMPTY_PATH) {
        // Before Linux 6.10 only privileged processes may do this. The kernel reports ENOENT to
        // others (linkat(2)).
        Err(Errno::NOENT) => {
            let proc_path = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, proc_path, directory, &*path.file, AtFlags::SYMLINK_FOLLOW)
        }
        outcome => outcome,
    }
}

/// Returns the requested permissions.
///
/// A process that may only read could lock bytes and so block others, without using the semaphore.
/// A class that does not get both permissions therefore gets none.
pub(crate) fn mode(request: &OpenRequest) -> Mode {
    let asked = request.permissions.unwrap_or(MODE);
    let classes = [0o600, 0o060, 0o006].into_iter();
    Mode::from_raw_mode(classes.filter(|class| asked & class == *class).sum())
}

/// Returns the requested maximum.
pub(crate) fn max_permits(request: &OpenRequest) -> Result<Option<u32>, Cause> {
    match request.max_permits {
        Some(0) => Err(Cause::unsupported("a semaphore must be able to have at least one permit")),
        Some(max) if max > MAX_PERMITS => {
            Err(Cause::unsupported(format!("the largest maximum is {MAX_PERMITS}, and {max} was asked for")))
        }
        max => Ok(max),
    }
}

pub(crate) fn check_value(initial_value: u32, max: u32) -> Result<(), Cause> {
    if initial_value <= max {
        return Ok(());
    }
    let reason = format!("the initial value {initial_value} is more than the {max} that it can count");
    Err(Cause::new(ErrorKind::OutOfResources, reason))
}
