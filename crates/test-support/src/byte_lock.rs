//! Locks on bytes of a file, as the crash-safe engine takes them (`F_OFD_SETLK`).

use std::fs::File;
use std::io;
use std::ops::Range;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Takes locks on these bytes, for as long as the file is open.
///
/// # Errors
/// `WouldBlock` if another open file has a lock on one of them.
pub fn try_lock(file: &File, bytes: Range<u16>) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&describe(&bytes)))?;
    Ok(())
}

/// Whether another open file has a lock on one of these bytes.
#[must_use]
pub fn is_locked_by_other(file: &File, bytes: Range<u16>) -> bool {
    let mut lock = describe(&bytes);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).expect("the system can be asked about a lock");
    i32::from(lock.l_type) != libc::F_UNLCK
}

fn describe(bytes: &Range<u16>) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: bytes.start.into(),
        l_len: bytes.len() as _,
        l_pid: 0,
    }
}
