//! Locks on single bytes of a file (open-file-description locks, Linux 3.15).
//!
//! Such a lock belongs to the open file description: it is gone when the last descriptor *and* the last mapping of that
//! open are, which the kernel sees to however a process ends. Bytes are mere numbers here; the file need not have
//! them.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;

use libc::c_int;

/// How often it is tried to give up a lock.
const MAX_UNLOCK_TRIES: u32 = 100;

/// Takes the lock, unless another open of the file has it.
pub(crate) fn try_lock(file: BorrowedFd<'_>, byte: u16) -> io::Result<bool> {
    match set(file, libc::F_WRLCK, byte) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the lock up; nothing happens to who has it not.
pub(crate) fn unlock(file: BorrowedFd<'_>, byte: u16) -> io::Result<()> {
    // The kernel may need memory for it (`ENOLCK`), and there is little that its owner could do about that but this: who
    // keeps a lock by mistake is in everybody's way.
    let mut tries = 0;
    loop {
        match set(file, libc::F_UNLCK, byte) {
            Err(error) if error.raw_os_error() == Some(libc::ENOLCK) && tries < MAX_UNLOCK_TRIES => {
                tries += 1;
                thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

/// Whether another open of the file has a lock on one of these bytes.
pub(crate) fn is_locked(file: BorrowedFd<'_>, bytes: Range<u16>) -> io::Result<bool> {
    find_locked(file, bytes).map(|found| found.is_some())
}

/// One of these bytes that another open of the file has a lock on.
pub(crate) fn find_locked(file: BorrowedFd<'_>, bytes: Range<u16>) -> io::Result<Option<u16>> {
    if bytes.is_empty() {
        // to the kernel, no length means all that follow
        return Ok(None);
    }
    let mut lock = flock(libc::F_WRLCK, bytes.clone());
    // SAFETY: the description is live
    retry_if_interrupted(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) })?;
    // the lock that was found may begin before them
    let first = u16::try_from(lock.l_start).map_or(bytes.start, |first| first.max(bytes.start));
    Ok((c_int::from(lock.l_type) != libc::F_UNLCK).then_some(first))
}

fn set(file: BorrowedFd<'_>, kind: c_int, byte: u16) -> io::Result<()> {
    let lock = flock(kind, byte..byte + 1);
    // SAFETY: the description is live
    retry_if_interrupted(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) })
}

/// A signal can come between, says fcntl(2), though these never wait.
fn retry_if_interrupted(mut call: impl FnMut() -> c_int) -> io::Result<()> {
    loop {
        match super::check(call()) {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            outcome => return outcome.map(drop),
        }
    }
}

fn flock(kind: c_int, bytes: Range<u16>) -> libc::flock {
    libc::flock {
        // small constants
        l_type: kind as _,
        l_whence: libc::SEEK_SET as _,
        l_start: bytes.start.into(),
        l_len: bytes.len() as _,
        // must be 0 for these locks
        l_pid: 0,
    }
}
