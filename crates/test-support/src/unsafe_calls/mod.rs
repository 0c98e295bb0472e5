//! The module that contains all unsafe code of this crate: system calls that std has not.
#![allow(unsafe_code)]

pub(crate) mod shared_counter;
#[cfg(unix)]
pub(crate) mod signal;
#[cfg(unix)]
pub mod system_v;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) mod tracing;
