//! The errors of System V sets.

use std::io;

use crate::error::{Cause, ErrorKind};

/// `SEMVMX`: the largest count, and the largest adjustment that the kernel keeps for a process.
pub(super) const MAX_PERMITS: u32 = 32_767;

pub(super) fn too_many() -> Cause {
    let reason = format!("a System V semaphore counts to {MAX_PERMITS}");
    Cause::new(ErrorKind::OutOfResources, reason)
}

pub(super) fn not_there() -> Cause {
    Cause::new(ErrorKind::NotFound, "there is no such semaphore")
}

/// The set is gone, and with it what this process held.
pub(super) fn was_removed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIDRM | libc::EINVAL))
}

/// The count is at its top (`ERANGE`), or at its bottom (`EAGAIN`).
pub(super) fn is_out_of_room(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ERANGE | libc::EAGAIN))
}

pub(super) fn cause_of(error: &io::Error) -> Cause {
    let (kind, reason) = match error.raw_os_error() {
        Some(libc::EIDRM | libc::EINVAL) => {
            (ErrorKind::NotFound, "it was removed from the system; open it again for a new one")
        }
        Some(libc::ENOENT) => return not_there(),
        Some(libc::EPERM | libc::EACCES) => {
            (ErrorKind::PermissionDenied, "it belongs to another user, who has not allowed it")
        }
        Some(libc::ENOSPC) => (
            ErrorKind::OutOfResources,
            "the system has no more semaphore sets or undo records; see /proc/sys/kernel/sem and `ipcs -ls`",
        ),
        Some(libc::ENOMEM) => (ErrorKind::OutOfResources, "the kernel has no memory for it"),
        Some(libc::ERANGE) => return too_many(),
        _ => (ErrorKind::Unknown, "the system refused"),
    };
    Cause::new(kind, reason).with_os(error.raw_os_error())
}
