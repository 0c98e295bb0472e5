//! Locks on single bytes of a file (open-file-description locks, Linux 3.15).
//!
//! Such a lock belongs to the open file description. It ends with the last descriptor *and* the
//! last mapping of that description, however a process ends. A byte is only a number here: the file
//! need not contain it.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;

use libc::c_int;

/// Maximum number of attempts to release a lock.
const MAX_UNLOCK_TRIES: u32 = 100;

/// Takes the lock unless another open of the file has it. Returns whether it took the lock.
pub(crate) fn try_lock(file: BorrowedFd<'_>, byte: u16) -> io::Result<bool> {
    match set(file, libc::F_WRLCK, byte) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Releases the lock. Does nothing if this open does not have it.
pub(crate) fn unlock(file: BorrowedFd<'_>, byte: u16) -> io::Result<()> {
    // The kernel may need memory for this (`ENOLCK`). The caller could only retry, too: a lock that
    // is kept by mistake blocks every other process.
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

/// Returns whether another open of the file has a lock on one of these bytes.
pub(crate) fn is_locked(file: BorrowedFd<'_>, bytes: Range<u16>) -> io::Result<bool> {
    find_locked(file, bytes).map(|found| found.is_some())
}

/// Returns one of these bytes on which another open of the file has a lock.
pub(crate) fn find_locked(file: BorrowedFd<'_>, bytes: Range<u16>) -> io::Result<Option<u16>> {
    if bytes.is_empty() {
        // for the kernel, a length of 0 means all bytes that follow
        return Ok(None);
    }
    let mut lock = flock(libc::F_WRLCK, bytes.clone());
    // SAFETY: the description is live
    retry_if_interrupted(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) })?;
    // the lock that was found may begin before the range
    let first = u16::try_from(lock.l_start).map_or(bytes.start, |first| first.max(bytes.start));
    Ok((c_int::from(lock.l_type) != libc::F_UNLCK).then_some(first))
}

fn set(file: BorrowedFd<'_>, kind: c_int, byte: u16) -> io::Result<()> {
    let lock = flock(kind, byte..byte + 1);
    // SAFETY: the description is live
    retry_if_interrupted(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) })
}

/// fcntl(2) says that a signal can interrupt these calls, although they never block.
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
        // must be 0 for such locks
        l_pid: 0,
    }
}
