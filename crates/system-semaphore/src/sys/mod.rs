//! The modules that contain all unsafe code: safe functions over the C library, one file a facility, no policy.
//!
//! The functions return the errors of the operating system as [`std::io::Error`]. No argument of a safe function here causes
//! undefined behaviour. A function for which an argument could do that is an `unsafe fn`.
//!
//! # Invariant of the crate
//! The memory of a mapped file does not exist in a forked child. A reference into it must not be used there. This is a
//! precondition of *when* safe code runs, which no type expresses: [`shared_memory`] lists the places that establish it.
//!
//! # I/O safety
//! [`private_fd`] hands out descriptors that other code of the process may have closed. Its `as_fd` says when.
//!
//! # Unsafe code elsewhere
//! [`shared_memory::shared`] declares the structs of the file format in the engine, and expands to an `unsafe impl` of
//! [`Shared`](shared_memory::Shared) there. The implementation is bounded by the types of the fields, so that the compiler
//! checks that each of them may be shared. No other unsafe code of the crate is outside this module, except in tests.
#![allow(unsafe_code)]

pub(crate) mod arc_or_ref;
#[cfg(target_os = "linux")]
pub(crate) mod asymmetric_fence;
#[cfg(all(target_os = "linux", not(portable_platform)))]
pub(crate) mod byte_lock;
#[cfg(target_os = "linux")]
pub(crate) mod clock;
#[cfg(unix)]
pub(crate) mod fork;
#[cfg(not(unix))]
#[path = "no_fork.rs"]
pub(crate) mod fork;
#[cfg(all(target_os = "linux", not(portable_platform)))]
pub(crate) mod futex;
#[cfg(target_os = "linux")]
mod mapping_placement;
#[cfg(unix)]
pub(crate) mod posix;
#[cfg(target_os = "linux")]
pub(crate) mod private_fd;
#[cfg(target_os = "linux")]
pub(crate) mod process;
#[cfg(target_os = "linux")]
pub(crate) mod shared_memory;
#[cfg(unix)]
pub(crate) mod standard_descriptors;
#[cfg(not(unix))]
#[path = "no_standard_descriptors.rs"]
pub(crate) mod standard_descriptors;
#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
pub(crate) mod system_v;
#[cfg(target_os = "linux")]
pub(crate) mod thread;
#[cfg(unix)]
pub(crate) mod user;
#[cfg(windows)]
pub(crate) mod windows;

/// The atomics of shared memory. `verification/interleavings` compiles the same source over loom's.
#[cfg(target_os = "linux")]
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, fence};
}

/// The C library's "-1 and `errno`" as a `Result`.
#[cfg(unix)]
fn check(result: std::ffi::c_int) -> std::io::Result<std::ffi::c_int> {
    if result == -1 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}

/// Converts a duration to `timespec`. A duration that is too long becomes the longest one (292
/// billion years).
#[allow(deprecated, reason = "the libc crate announces a wider time_t for musl in this way")]
#[cfg(all(unix, not(target_vendor = "apple")))]
fn timespec(duration: std::time::Duration) -> libc::timespec {
    let mut spec = libc::timespec { tv_sec: libc::time_t::MAX, tv_nsec: 0 };
    if let Ok(seconds) = duration.as_secs().try_into() {
        spec.tv_sec = seconds;
        // below 10^9, which every type of `tv_nsec` can represent
        spec.tv_nsec = duration.subsec_nanos() as _;
    }
    spec
}
