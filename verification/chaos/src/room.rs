//! What there is no safe call for.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use memmap2::MmapRaw;

use crate::board::Board;

/// The board in this file, for as long as the process lives.
pub(crate) fn map_board(file: RawFd) -> io::Result<&'static Board> {
    let map = Box::leak(Box::new(MmapRaw::map_raw(file)?));
    assert!(map.len() >= size_of::<Board>(), "the file is long enough");
    // SAFETY: mapped for ever, page-aligned, long enough, and nothing but atomics, for which any bits will do
    Ok(unsafe { &*map.as_mut_ptr().cast::<Board>() })
}

/// Whether this is the child.
pub(crate) fn fork() -> io::Result<bool> {
    // SAFETY: the C library's own locks are whole in a child, the semaphores' are what is tested, and the child uses
    // nothing else that another thread may have been in the middle of
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid == 0),
    }
}

/// Ends the process without doing anything else.
pub(crate) fn exit_at_once(code: c_int) -> ! {
    // SAFETY: ends the process
    unsafe { libc::_exit(code) }
}

/// A descriptor that came with the program.
pub(crate) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: this program was started with it for this purpose, and nobody else closes it
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
