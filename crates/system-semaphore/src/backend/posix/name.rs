//! The names that `sem_open` takes, and the files that the GNU C library makes of them.

use std::ffi::{CStr, CString};

use crate::error::{Cause, ErrorKind};

pub(super) fn c_name(name: &str) -> Result<CString, Cause> {
    if name.is_empty() {
        return Err(Cause::new(ErrorKind::KeyError, "the key is empty; give the semaphore a name"));
    }
    CString::new(name).map_err(|_| Cause::new(ErrorKind::KeyError, "the name contains a NUL character"))
}

/// Fails if a semaphore's place has something that is no regular file, or a file that is too short.
///
/// The GNU C library maps any file that has the name, and the first access beyond its end raises
/// SIGBUS.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn check_file(name: &CStr) -> Result<(), Cause> {
    let name = name.to_string_lossy();
    let path = format!("/dev/shm/sem.{}", name.trim_start_matches('/'));
    // what cannot be looked at is left to sem_open, which says why
    let Ok(data) = std::fs::symlink_metadata(&path) else { return Ok(()) };
    let trouble = if !data.is_file() {
        "is no regular file"
    } else if data.len() < size_of::<libc::sem_t>() as u64 {
        "is too short for a semaphore"
    } else {
        return Ok(());
    };
    let reason = format!("the file {path} {trouble}; remove it if nobody needs it");
    Err(Cause::new(ErrorKind::Corrupt, reason))
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn check_file(_: &CStr) -> Result<(), Cause> {
    Ok(())
}
