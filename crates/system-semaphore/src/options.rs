//! [`Builder`]: the options of an open.

use crate::backend::api::OpenRequest;
use crate::error::Result;
use crate::key::{Key, KeyType, NativeIpcKey};
use crate::types::AccessMode;

/// What is said about a semaphore before it is opened. Made by [`SystemSemaphore::builder`](crate::SystemSemaphore::builder).
///
/// ```
/// use system_semaphore::{AccessMode, KeyType, SystemSemaphore};
///
/// # let name = &format!("doc-builder-{}", std::process::id());
/// let printers = SystemSemaphore::builder(name)
///     .key_type(KeyType::Posix)
///     .initial_value(3)
///     .mode(AccessMode::CreateNew)
///     .permissions(0o660)
///     .build()?;
/// assert_eq!(printers.available_permits()?, 3);
/// # Ok::<(), system_semaphore::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before build()"]
pub struct Builder {
    pub(crate) key: Key,
    pub(crate) key_type: Option<KeyType>,
    pub(crate) request: OpenRequest,
}

impl Builder {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            key_type: None,
            request: OpenRequest {
                mode: AccessMode::Open,
                initial_value: 0,
                permissions: None,
                max_permits: None,
                persistent: false,
            },
        }
    }

    /// The count it has if it is made, or reset by [`AccessMode::Create`]. 0 if not said.
    pub fn initial_value(mut self, permits: u32) -> Self {
        self.request.initial_value = permits;
        self
    }

    /// [`AccessMode::Open`] if not said.
    pub fn mode(mut self, mode: AccessMode) -> Self {
        self.request.mode = mode;
        self
    }

    /// The type of semaphore that a plain name means, [`NativeIpcKey::best_type`] if not said. A native key has its
    /// own.
    pub fn key_type(mut self, key_type: KeyType) -> Self {
        self.key_type = Some(key_type);
        self
    }

    /// Who may use it, as Unix permission bits; `0o600`, the user alone, if not said. They count only for who makes
    /// it. Who is to use it needs both the read and the write bit (on a robust one, one alone is taken off). On POSIX semaphores the process's umask is taken
    /// off, as `sem_open` does. Windows has no such bits ([`Unsupported`](crate::ErrorKind::Unsupported)). A robust semaphore can be used by others only if its name begins with `Global\`: all
    /// other names belong to their user.
    pub fn permissions(mut self, mode: u32) -> Self {
        self.request.permissions = Some(mode);
        self
    }

    /// Whether it stays in the system when this process's last handle is gone. It is removed by
    /// [`SystemSemaphore::remove`](crate::SystemSemaphore::remove) then. A robust semaphore stays as soon as any of its users has said so, and then outlives
    /// all of them, however they end.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.request.persistent = persistent;
        self
    }

    /// The largest count it may have, so that releasing too many is an error. It counts for who makes a robust semaphore,
    /// or resets it by [`AccessMode::Create`], and who makes a Windows one; who opens one takes it as it is. System V and POSIX semaphores have only
    /// the maximum of their type ([`Capabilities::max_permits`](crate::Capabilities::max_permits)); any other is
    /// [`Unsupported`](crate::ErrorKind::Unsupported).
    pub fn max_permits(mut self, permits: u32) -> Self {
        self.request.max_permits = Some(permits);
        self
    }

    /// The native key that it is opened by.
    ///
    /// # Errors
    /// [`KeyError`](crate::ErrorKind::KeyError) if the name is empty, the platform lacks the type, or a native key is not of the
    /// type asked for.
    pub fn native_key(&self) -> Result<NativeIpcKey> {
        self.key.clone().resolve(self.key_type)
    }
}
