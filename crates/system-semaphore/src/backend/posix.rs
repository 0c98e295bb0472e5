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

use std::ffi::{CStr, CString};
use std::io;

use super::api::{Backend, Identity, Namespace, Opened, Patience, Removal, Request, Subject, Wait};
use crate::error::{ErrorKind, Fault};
use crate::sys::posix::{self as sys, Handle};
use crate::types::{AccessMode, Capabilities, Epoch};

const MAX_PERMITS: u32 = sys::MAX_VALUE;
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

    fn open(&self, name: &str, request: &Request) -> Result<Opened, Fault> {
        open(name, request)
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        sys::unlink(&c_name(name)?).map_err(|error| fault(&error))
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn observe(&self, name: &str) -> Result<Box<dyn super::api::Observe>, Fault> {
        file::observe(name)
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn list(&self, owners: crate::types::Owners) -> Option<Vec<crate::types::Listed>> {
        Some(file::list(owners))
    }
}

fn open(name: &str, request: &Request) -> Result<Opened, Fault> {
    let name = c_name(name)?;
    if request.max_permits.is_some_and(|max| max != MAX_PERMITS) {
        let reason = format!("a POSIX semaphore has no maximum of its own; it counts to {MAX_PERMITS}");
        return Err(Fault::unsupported(reason));
    }
    request.open_with_value_up_to(MAX_PERMITS, |request| {
        for _ in 0..OPEN_ATTEMPTS {
            if let Some(opened) = try_open(&name, request)? {
                return Ok(opened);
            }
        }
        let reason = "others made and removed it again and again while it was being opened";
        Err(Fault::new(ErrorKind::Unknown, reason))
    })
}

fn c_name(name: &str) -> Result<CString, Fault> {
    if name.is_empty() {
        return Err(Fault::new(ErrorKind::KeyError, "the key is empty; give the semaphore a name"));
    }
    CString::new(name).map_err(|_| Fault::new(ErrorKind::KeyError, "the name contains a NUL character"))
}

/// One attempt; `None` if the name came or went between two steps.
fn try_open(name: &CString, request: &Request) -> Result<Option<Opened>, Fault> {
    if request.mode != AccessMode::OpenExisting {
        match sys::create_new(name, request.permissions.unwrap_or(MODE), request.initial_value) {
            Ok(handle) => {
                let removal = Some(removal(name.clone(), handle.address()));
                return Ok(Some(Opened { backend: Box::new(Posix(handle)), removal, needs_reset: false }));
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(fault(&error)),
        }
    }
    match request.mode {
        AccessMode::CreateNew => Err(Fault::new(ErrorKind::AlreadyExists, "it exists already")),
        AccessMode::Create => match check_file(name).map(|()| sys::unlink(name))? {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(fault(&error)),
            _ => Ok(None),
        },
        AccessMode::Open | AccessMode::OpenExisting => match open_existing(name) {
            Ok(handle) => {
                Ok(Some(Opened { backend: Box::new(Posix(handle)), removal: None, needs_reset: false }))
            }
            Err(fault) if fault.kind == ErrorKind::NotFound && request.mode == AccessMode::Open => Ok(None),
            Err(fault) => Err(fault),
        },
    }
}

fn open_existing(name: &CStr) -> Result<Handle, Fault> {
    check_file(name)?;
    sys::open_existing(name).map_err(|error| fault(&error))
}

/// The GNU C library maps whatever stands in a semaphore's place, and the first access beyond the end of a file
/// that is too short is SIGBUS. So that is looked at first.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn check_file(name: &CStr) -> Result<(), Fault> {
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
    Err(Fault::new(ErrorKind::Corrupt, reason))
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn check_file(_: &CStr) -> Result<(), Fault> {
    Ok(())
}

/// Looks at the file that the GNU C library keeps a semaphore in: its first word is the count, the next the number
/// of those who wait.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod file {
    use std::fs::{self, File};
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::path::{Path, PathBuf};

    use super::{MAX_PERMITS, c_name, check_file, fault};
    use crate::backend::api::Observe;
    use crate::error::{Error, ErrorKind, Fault};
    use crate::key::{KeyType, NativeIpcKey};
    use crate::sys::user;
    use crate::types::{Listed, Owners, Snapshot};

    const DIRECTORY: &str = "/dev/shm";
    const PREFIX: &str = "sem.";

    struct Observation(File);

    pub(super) fn observe(name: &str) -> Result<Box<dyn Observe>, Fault> {
        let name = c_name(name)?;
        check_file(&name)?;
        let name = name.to_string_lossy();
        let path = Path::new(DIRECTORY).join(format!("{PREFIX}{}", name.trim_start_matches('/')));
        Ok(Box::new(Observation(File::open(path).map_err(|error| fault(&error))?)))
    }

    /// How many permits are free, and how many threads wait, as glibc keeps them at the beginning of the file.
    fn counts(bytes: [u8; 16]) -> (u32, u32) {
        if cfg!(target_pointer_width = "64") {
            // [ waiters:32 | count:32 ]
            let word = u64::from_ne_bytes(std::array::from_fn(|index| bytes[index]));
            (word as u32, (word >> 32) as u32)
        } else {
            // [ count:31 | somebody waits:1 ], two others, and the waiters
            let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
            (word(0) >> 1, word(12))
        }
    }

    impl Observe for Observation {
        fn look(&self) -> Result<Snapshot, Fault> {
            let mut bytes = [0; 16];
            let data = self.0.metadata().map_err(|error| fault(&error))?;
            if data.nlink() == 0 {
                return Err(Fault::new(ErrorKind::NotFound, "it was removed from the system"));
            }
            self.0.read_exact_at(&mut bytes, 0).map_err(|_| {
                Fault::new(
                    ErrorKind::Corrupt,
                    "its file is too short for a semaphore; remove it if nobody needs it",
                )
            })?;
            let (available, waiting) = counts(bytes);
            Ok(Snapshot {
                available,
                max_permits: MAX_PERMITS,
                initial_value: None,
                holders: None,
                held_by_dead: None,
                waiters: None,
                waiting: Some(waiting),
                users: None,
                last_pid: None,
                persistent: None,
                recoveries: None,
                owner: data.uid(),
                permissions: data.mode() & 0o777,
            })
        }
    }

    pub(super) fn list(owners: Owners) -> Vec<Listed> {
        let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
        entries.filter_map(|entry| describe(&entry.path(), owners)).collect()
    }

    fn describe(path: &PathBuf, owners: Owners) -> Option<Listed> {
        let name = format!("/{}", path.file_name()?.to_str()?.strip_prefix(PREFIX)?);
        let data = fs::symlink_metadata(path).ok()?;
        if owners == Owners::User && data.uid() != user::effective_id() {
            return None;
        }
        let snapshot = observe(&name).and_then(|observation| observation.look());
        Some(Listed {
            native_key: Some(NativeIpcKey::new(name.as_str(), KeyType::Posix)),
            key_type: KeyType::Posix,
            path: Some(path.clone()),
            owner: data.uid(),
            snapshot: snapshot.map_err(|fault| Error::new("look at", name.as_str(), fault)),
            name,
        })
    }
}
fn removal(name: CString, address: usize) -> Removal {
    Removal::of(Subject::Semaphore, move || {
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

#[derive(Debug)]
struct Posix(Handle);

impl Backend for Posix {
    fn identity(&self) -> Identity {
        Identity(self.0.address() as u128)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            returns_on_death: false,
            created_permits_stay: true,
            timeout: sys::HAS_TIMEOUT,
            several_at_once: false,
            available_permits: sys::HAS_VALUE,
            holders: false,
            waiting: false,
            last_pid: false,
            recoveries: false,
            reset_voids_permits: false,
            ends_with_last_user: false,
            own_maximum: false,
            inheritable_permits: false,
            max_permits: MAX_PERMITS,
        }
    }

    fn acquire(&self, _one: u32, wait: &mut Wait<'_>) -> Result<Epoch, Fault> {
        loop {
            // a deadline in the past must not keep from taking what is free
            match self.0.try_wait() {
                Ok(()) => return Ok(0),
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => return Err(fault(&error)),
            }
            let deadline = match wait.patience {
                Patience::None => return Err(wait.patience.exhausted()),
                Patience::Until(deadline) => Some(deadline),
                Patience::Forever => None,
            };
            wait.before_sleep()?;
            match self.0.wait(deadline) {
                Ok(()) => return Ok(0),
                Err(error) => match error.raw_os_error() {
                    Some(libc::ETIMEDOUT) => return Err(wait.patience.exhausted()),
                    Some(libc::EINTR) => {}
                    _ => return Err(fault(&error)),
                },
            }
        }
    }

    fn give_back(&self, count: u32, _: Epoch) -> Result<(), Fault> {
        for _ in 0..count {
            self.0.post().map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    fn release(&self, held: u32, _: Epoch, created: u32) -> Result<(), Fault> {
        let count = u64::from(held) + u64::from(created);
        if count > u64::from(MAX_PERMITS)
            || sys::HAS_VALUE && count > u64::from(MAX_PERMITS - self.available()?)
        {
            return Err(no_room());
        }
        // One sem_post a permit: others may see some of them before the last. If others post so much meanwhile that
        // the count becomes full, what can be had back without waiting is taken back.
        for done in 0..count {
            if let Err(error) = self.0.post() {
                let _ = (0..done).try_for_each(|_| self.0.try_wait());
                return Err(fault(&error));
            }
        }
        Ok(())
    }

    fn forget(&self, _: u32, _: Epoch) -> Result<(), Fault> {
        Ok(())
    }

    fn available(&self) -> Result<u32, Fault> {
        if !sys::HAS_VALUE {
            return Err(Fault::unsupported("this system does not tell the count of a POSIX semaphore"));
        }
        // POSIX allows a negative value that counts waiters
        self.0.value().map(|value| value.max(0).unsigned_abs()).map_err(|error| fault(&error))
    }
}

fn no_room() -> Fault {
    Fault::new(ErrorKind::OutOfResources, format!("a POSIX semaphore counts to {MAX_PERMITS}"))
}

fn fault(error: &io::Error) -> Fault {
    let (kind, reason) = match error.raw_os_error() {
        Some(libc::ENOENT) => (ErrorKind::NotFound, "there is no such semaphore"),
        Some(libc::EPERM | libc::EACCES) => {
            (ErrorKind::PermissionDenied, "it belongs to another user, who has not allowed it")
        }
        Some(libc::EINVAL) => (
            ErrorKind::KeyError,
            "the system does not take it for a POSIX semaphore; use a name like /printer (one slash, in front, and \
             at most 251 characters behind it) and see that no other file stands in its place",
        ),
        Some(libc::ENAMETOOLONG) => (ErrorKind::KeyError, "the name is too long"),
        Some(libc::EOVERFLOW) => return no_room(),
        Some(libc::ENOSYS) => (ErrorKind::Unsupported, "this system has no POSIX semaphores with names"),
        Some(libc::EMFILE | libc::ENFILE) => (ErrorKind::OutOfResources, "too many files are open"),
        Some(libc::ENOSPC | libc::ENOMEM) => (ErrorKind::OutOfResources, "the system has no memory for it"),
        _ => (ErrorKind::Unknown, "the system refused"),
    };
    Fault::new(kind, reason).with_os(error.raw_os_error())
}
