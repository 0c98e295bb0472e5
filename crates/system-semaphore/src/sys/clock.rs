//! The time, from the C library. rustix finds the kernel's vDSO by itself, which crashes under
//! valgrind.

use std::mem::MaybeUninit;
use std::ptr;

use rustix::time::Timespec;

/// Returns the time of the monotonic clock.
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

/// Returns the time of day in seconds since 1970, as long as 32 bits can represent it. The C
/// library reads it in a nanosecond, faster than any other clock.
#[inline]
pub(crate) fn seconds_since_1970() -> u32 {
    // SAFETY: stores the time nowhere else
    unsafe { libc::time(ptr::null_mut()) as u32 }
}
