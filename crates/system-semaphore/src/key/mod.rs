//! Names: what a semaphore is called, here and by strangers.
//!
//! [`NativeIpcKey`] is the exact name in the operating system, with its type; [`text`] is its text form, both
//! ways; [`derive`](self::Environment) turns a plain name into a native one, as Qt does, as a pure function of the
//! name, the type and an [`Environment`].

mod derive;
mod environment;
mod text;

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Fault, Result};
pub use environment::{Directory, Environment, Facility, Platform};

/// Which kind of operating-system object a key names.
///
/// The numbers and the text forms are Qt's (`QNativeIpcKey::Type`), but for those of [`Robust`](Self::Robust), which
/// Qt does not know.
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
    /// and the [best type](NativeIpcKey::best_type) there.
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
                Error::new("use the key type", number.to_string(), Fault::new(ErrorKind::KeyError, reason))
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

/// The exact name of a semaphore in the operating system: a type, a native name and, for keys derived the old
/// way, the name they were derived from. Qt's `QNativeIpcKey`.
///
/// The text form ([`Display`](fmt::Display) and [`FromStr`]) is Qt's, `type:native?legacyKey=name`, and goes
/// both ways for any content: `robust:market`, `posix:/market`.
///
/// ```
/// use system_semaphore::{KeyType, NativeIpcKey};
///
/// let key: NativeIpcKey = "posix:/printer".parse()?;
/// assert_eq!(key, NativeIpcKey::new("/printer", KeyType::Posix));
/// assert_eq!(key.native_key(), "/printer");
/// assert_eq!(key.to_string(), "posix:/printer");
/// # Ok::<(), system_semaphore::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NativeIpcKey {
    key_type: KeyType,
    native: String,
    legacy: String,
}

impl NativeIpcKey {
    /// A key of this type and native name, taken as it is: nothing is checked before the key is used.
    pub fn new(native_key: impl Into<String>, key_type: KeyType) -> Self {
        Self { key_type, native: native_key.into(), legacy: String::new() }
    }

    /// The type that a plain name means in this library: robust on Linux, Windows on Windows, POSIX where System V is
    /// forbidden, System V elsewhere.
    ///
    /// ```
    /// use system_semaphore::{KeyType, NativeIpcKey};
    ///
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(NativeIpcKey::best_type(), KeyType::Robust);
    /// ```
    #[must_use]
    pub fn best_type() -> KeyType {
        Platform::current().best_type()
    }

    /// The type that a native name has in Qt when nothing else is said: Windows on Windows, POSIX elsewhere.
    #[must_use]
    pub fn default_type() -> KeyType {
        Platform::current().default_type()
    }

    /// The type that programs from before native keys use, and plain names in Qt's class with them: Windows on
    /// Windows, POSIX where System V is forbidden, System V elsewhere.
    #[must_use]
    pub fn legacy_default_type() -> KeyType {
        Platform::current().legacy_default_type()
    }

    /// The type.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The name that the operating system is asked for.
    #[must_use]
    pub fn native_key(&self) -> &str {
        &self.native
    }

    /// The plain name that this key was derived from by
    /// [`legacy_native_key`](crate::legacy_native_key); it takes part in `==` and in the text form.
    #[must_use]
    pub fn legacy_key(&self) -> Option<&str> {
        (!self.legacy.is_empty()).then_some(self.legacy.as_str())
    }

    /// Whether the native name is empty: such a key names no semaphore.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.native.is_empty()
    }

    /// Changes the native name. The memory of a plain name goes with the old one.
    pub fn set_native_key(&mut self, native_key: impl Into<String>) {
        self.native = native_key.into();
        self.legacy.clear();
    }

    /// Changes the type, keeping the native name.
    ///
    /// # Errors
    /// [`KeyError`](ErrorKind::KeyError) for a key with a [`legacy_key`](Self::legacy_key): its native name was
    /// derived for the type it has, so derive a new one instead. (Qt ignores the call in silence.)
    pub fn set_type(&mut self, key_type: KeyType) -> Result<()> {
        if self.legacy_key().is_some() && key_type != self.key_type {
            let reason = format!(
                "it was derived for the type {} from {:?}; derive the key for the type {key_type} anew",
                self.key_type, self.legacy
            );
            let fault = Fault::new(ErrorKind::KeyError, reason);
            return Err(Error::new("change the type of the key", self.to_string(), fault));
        }
        self.key_type = key_type;
        Ok(())
    }
}

/// An empty key of the [default type](NativeIpcKey::default_type).
impl Default for NativeIpcKey {
    fn default() -> Self {
        Self::new("", Self::default_type())
    }
}

impl NativeIpcKey {
    /// Its text form, as [`to_string`](ToString::to_string) makes it, but sooner.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.native.len() + self.legacy.len() + 32);
        text::write(self, &mut text).expect("a string takes all");
        text
    }
}

impl fmt::Display for NativeIpcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

impl FromStr for NativeIpcKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text::parse(text).map_err(|reason| {
            Error::new("read the key text", text, Fault::new(ErrorKind::KeyError, reason.to_string()))
        })
    }
}

/// What a user may name a semaphore by: a plain name, or the exact [`NativeIpcKey`].
///
/// Everything that takes a key takes `impl Into<Key>`, so strings and native keys can be passed as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A plain name: any text. It becomes the [legacy key](crate::legacy_native_key) of the type that
    /// [`Builder::key_type`](crate::Builder::key_type) says, else of the platform's
    /// [best type](NativeIpcKey::best_type). The semaphore that `QSystemSemaphore(name)` means is that of the type
    /// [`NativeIpcKey::legacy_default_type`].
    Name(String),
    /// A native key, used as it is.
    Native(NativeIpcKey),
}

impl Key {
    /// The native key that this means here and now, of `wanted` type if a plain name may choose.
    pub(crate) fn resolve(self, wanted: Option<KeyType>) -> Result<NativeIpcKey> {
        match self {
            Self::Name(name) => {
                let key_type = wanted.unwrap_or_else(NativeIpcKey::best_type);
                let key = legacy_native_key(&name, key_type);
                if key.is_empty() {
                    let reason = if Platform::current().has_type(key_type) {
                        "the key is empty; give the semaphore a name".into()
                    } else {
                        format!("keys of type {key_type} are not supported on this platform")
                    };
                    return Err(Error::new("name", name, Fault::new(ErrorKind::KeyError, reason)));
                }
                Ok(key)
            }
            Self::Native(key) => match wanted {
                Some(wanted) if wanted != key.key_type => {
                    let reason =
                        format!("the key is of type {}, but the type {wanted} was asked for", key.key_type);
                    Err(Error::new("use", key.to_string(), Fault::new(ErrorKind::KeyError, reason)))
                }
                _ => Ok(key),
            },
        }
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<&String> for Key {
    fn from(name: &String) -> Self {
        Self::Name(name.clone())
    }
}

impl From<String> for Key {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<NativeIpcKey> for Key {
    fn from(key: NativeIpcKey) -> Self {
        Self::Native(key)
    }
}

impl From<&NativeIpcKey> for Key {
    fn from(key: &NativeIpcKey) -> Self {
        Self::Native(key.clone())
    }
}

/// The native key of this type that suits the platform and keeps the name readable, on Qt's types exactly as its
/// `QSystemSemaphore::platformSafeKey` makes it.
///
/// - Robust: the name itself. A `Local\` in front goes, as it only says aloud that the name is the user's own; but
///   not one that a second `Local\` or a `Global\` follows, which would then count.
/// - POSIX: `"/" + name` (on Apple the first 29 UTF-16 units of the name).
/// - System V: the name itself if it begins with `/`, else a file of that name in the user's runtime directory,
///   which is created (mode 0700) if need be, as Qt does.
/// - Windows: `sem_` + name, behind `Local\` or `Global\` if the name begins with one.
///
/// Nothing else is changed or checked, so a `/` inside a POSIX name fails when the key is used. The native name
/// is empty when the name is, and for types the platform lacks.
///
/// ```
/// use system_semaphore::{KeyType, platform_safe_key};
///
/// # #[cfg(target_os = "linux")]
/// assert_eq!(platform_safe_key("printer", KeyType::Posix).native_key(), "/printer");
/// # #[cfg(target_os = "linux")]
/// assert_eq!(platform_safe_key(r"Local\printer", KeyType::Robust).to_string(), "robust:printer");
/// ```
#[must_use]
pub fn platform_safe_key(name: &str, key_type: KeyType) -> NativeIpcKey {
    Environment::current().platform_safe_key(name, key_type)
}

/// The native key of this type that programs from Qt 4.4 on have used for a plain name, on Qt's types exactly as its
/// `QSystemSemaphore::legacyNativeKey` makes it: letters of the name and its SHA-1, so any name will do. This is
/// what a plain name means in this library, too, where that type is asked for.
///
/// Robust keys have the native name that [`platform_safe_key`] gives. System V keys are files in the temporary
/// directory (`TMPDIR`, else `/tmp`): processes with different ones do not share. The native name is empty when
/// the name is, and for types the platform lacks.
///
/// ```
/// use system_semaphore::{KeyType, legacy_native_key};
///
/// let key = legacy_native_key("printer", KeyType::Posix);
/// # #[cfg(target_os = "linux")]
/// assert_eq!(key.native_key(), "/qipc_systemsem_printer3d3221b2db3115d65e938a1c497f209256c6185f");
/// assert_eq!(key.legacy_key(), Some("printer"));
/// # #[cfg(target_os = "linux")]
/// assert_eq!(legacy_native_key("printer", KeyType::Robust).to_string(), "robust:printer?legacyKey=printer");
/// ```
#[must_use]
pub fn legacy_native_key(name: &str, key_type: KeyType) -> NativeIpcKey {
    let environment = match key_type {
        KeyType::SystemV(_) => Environment::current(),
        // no other type's depends on more than the platform, and what is more takes time to find out
        _ => Environment::of(Platform::current()),
    };
    environment.legacy_native_key(name, key_type)
}
