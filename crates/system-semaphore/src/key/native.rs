//! [`NativeIpcKey`]: the exact name of a semaphore in the operating system, with its type.

use super::environment::Platform;
use super::key_type::KeyType;
use crate::error::{Cause, Error, ErrorKind, Result};

/// The exact name of a semaphore in the operating system: a type, a native name and, for keys derived the old
/// way, the name they were derived from. Qt's `QNativeIpcKey`.
///
/// The text form ([`Display`](std::fmt::Display) and [`FromStr`](std::str::FromStr)) is Qt's, `type:native?legacyKey=name`, and goes
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
    pub(super) key_type: KeyType,
    pub(super) native: String,
    pub(super) legacy: String,
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
            let cause = Cause::new(ErrorKind::KeyError, reason);
            return Err(Error::new("change the type of the key", self.to_string(), cause));
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
