//! One error for everything: what was tried, on which key, why it failed and what to do next.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The outcome of an operation on a semaphore.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in one word.
///
/// The first six are those of Qt's `QSystemSemaphore::SystemSemaphoreError` and mean what they mean there
/// (`Unknown` is Qt's `UnknownError`); the others say what Qt's class cannot.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The semaphore belongs to another user, who has not allowed it.
    PermissionDenied,
    /// The key cannot name a semaphore: it is empty, too long, malformed, of a type this platform lacks, or its key
    /// file cannot be made (for lack of rights to the directory, too; that is Qt's choice).
    KeyError,
    /// A semaphore of that name is there, and [`AccessMode::CreateNew`](crate::AccessMode::CreateNew) was asked.
    AlreadyExists,
    /// There is no such semaphore, or it was removed while in use.
    NotFound,
    /// A limit was met: the largest count, the number of semaphores, memory, descriptors.
    OutOfResources,
    /// The operating system gave a reason that has no kind of its own; the message carries it.
    Unknown,
    /// The deadline passed first; nothing was acquired. Or an open had to wait too long for another process, which the
    /// message names.
    TimedOut,
    /// A `try_` call would have had to wait. Nothing was acquired.
    NoPermits,
    /// This type of key cannot do that; see [`Capabilities`](crate::Capabilities).
    Unsupported,
    /// What stands under that name is not a usable semaphore.
    Corrupt,
    /// The caller's own hook ended the wait; see
    /// [`acquire_interruptible`](crate::SystemSemaphore::acquire_interruptible). Nothing was acquired.
    Interrupted,
}

/// Why an operation failed.
///
/// [`kind`](Self::kind) is for programs, the [`Display`](fmt::Display) text for people: it names the
/// operation, the key, the reason and, where there is something to do, what to do.
///
/// ```
/// use system_semaphore::{ErrorKind, SystemSemaphore};
///
/// let error = SystemSemaphore::open("", 3).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::KeyError);
/// assert!(error.to_string().contains("the key is empty"));
/// ```
#[derive(Clone)]
pub struct Error(Box<Context>);

#[derive(Clone)]
struct Context {
    action: Cow<'static, str>,
    key: Arc<str>,
    cause: Cause,
}

impl Error {
    pub(crate) fn new(action: impl Into<Cow<'static, str>>, key: impl Into<Arc<str>>, cause: Cause) -> Self {
        Self(Box::new(Context { action: action.into(), key: key.into(), cause }))
    }

    /// What went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.cause.kind
    }

    /// The text of the key the operation was tried on, as [`NativeIpcKey`](crate::NativeIpcKey)'s text form where
    /// there is one. (For a permit: the key by which its process first opened the semaphore.)
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// The operating system's error number, where it gave one (`errno` on Unix).
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.cause.os
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context { action, key, cause } = &*self.0;
        write!(f, "cannot {action} {key:?}: {cause}")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.kind())
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            ErrorKind::PermissionDenied => Io::PermissionDenied,
            ErrorKind::KeyError => Io::InvalidInput,
            ErrorKind::AlreadyExists => Io::AlreadyExists,
            ErrorKind::NotFound => Io::NotFound,
            ErrorKind::OutOfResources => Io::QuotaExceeded,
            ErrorKind::Unknown => Io::Other,
            ErrorKind::TimedOut => Io::TimedOut,
            ErrorKind::NoPermits => Io::WouldBlock,
            ErrorKind::Unsupported => Io::Unsupported,
            ErrorKind::Corrupt => Io::InvalidData,
            ErrorKind::Interrupted => Io::Interrupted,
        };
        Self::new(kind, error)
    }
}

/// The part of an error that a backend knows: the reason. The layer above adds the action and the key.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) kind: ErrorKind,
    pub(crate) os: Option<i32>,
    reason: Cow<'static, str>,
}

impl Cause {
    pub(crate) fn new(kind: ErrorKind, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, os: None, reason: reason.into() }
    }

    pub(crate) fn unsupported(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, reason)
    }

    /// Puts the thing that the reason is about in front of it.
    #[cfg(target_os = "linux")]
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        self.reason = format!("{what}: {}", self.reason).into();
        self
    }

    /// Adds the error number of the operating system, if there is one.
    pub(crate) fn with_os(mut self, number: Option<i32>) -> Self {
        self.os = number;
        self
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match self.os {
            // std's text ends in "(os error 43)"
            Some(number) => write!(f, " [{}]", std::io::Error::from_raw_os_error(number)),
            None => Ok(()),
        }
    }
}
