//! Looking at semaphores without using them.

use std::fmt;

use crate::backend;
use crate::backend::api::Observe;
use crate::error::{Error, Result};
use crate::key::{Key, NativeIpcKey};
use crate::sys::standard_descriptors::Reservation;
use crate::types::{Listed, Owners, Snapshot};

/// Looks at one semaphore without using it: it makes, takes, writes and wakes nothing, so that it can be asked as often as
/// anybody likes. (What is opened here is closed when it is dropped. Of those who wait for a robust semaphore, the one process that
/// watches for deaths looks for them then; where the file may be read and not written, all others look whether that one is still there.)
///
/// ```
/// use system_semaphore::{Observer, SystemSemaphore};
///
/// # let name = &format!("doc-observer-{}", std::process::id());
/// let printers = SystemSemaphore::open(name, 3)?;
/// let permit = printers.acquire()?;
/// let observer = Observer::new(name)?;
/// let sight = observer.look()?;
/// assert_eq!(sight.available, 2);
/// # #[cfg(target_os = "linux")]
/// assert_eq!(sight.holders.expect("a robust one tells")[0].pid, Some(std::process::id()));
/// # drop(permit);
/// # Ok::<(), system_semaphore::Error>(())
/// ```
pub struct Observer {
    key: NativeIpcKey,
    observation: Box<dyn Observe>,
}

impl Observer {
    /// Finds the semaphore, which must be there.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none,
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if it may not be read,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if something else stands in its place,
    /// [`KeyError`](crate::ErrorKind::KeyError) if the key cannot name a semaphore, and
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where such a semaphore cannot be looked at from outside.
    pub fn new(key: impl Into<Key>) -> Result<Self> {
        let key = key.into().resolve(None)?;
        let _reservation = Reservation::new();
        match backend::namespace_of(&key).and_then(|namespace| namespace.observe(key.native_key())) {
            Ok(observation) => Ok(Self { key, observation }),
            Err(cause) => Err(Error::new("look at", key.to_string(), cause)),
        }
    }

    /// The native key.
    #[must_use]
    pub fn native_key(&self) -> &NativeIpcKey {
        &self.key
    }

    /// What can be seen now. It is put together from several looks, between which others go on.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed since,
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if it may not be read,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if its file makes no sense.
    pub fn look(&self) -> Result<Snapshot> {
        self.observation.snapshot().map_err(|cause| Error::new("look at", self.key.to_string(), cause))
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
