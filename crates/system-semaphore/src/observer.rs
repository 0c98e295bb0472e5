//! [`Observer`] and [`list`]: read semaphores without using them.

use std::fmt;

use crate::backend;
use crate::backend::api::Observe;
use crate::error::{Error, Result};
use crate::key::{Key, NativeIpcKey};
use crate::sys::standard_descriptors::Reservation;
use crate::types::{Listed, Owners, Snapshot};

/// Reads a semaphore without using it.
///
/// An observer creates, acquires and writes nothing, and a [`snapshot`](Self::snapshot) wakes no process.
///
/// # Cost
/// Dropping an `Observer` of a robust semaphore wakes a helper thread in one waiting process. If the observer may not write
/// the semaphore's file, it wakes one in every waiting process.
///
/// ```
/// use system_semaphore::{Observer, SystemSemaphore};
///
/// # let name = &format!("doc-observer-{}", std::process::id());
/// let printers = SystemSemaphore::open(name, 3)?;
/// let permit = printers.acquire()?;
/// let observer = Observer::new(name)?;
/// let snapshot = observer.snapshot()?;
/// assert_eq!(snapshot.available, 2);
/// # #[cfg(target_os = "linux")]
/// assert_eq!(snapshot.holders.expect("a robust semaphore lists them")[0].pid, Some(std::process::id()));
/// # drop(permit);
/// # Ok::<(), system_semaphore::Error>(())
/// ```
pub struct Observer {
    key: NativeIpcKey,
    observation: Box<dyn Observe>,
}

impl Observer {
    /// Opens an existing semaphore for observation.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none,
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if it may not be read,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if something else stands in its place,
    /// [`KeyError`](crate::ErrorKind::KeyError) if the key cannot name a semaphore, and
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if semaphores of this type cannot be observed on this platform.
    pub fn new(key: impl Into<Key>) -> Result<Self> {
        let key = key.into().resolve(None)?;
        let _reservation = Reservation::new();
        match backend::namespace_of(&key).and_then(|namespace| namespace.observe(key.native_key())) {
            Ok(observation) => Ok(Self { key, observation }),
            Err(cause) => Err(Error::new("observe", key.to_string(), cause)),
        }
    }

    /// The native key.
    #[must_use]
    pub fn native_key(&self) -> &NativeIpcKey {
        &self.key
    }

    /// Returns the present state of the semaphore.
    ///
    /// The state is read in several steps, and other processes can use the semaphore between them.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed since,
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if it may not be read,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if its file makes no sense.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.observation.snapshot().map_err(|cause| Error::new("observe", self.key.to_string(), cause))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Lists the semaphores on this machine, of all types that this platform lists: on Linux robust ones, System V sets, and the
/// POSIX ones of the GNU C library.
///
/// ```
/// use system_semaphore::{Owners, SystemSemaphore, list};
///
/// # let name = format!("doc-list-{}", std::process::id());
/// let printers = SystemSemaphore::open(&name, 3)?;
/// # if !cfg!(target_os = "linux") { return Ok(()) }
/// assert!(list(Owners::User)?.iter().any(|listed| listed.name == name));
/// # Ok::<(), system_semaphore::Error>(())
/// ```
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) where the platform does not tell: everywhere but on Linux.
pub fn list(owners: Owners) -> Result<Vec<Listed>> {
    let whose = match owners {
        Owners::User => "this user",
        Owners::All => "all users",
    };
    let _reservation = Reservation::new();
    backend::list(owners).map_err(|cause| Error::new("list the semaphores of", whose, cause))
}
