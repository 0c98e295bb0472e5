//! The module that contains all unsafe code of this program: calls that have no safe form.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::mem::zeroed;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{io, ptr};

use memmap2::MmapRaw;

use crate::shared_state::SharedState;

/// The shared state in this file, for as long as the process lives.
pub(crate) fn map_shared_state(file: RawFd) -> io::Result<&'static SharedState> {
    let map = Box::leak(Box::new(MmapRaw::map_raw(file)?));
    assert!(map.len() >= size_of::<SharedState>(), "the file is long enough");
    // SAFETY: mapped for ever, page-aligned, long enough, and nothing but atomics, for which any bits will do
    Ok(unsafe { &*map.as_mut_ptr().cast::<SharedState>() })
}

/// A word of a mapped file that others may be writing to.
pub(crate) fn load(map: &MmapRaw, at: usize) -> u32 {
    assert!(
        at.is_multiple_of(align_of::<AtomicU32>()) && at + size_of::<AtomicU32>() <= map.len(),
        "it is in there"
    );
    // SAFETY: it is within the mapping
    let word = unsafe { map.as_mut_ptr().add(at) };
    // SAFETY: aligned, and everybody's accesses to the file are atomic
    unsafe { AtomicU32::from_ptr(word.cast()) }.load(Ordering::Acquire)
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

/// Has the kernel kill this process after so long, which comes in the middle of whatever it does then.
pub(crate) fn die_in(delay: Duration) {
    // SAFETY: all zeros is a valid event
    let mut event: libc::sigevent = unsafe { zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let mut timer = ptr::null_mut();
    // SAFETY: both are live
    let created = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) };
    assert_eq!(created, 0, "timer_create: {}", io::Error::last_os_error());
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // none at all would be no alarm
    let delay = delay.max(Duration::from_nanos(1));
    let delay = libc::timespec { tv_sec: delay.as_secs() as _, tv_nsec: delay.subsec_nanos() as _ };
    let once = libc::itimerspec { it_interval: never, it_value: delay };
    // SAFETY: the timer was just made, the value is live
    let set = unsafe { libc::timer_settime(timer, 0, &once, ptr::null_mut()) };
    assert_eq!(set, 0, "timer_settime: {}", io::Error::last_os_error());
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
