//! POSIX named semaphores, on the wire as Qt's: `sem_open` with the native name.
//!
//! Nothing here survives its holder: a process that dies keeps what it took (the system has no record of it), and
//! the capabilities say so. Create makes a *new* semaphore under the name, as in Qt; who uses the old one keeps
//! it. Several at once cannot be taken all or none, so that is refused.
//!
//! Two of Qt's habits are left out. Its second open carries `O_CREAT`, and can so make a semaphore that nobody
//! removes; ours begins again when the name vanishes between two steps. Its destructor removes the name whatever
//! it names by then; ours looks whether the name still is the semaphore it made, by POSIX's rule that opening one
//! semaphore twice in a process gives the same address.

mod error;
mod name;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod observe;
mod semaphore;

use std::ffi::{CStr, CString};

use self::error::{MAX_PERMITS, cause_of};
use self::name::{c_name, check_file};
use self::semaphore::Posix;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use super::api::Observe;
use super::api::{Namespace, OpenRequest, Opened, Removal, RemovalKind};
use crate::error::{Cause, ErrorKind};
use crate::sys::posix::{self as sys, Handle};
use crate::types::AccessMode;

/// What Qt gives its semaphores (less the umask).
const MODE: u32 = 0o600;
/// How often an open begins again when the name comes or goes between two steps. (Qt: three times.)
const OPEN_ATTEMPTS: u32 = 100;

/// The names that `sem_open` takes.
pub(super) struct Names;

impl Namespace for Names {
    fn is_supported(&self) -> bool {
        sys::is_supported()
    }

    fn open(&self, name: &str, request: &OpenRequest) -> Result<Opened, Cause> {
        open(name, request)
    }

    fn remove(&self, name: &str) -> Result<(), Cause> {
        sys::unlink(&c_name(name)?).map_err(|error| cause_of(&error))
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn observe(&self, name: &str) -> Result<Box<dyn Observe>, Cause> {
        observe::observe(name)
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn list(&self, owners: crate::types::Owners) -> Option<Vec<crate::types::Listed>> {
        Some(observe::list(owners))
    }
}

fn open(name: &str, request: &OpenRequest) -> Result<Opened, Cause> {
    let name = c_name(name)?;
    if request.max_permits.is_some_and(|max| max != MAX_PERMITS) {
        let reason = format!("a POSIX semaphore has no maximum of its own; it counts to {MAX_PERMITS}");
        return Err(Cause::unsupported(reason));
    }
    request.open_with_value_up_to(MAX_PERMITS, |request| {
        for _ in 0..OPEN_ATTEMPTS {
            if let Some(opened) = try_open(&name, request)? {
                return Ok(opened);
            }
        }
        let reason = "others made and removed it again and again while it was being opened";
        Err(Cause::new(ErrorKind::Unknown, reason))
    })
}

/// One attempt; `None` if the name came or went between two steps.
fn try_open(name: &CString, request: &OpenRequest) -> Result<Option<Opened>, Cause> {
    if request.mode != AccessMode::OpenExisting {
        match sys::create_new(name, request.permissions.unwrap_or(MODE), request.initial_value) {
            Ok(handle) => {
                let removal = Some(removal(name.clone(), handle.address()));
                return Ok(Some(Opened { backend: Box::new(Posix(handle)), removal, needs_reset: false }));
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(cause_of(&error)),
        }
    }
    match request.mode {
        AccessMode::CreateNew => Err(Cause::new(ErrorKind::AlreadyExists, "it exists already")),
        AccessMode::Create => match check_file(name).map(|()| sys::unlink(name))? {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(cause_of(&error)),
            _ => Ok(None),
        },
        AccessMode::Open | AccessMode::OpenExisting => match open_existing(name) {
            Ok(handle) => {
                Ok(Some(Opened { backend: Box::new(Posix(handle)), removal: None, needs_reset: false }))
            }
            Err(cause) if cause.kind == ErrorKind::NotFound && request.mode == AccessMode::Open => Ok(None),
            Err(cause) => Err(cause),
        },
    }
}

fn open_existing(name: &CStr) -> Result<Handle, Cause> {
    check_file(name)?;
    sys::open_existing(name).map_err(|error| cause_of(&error))
}

fn removal(name: CString, address: usize) -> Removal {
    Removal::new(RemovalKind::Semaphore, move || {
        let is_ours = match sys::open_existing(&name) {
            Ok(named) => named.address() == address,
            // one that its maker may not open again, by its permissions; what is another user's cannot be removed
            Err(error) => error.raw_os_error() == Some(libc::EACCES),
        };
        if is_ours {
            let _ = sys::unlink(&name);
        }
    })
}
