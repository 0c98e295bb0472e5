//! Looking at semaphores without using them.

use std::fmt;
use std::path::PathBuf;

use crate::backend;
use crate::error::{Error, Result};
use crate::key::{Key, KeyType, NativeIpcKey};
use crate::semaphore::Holder;
use crate::sys::standard_descriptors::Reservation;

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
    observation: Box<dyn backend::Observe>,
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
            Err(fault) => Err(Error::new("look at", key.to_string(), fault)),
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
        self.observation.look().map_err(|fault| Error::new("look at", self.key.to_string(), fault))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What can be seen of a semaphore at one moment. `None`: this type of semaphore does not tell.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How many permits are free.
    pub available: u32,
    /// The largest count.
    pub max_permits: u32,
    /// How many permits it was made with, or reset to.
    pub initial_value: Option<u32>,
    /// Who holds permits.
    pub holders: Option<Vec<Holder>>,
    /// How many permits the dead hold still: whoever looks for them next gives them back.
    pub held_by_dead: Option<u32>,
    /// Who waits.
    pub waiters: Option<Vec<Waiter>>,
    /// How many threads wait.
    pub waiting: Option<u32>,
    /// How many opens of it there are, by living processes.
    pub users: Option<u32>,
    /// Who operated on it last.
    pub last_pid: Option<u32>,
    /// Whether it stays when its last user leaves.
    pub persistent: Option<bool>,
    /// How many dead holders have had their permits given back.
    pub recoveries: Option<u64>,
    /// The user that it belongs to.
    pub owner: u32,
    /// Who may use it, as permission bits.
    pub permissions: u32,
}

/// Who waits for permits.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The process id, unless it is one of another PID namespace.
    pub pid: Option<u32>,
    /// The name of its program, where that may be read.
    pub command: Option<String>,
    /// How many of its threads wait.
    pub threads: u32,
}

impl Waiter {
    #[cfg(target_os = "linux")]
    pub(crate) fn new(pid: Option<u32>, command: Option<String>, threads: u32) -> Self {
        Self { pid, command, threads }
    }
}

/// Whose semaphores are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Owners {
    /// This user's.
    #[default]
    User,
    /// Everybody's, as far as they can be seen.
    All,
}

/// A semaphore that is on this machine.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Listed {
    /// The key by which it can be opened from here, if there is one that is known: not of a private robust semaphore of
    /// another user, nor of a System V set whose key file is not found in the usual places.
    pub native_key: Option<NativeIpcKey>,
    /// Its type.
    pub key_type: KeyType,
    /// What it is called: the name of a robust or POSIX semaphore, the key and id of a System V set.
    pub name: String,
    /// The file that it is in, or that its key is made of.
    pub path: Option<PathBuf>,
    /// The user that it belongs to.
    pub owner: u32,
    /// What can be seen of it.
    pub snapshot: Result<Snapshot>,
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
    backend::list(owners).map_err(|fault| Error::new("list the semaphores of", whose, fault))
}
