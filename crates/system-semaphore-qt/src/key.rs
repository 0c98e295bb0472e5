//! `QNativeIpcKey`: a native key that may be invalid.

use system_semaphore::{KeyType, NativeIpcKey};

/// Qt's `QNativeIpcKey`: a type, a native key, and the plain name that it was made from, if it was.
///
/// Unlike [`NativeIpcKey`], it can be of no type, as one is that was read from a text that is no key.
///
/// ```
/// use system_semaphore_qt::QNativeIpcKey;
///
/// let key = QNativeIpcKey::from_text("posix:/printer");
/// assert_eq!((key.type_number(), key.native_key()), (256, "/printer"));
/// assert!(!QNativeIpcKey::from_text("printer").is_valid());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QNativeIpcKey {
    number: u16,
    native: String,
    legacy: String,
}

impl QNativeIpcKey {
    /// A key of this type, by its number.
    pub fn new(native_key: impl Into<String>, type_number: u16) -> Self {
        Self { number: type_number, native: native_key.into(), legacy: String::new() }
    }

    /// The number of the default type: `QNativeIpcKey::DefaultTypeForOs`.
    #[must_use]
    pub fn default_type() -> u16 {
        NativeIpcKey::default_type().number()
    }

    /// The number of the type that plain names have: `QNativeIpcKey::legacyDefaultTypeForOs()`.
    #[must_use]
    pub fn legacy_default_type() -> u16 {
        NativeIpcKey::legacy_default_type().number()
    }

    /// `QSystemSemaphore::platformSafeKey`.
    #[must_use]
    pub fn platform_safe(name: &str, type_number: u16) -> Self {
        Self::derived(type_number, |key_type| system_semaphore::platform_safe_key(name, key_type))
    }

    /// `QSystemSemaphore::legacyNativeKey`.
    #[must_use]
    pub fn legacy(name: &str, type_number: u16) -> Self {
        Self::derived(type_number, |key_type| system_semaphore::legacy_native_key(name, key_type))
    }

    fn derived(number: u16, derive: impl FnOnce(KeyType) -> NativeIpcKey) -> Self {
        KeyType::from_number(number)
            .map_or_else(|_| Self::new("", number), |key_type| derive(key_type).into())
    }

    /// `fromString`: invalid if the text is none of a key.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        text.parse::<NativeIpcKey>().map_or_else(|_| Self::new("", 0), Self::from)
    }

    /// `toString`: empty for a key of no type.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_native().map_or_else(String::new, |key| key.to_string())
    }

    /// `isValid`: whether it has a type.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.number != 0
    }

    /// `isEmpty`: whether the native key is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.native.is_empty()
    }

    /// `type`, as its number.
    #[must_use]
    pub fn type_number(&self) -> u16 {
        self.number
    }

    /// `setType`. A key that was made from a plain name keeps its type, as in Qt: its native key was made for it.
    pub fn set_type(&mut self, type_number: u16) {
        if self.legacy.is_empty() {
            self.number = type_number;
        }
    }

    /// `nativeKey`.
    #[must_use]
    pub fn native_key(&self) -> &str {
        &self.native
    }

    /// `setNativeKey`: also forgets the plain name.
    pub fn set_native_key(&mut self, native_key: impl Into<String>) {
        self.native = native_key.into();
        self.legacy.clear();
    }

    /// The plain name that it was made from, or nothing.
    #[must_use]
    pub fn legacy_key(&self) -> &str {
        &self.legacy
    }

    /// The type, if it is one.
    pub(crate) fn key_type(&self) -> Option<KeyType> {
        KeyType::from_number(self.number).ok()
    }

    /// The library's key; `None` for one of no type.
    #[must_use]
    pub fn to_native(&self) -> Option<NativeIpcKey> {
        let key_type = self.key_type()?;
        if !self.legacy.is_empty() {
            let derived = system_semaphore::legacy_native_key(&self.legacy, key_type);
            if derived.native_key() == self.native {
                return Some(derived);
            }
        }
        Some(NativeIpcKey::new(self.native.as_str(), key_type))
    }
}

impl From<NativeIpcKey> for QNativeIpcKey {
    fn from(key: NativeIpcKey) -> Self {
        Self {
            number: key.key_type().number(),
            native: key.native_key().to_owned(),
            legacy: key.legacy_key().unwrap_or("").to_owned(),
        }
    }
}

/// An empty key of the default type.
impl Default for QNativeIpcKey {
    fn default() -> Self {
        Self::new("", Self::default_type())
    }
}
