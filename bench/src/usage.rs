//! What children have used.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::time::Duration;

/// The CPU time of all children that have ended and were waited for, and theirs.
pub(crate) fn of_children() -> Duration {
    let mut usage = MaybeUninit::uninit();
    // SAFETY: it is the place for the answer
    let result = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: the call has filled it in
    let usage: libc::rusage = unsafe { usage.assume_init() };
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}
