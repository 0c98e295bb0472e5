//! Windows semaphores, as Qt's: `CreateSemaphoreW` with the native name.
//!
//! Nothing here survives its holder: a process that dies keeps what it took (the system has no record of it), and the
//! capabilities say so. The semaphore itself is gone with its last handle, so there is nothing to remove and nothing that
//! could stay. The system has no call that tells the count, nor one that sets it: Create of one that is there is refused.
//! (Qt ignores the mode and uses it as it is.)

use std::io;
use std::time::{Duration, Instant};

use sha1::{Digest, Sha1};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_PATHNAME, ERROR_FILE_NOT_FOUND, ERROR_FILENAME_EXCED_RANGE,
    ERROR_INVALID_HANDLE, ERROR_INVALID_NAME, ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY,
    ERROR_PATH_NOT_FOUND, ERROR_TOO_MANY_POSTS, MAX_PATH, WIN32_ERROR,
};

use super::api::{Backend, Identity, Namespace, OpenRequest, Opened, WaitLimit, WaitOptions};
use crate::error::{Cause, ErrorKind};
use crate::sys::windows::{self as sys, Name, Origin, Semaphore};
use crate::types::{AccessMode, Capabilities, Epoch};

/// `LONG_MAX`.
const MAX_PERMITS: u32 = i32::MAX as u32;
/// How often a hook is asked during a wait: nothing that happens elsewhere in the process ends one.
const HOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The names of kernel objects.
pub(super) struct KernelObjects;

impl Namespace for KernelObjects {
    fn open(&self, name: &str, request: &OpenRequest) -> Result<Opened, Cause> {
        let native_name = native_name(name)?;
        if request.permissions.is_some() {
            let reason = "a Windows semaphore has no Unix permissions; it is its user's, in every session if its name \
                          begins with Global\\";
            return Err(Cause::unsupported(reason));
        }
        if request.persistent {
            return Err(Cause::unsupported(NOT_PERSISTENT));
        }
        let max = request.max_permits.unwrap_or(MAX_PERMITS);
        if !(1..=MAX_PERMITS).contains(&max) {
            let reason = format!("the maximum {max} is not between 1 and {MAX_PERMITS}");
            return Err(Cause::unsupported(reason));
        }
        request.open_with_value_up_to(max, |request| {
            let (semaphore, origin) = open(&native_name, request, max)?;
            // the system does not tell the maximum of one that was there, and refuses what is more
            let max = if origin == Origin::Made { max } else { MAX_PERMITS };
            let backend = Box::new(Object { semaphore, identity: identity(name), max });
            Ok(Opened { backend, removal: None, needs_reset: false })
        })
    }

    fn remove(&self, name: &str) -> Result<(), Cause> {
        sys::open_existing(&native_name(name)?).map_err(|error| cause_of(&error))?;
        let reason =
            "a Windows semaphore is gone when the last process that has it open closes it, and not before";
        Err(Cause::unsupported(reason))
    }
}

const NOT_PERSISTENT: &str =
    "a Windows semaphore cannot outlive its last user; keep one process that has it open";

fn native_name(name: &str) -> Result<Name, Cause> {
    if name.is_empty() {
        return Err(Cause::new(ErrorKind::KeyError, "the key is empty; give the semaphore a name"));
    }
    if name.encode_utf16().count() > MAX_PATH as usize {
        return Err(too_long());
    }
    Name::new(name).ok_or_else(|| Cause::new(ErrorKind::KeyError, "the name contains a NUL character"))
}

fn too_long() -> Cause {
    Cause::new(ErrorKind::KeyError, format!("the name is longer than {MAX_PATH} UTF-16 units"))
}

fn open(name: &Name, request: &OpenRequest, max: u32) -> Result<(Semaphore, Origin), Cause> {
    if request.mode == AccessMode::OpenExisting {
        let semaphore = sys::open_existing(name).map_err(|error| cause_of(&error))?;
        return Ok((semaphore, Origin::Found));
    }
    // neither is more than the largest i32
    let (count, max) = (request.initial_value as i32, max as i32);
    let (semaphore, origin) = sys::create(name, count, max).map_err(|error| cause_of(&error))?;
    match (origin, request.mode) {
        (Origin::Found, AccessMode::CreateNew) => {
            Err(Cause::new(ErrorKind::AlreadyExists, "it exists already"))
        }
        (Origin::Found, AccessMode::Create) => {
            let reason = "it is in use, and nobody can set the count of a Windows semaphore; open it as it is, or let \
                          all its users close it first";
            Err(Cause::unsupported(reason))
        }
        _ => Ok((semaphore, origin)),
    }
}

/// While a handle is open a name means one object, so the name will do: by its hash, as names have any length.
/// (`Local\` is what a name without a prefix means.)
fn identity(name: &str) -> Identity {
    let hash: [u8; 20] = Sha1::digest(name.strip_prefix("Local\\").unwrap_or(name)).into();
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    Identity(u128::from_ne_bytes(half))
}

#[derive(Debug)]
struct Object {
    semaphore: Semaphore,
    identity: Identity,
    /// What it counts to, as far as this process knows.
    max: u32,
}

impl Backend for Object {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            returns_on_death: false,
            created_permits_stay: true,
            timeout: true,
            several_at_once: false,
            available_permits: false,
            holders: false,
            waiting: false,
            last_pid: false,
            recoveries: false,
            reset_voids_permits: false,
            ends_with_last_user: true,
            own_maximum: true,
            inheritable_permits: false,
            max_permits: self.max,
        }
    }

    fn acquire(&self, _one: u32, wait: &mut WaitOptions<'_>) -> Result<Epoch, Cause> {
        // a deadline in the past must not keep from taking what is free
        if self.take(Some(0))? {
            return Ok(0);
        }
        loop {
            let left = match wait.limit {
                WaitLimit::None => Some(Duration::ZERO),
                WaitLimit::Until(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
                WaitLimit::Forever => None,
            };
            if left.is_some_and(|left| left.is_zero()) {
                return Err(wait.limit.timeout_error());
            }
            wait.check_interrupt()?;
            let slice = match wait.interrupted {
                Some(_) => Some(left.map_or(HOOK_INTERVAL, |left| left.min(HOOK_INTERVAL))),
                None => left,
            };
            if self.take(slice.map(milliseconds))? {
                return Ok(0);
            }
        }
    }

    fn release(&self, count: u32, _: Epoch) -> Result<(), Cause> {
        match self.add(count) {
            // one by one, until the count is full
            Err(cause) if cause.kind == ErrorKind::OutOfResources && count > 1 => {
                (0..count).try_for_each(|_| self.add(1))
            }
            outcome => outcome,
        }
    }

    fn release_and_add(&self, held: u32, _: Epoch, added: u32) -> Result<(), Cause> {
        self.add(held.checked_add(added).ok_or_else(no_room)?)
    }

    fn forget(&self, _: u32, _: Epoch) -> Result<(), Cause> {
        Ok(())
    }

    fn available(&self) -> Result<u32, Cause> {
        Err(Cause::unsupported("Windows does not tell the count of a semaphore"))
    }

    fn is_persistent(&self) -> Result<bool, Cause> {
        Ok(false)
    }
}

impl Object {
    fn take(&self, milliseconds: Option<u32>) -> Result<bool, Cause> {
        self.semaphore.wait(milliseconds).map_err(|error| cause_of(&error))
    }

    fn add(&self, count: u32) -> Result<(), Cause> {
        let count = i32::try_from(count).map_err(|_| no_room())?;
        self.semaphore.release(count).map_err(|error| cause_of(&error))
    }
}

/// Rounded up, so that a wait does not end before its time.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

fn no_room() -> Cause {
    let reason = format!(
        "the count would be more than its maximum, which is {MAX_PERMITS} unless its maker said less"
    );
    Cause::new(ErrorKind::OutOfResources, reason)
}

fn cause_of(error: &io::Error) -> Cause {
    let code = error.raw_os_error();
    let (kind, reason) = match code.map(|code| code as WIN32_ERROR) {
        Some(ERROR_FILE_NOT_FOUND) => (ErrorKind::NotFound, "there is no such semaphore"),
        Some(ERROR_ACCESS_DENIED) => {
            (ErrorKind::PermissionDenied, "it belongs to another user or session, which has not allowed it")
        }
        Some(ERROR_INVALID_HANDLE) => (
            ErrorKind::Corrupt,
            "the name belongs to something that is no semaphore, such as an event or a mutex; choose another",
        ),
        Some(ERROR_PATH_NOT_FOUND | ERROR_INVALID_NAME | ERROR_BAD_PATHNAME) => (
            ErrorKind::KeyError,
            "the system does not take it for a name; a backslash may stand only in Local\\ or Global\\ in front",
        ),
        Some(ERROR_FILENAME_EXCED_RANGE) => return too_long().with_os(code),
        Some(ERROR_TOO_MANY_POSTS) => return no_room().with_os(code),
        Some(ERROR_NO_SYSTEM_RESOURCES | ERROR_NOT_ENOUGH_MEMORY) => {
            (ErrorKind::OutOfResources, "the system has no memory for it")
        }
        _ => (ErrorKind::Unknown, "the system refused"),
    };
    Cause::new(kind, reason).with_os(code)
}
