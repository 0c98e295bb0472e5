//! The errors of POSIX semaphores.

use std::io;

use crate::error::{Cause, ErrorKind};
use crate::sys::posix as sys;

pub(super) const MAX_PERMITS: u32 = sys::MAX_VALUE;

pub(super) fn no_room() -> Cause {
    Cause::new(ErrorKind::OutOfResources, format!("a POSIX semaphore counts to {MAX_PERMITS}"))
}

pub(super) fn cause_of(error: &io::Error) -> Cause {
    let (kind, reason) = match error.raw_os_error() {
        Some(libc::ENOENT) => (ErrorKind::NotFound, "there is no such semaphore"),
        Some(libc::EPERM | libc::EACCES) => {
            (ErrorKind::PermissionDenied, "it belongs to another user, who has not allowed it")
        }
        Some(libc::EINVAL) => (
            ErrorKind::KeyError,
            "the system does not take it for a POSIX semaphore; use a name like /printer (one slash, in front, and \
             at most 251 characters behind it) and see that no other file stands in its place",
        ),
        Some(libc::ENAMETOOLONG) => (ErrorKind::KeyError, "the name is too long"),
        Some(libc::EOVERFLOW) => return no_room(),
        Some(libc::ENOSYS) => (ErrorKind::Unsupported, "this system has no POSIX semaphores with names"),
        Some(libc::EMFILE | libc::ENFILE) => (ErrorKind::OutOfResources, "too many files are open"),
        Some(libc::ENOSPC | libc::ENOMEM) => (ErrorKind::OutOfResources, "the system has no memory for it"),
        _ => (ErrorKind::Unknown, "the system refused"),
    };
    Cause::new(kind, reason).with_os(error.raw_os_error())
}
