//! What time it is. By the C library: rustix looks for the kernel's fast way by itself, also under valgrind, where that ends
//! in a crash.

use std::mem::MaybeUninit;
use std::ptr;

use rustix::time::Timespec;

/// The monotonic clock.
#[inline]
#[allow(clippy::useless_conversion, reason = "the fields have 32 bits on some systems")]
pub(crate) fn monotonic() -> Timespec {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: fills it in, and cannot fail for this clock
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    // SAFETY: filled in
    let now = unsafe { now.assume_init() };
    Timespec { tv_sec: now.tv_sec.into(), tv_nsec: now.tv_nsec.into() }
}

/// The time of day, in seconds since 1970, for as long as 32 bits can tell. The C library reads it in a nanosecond, in which no
/// other clock is read.
#[inline]
pub(crate) fn seconds_since_1970() -> u32 {
    // SAFETY: stores the time nowhere else
    unsafe { libc::time(ptr::null_mut()) as u32 }
}
