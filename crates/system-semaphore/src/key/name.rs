//! [`Key`]: the name that a user gives, plain or native.

use super::derive::legacy_native_key;
use super::environment::Platform;
use super::key_type::KeyType;
use super::native::NativeIpcKey;
use crate::error::{Cause, Error, ErrorKind, Result};

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
                    return Err(Error::new("name", name, Cause::new(ErrorKind::KeyError, reason)));
                }
                Ok(key)
            }
            Self::Native(key) => match wanted {
                Some(wanted) if wanted != key.key_type => {
                    let reason =
                        format!("the key is of type {}, but the type {wanted} was asked for", key.key_type);
                    Err(Error::new("use", key.to_string(), Cause::new(ErrorKind::KeyError, reason)))
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
