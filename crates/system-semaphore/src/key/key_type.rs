//! [`KeyType`]: the types of semaphores that a key can name.

use std::fmt;
use std::num::NonZeroU8;

use crate::error::{Cause, Error, ErrorKind, Result};

/// Which kind of operating-system object a key names.
///
/// The numbers and the text forms are Qt's (`QNativeIpcKey::Type`), except those of
/// [`Robust`](Self::Robust), which Qt does not know.
///
/// ```
/// use system_semaphore::KeyType;
///
/// assert_eq!(KeyType::Robust.to_string(), "robust");
/// assert_eq!(KeyType::SYSTEM_V.number(), 81);
/// assert_eq!(KeyType::from_number(256)?, KeyType::Posix);
/// assert_eq!(KeyType::from_number(84)?.to_string(), "systemv-84");
/// assert!(KeyType::from_number(0).is_err());
/// # Ok::<(), system_semaphore::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// A crash-safe semaphore of this library in shared memory; the native name is the name itself. Linux only,
    /// and the [best type](crate::NativeIpcKey::best_type) there.
    ///
    /// The semaphore belongs to the user; one whose name begins with `Global\` is for all users.
    Robust,
    /// A System V semaphore set; the native name is the path of the key file that `ftok` is asked about.
    SystemV(ProjectId),
    /// A POSIX named semaphore; the native name is what `sem_open` takes.
    Posix,
    /// A Windows kernel object; the native name is what `CreateSemaphoreW` takes.
    Windows,
}

impl KeyType {
    /// System V with the project id that Qt uses, `'Q'`.
    pub const SYSTEM_V: Self = Self::SystemV(ProjectId::QT);

    const POSIX_NUMBER: u16 = 0x100;
    const WINDOWS_NUMBER: u16 = 0x101;
    const ROBUST_NUMBER: u16 = 0x200;

    /// Qt's number for this type: 1 to 255 for System V (its project id), 256 POSIX, 257 Windows. And ours: 512
    /// robust.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Robust => Self::ROBUST_NUMBER,
            Self::SystemV(project) => u16::from(project.get()),
            Self::Posix => Self::POSIX_NUMBER,
            Self::Windows => Self::WINDOWS_NUMBER,
        }
    }

    /// The type with this number.
    ///
    /// # Errors
    /// [`KeyError`](ErrorKind::KeyError) for a number that is no type. (Qt takes 0 and everything from 258 on
    /// for System V, 512 too.)
    pub fn from_number(number: u16) -> Result<Self> {
        match number {
            Self::ROBUST_NUMBER => Ok(Self::Robust),
            Self::POSIX_NUMBER => Ok(Self::Posix),
            Self::WINDOWS_NUMBER => Ok(Self::Windows),
            _ => u8::try_from(number).ok().and_then(ProjectId::new).map(Self::SystemV).ok_or_else(|| {
                let reason = "key types are 1 to 255 (System V), 256 (POSIX), 257 (Windows) and 512 (robust)";
                Error::new("use the key type", number.to_string(), Cause::new(ErrorKind::KeyError, reason))
            }),
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Robust => f.write_str("robust"),
            Self::SystemV(ProjectId::QT) => f.write_str("systemv"),
            Self::SystemV(project) => write!(f, "systemv-{}", project.get()),
            Self::Posix => f.write_str("posix"),
            Self::Windows => f.write_str("windows"),
        }
    }
}

/// The project id of a System V key, 1 to 255: `ftok` mixes it with the key file's device and inode, so that
/// several semaphores can stand on one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId(NonZeroU8);

impl ProjectId {
    /// `'Q'`, 81: the one that Qt uses.
    pub const QT: Self = Self(NonZeroU8::new(b'Q').expect("'Q' is not 0"));

    /// `None` for 0, which is no project id.
    #[must_use]
    pub const fn new(id: u8) -> Option<Self> {
        match NonZeroU8::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number, 1 to 255.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}
