//! The rooms for unsafe code: thin safe faces over the C library, one file a concern, no policy.
//!
//! Every function here is safe to call with any argument; what the operating system refuses comes back as
//! [`std::io::Error`].
#![allow(unsafe_code)]

pub(crate) mod arc_or_ref;
#[cfg(target_os = "linux")]
pub(crate) mod descriptor;
pub(crate) mod fork;
#[cfg(target_os = "linux")]
pub(crate) mod futex;
#[cfg(target_os = "linux")]
pub(crate) mod lock;
#[cfg(target_os = "linux")]
pub(crate) mod memory;
pub(crate) mod posix;
pub(crate) mod system_v;
#[cfg(target_os = "linux")]
pub(crate) mod thread;
pub(crate) mod user;

/// The atomics of what processes share. `verification/interleavings` compiles the same source over loom's.
#[cfg(target_os = "linux")]
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, fence};
}

use std::ffi::c_int;
use std::io;
use std::time::Duration;

/// The C library's "-1 and `errno`" as a `Result`.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A duration as `timespec`; what is too long for one becomes the longest (292 billion years).
fn timespec(duration: Duration) -> libc::timespec {
    let mut spec = libc::timespec { tv_sec: libc::time_t::MAX, tv_nsec: 0 };
    if let Ok(seconds) = duration.as_secs().try_into() {
        spec.tv_sec = seconds;
        // below 10^9, which every type that `tv_nsec` has holds
        spec.tv_nsec = duration.subsec_nanos() as _;
    }
    spec
}
