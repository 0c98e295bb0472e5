//! From a plain name to a native key, as Qt derives it, and for the robust type by a rule of our own. Pure
//! functions of the name, the type and the [`Environment`].

use sha1::{Digest, Sha1};

use super::environment::{Directory, Environment, Facility, Platform};
use super::key_type::KeyType;
use super::native::NativeIpcKey;

/// The longest POSIX semaphore name on Apple's systems, without its slash.
const APPLE_NAME_UNITS: usize = 29;
/// Windows' `MAX_PATH`, where Qt cuts names.
const WINDOWS_NAME_UNITS: usize = 260;
/// In front of names of this user (on Windows: of this session) alone.
const LOCAL: &str = "Local\\";
/// In front of names of all users.
const GLOBAL: &str = "Global\\";

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

impl Environment<'_> {
    /// [`legacy_native_key`] in this environment.
    #[must_use]
    pub fn legacy_native_key(&self, name: &str, key_type: KeyType) -> NativeIpcKey {
        if name.is_empty() || !self.platform.has_type(key_type) {
            return NativeIpcKey::new("", key_type);
        }
        let hash = || hexadecimal(&Sha1::digest(name));
        let base = || {
            let letters: String = name.chars().filter(char::is_ascii_alphabetic).collect();
            format!("{}{letters}{}", self.facility.legacy_prefix(), hash())
        };
        let native = match (key_type, self.platform) {
            (KeyType::Robust, _) => robust_name(name).to_owned(),
            (KeyType::Windows, _) => base(),
            (KeyType::Posix, Platform::Apple { sandboxed: true }) => name.to_owned(),
            (KeyType::Posix, Platform::Apple { sandboxed: false }) => {
                format!("/{}", &hash()[..APPLE_NAME_UNITS])
            }
            (KeyType::Posix, _) => format!("/{}", base()),
            (KeyType::SystemV(_), _) => format!("{}/{}", self.temp_location(), base()),
        };
        let legacy = if native.is_empty() { "" } else { name };
        NativeIpcKey { legacy: legacy.to_owned(), ..NativeIpcKey::new(native, key_type) }
    }

    /// [`platform_safe_key`] in this environment.
    #[must_use]
    pub fn platform_safe_key(&self, name: &str, key_type: KeyType) -> NativeIpcKey {
        if name.is_empty() || !self.platform.has_type(key_type) {
            return NativeIpcKey::new("", key_type);
        }
        let native = match (key_type, self.platform) {
            (KeyType::Robust, _) => robust_name(name).to_owned(),
            (KeyType::Windows, _) => first_utf16_units(&self.windows_name(name), WINDOWS_NAME_UNITS),
            (KeyType::Posix, Platform::Apple { .. }) => {
                format!("/{}", first_utf16_units(name, APPLE_NAME_UNITS))
            }
            (KeyType::Posix, _) => format!("/{name}"),
            (KeyType::SystemV(_), _) if name.starts_with('/') => name.to_owned(),
            (KeyType::SystemV(_), _) => format!("{}/{name}", self.runtime_location()),
        };
        NativeIpcKey::new(native, key_type)
    }

    fn windows_name(&self, name: &str) -> String {
        let namespace = [LOCAL, GLOBAL].into_iter().find(|&prefix| name.starts_with(prefix));
        let (namespace, rest) = name.split_at(namespace.map_or(0, str::len));
        format!("{namespace}{}{rest}", self.facility.windows_prefix())
    }

    /// Where temporary files go: Qt's `QStandardPaths::TempLocation`.
    #[must_use]
    pub fn temp_location(&self) -> String {
        let path = self.temp_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(&self.default_temp_dir);
        let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
        let absolute = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.current_dir.trim_end_matches('/'))
        };
        let mut clean = clean_path(&absolute);
        // what was a directory's spelling stays one
        if absolute.len() > 1 && absolute.ends_with('/') {
            clean.push('/');
        }
        clean
    }

    /// Where a user's sockets and key files go: Qt's `QStandardPaths::RuntimeLocation`. Empty if there is no
    /// acceptable directory, and then System V keys land in the root directory, as in Qt.
    #[must_use]
    pub fn runtime_location(&self) -> String {
        if matches!(self.platform, Platform::Apple { .. }) {
            return format!("{}/Library/Application Support", self.home_dir);
        }
        let is_acceptable = |path: &str| {
            matches!(
                (self.directories)(path),
                Directory::Real { owned: true, mode: 0o700 } | Directory::Missing { creatable: true }
            )
        };
        if let Some(dir) = &self.runtime_dir
            && dir.starts_with('/')
            && is_acceptable(dir)
        {
            return dir.clone();
        }
        let fallback = format!("{}/runtime-{}", self.temp_location(), (self.user_name)());
        if is_acceptable(&fallback) { fallback } else { String::new() }
    }
}

impl Facility {
    fn legacy_prefix(self) -> &'static str {
        match self {
            Self::Semaphore => "qipc_systemsem_",
            Self::SharedMemory => "qipc_sharedmemory_",
        }
    }

    fn windows_prefix(self) -> &'static str {
        match self {
            Self::Semaphore => "sem_",
            Self::SharedMemory => "shm_",
        }
    }
}

/// The name without the prefix that says the default aloud, unless it keeps what is behind it from being read as a
/// prefix.
fn robust_name(name: &str) -> &str {
    let rest = name.strip_prefix(LOCAL);
    rest.filter(|rest| !rest.starts_with(LOCAL) && !rest.starts_with(GLOBAL)).unwrap_or(name)
}

/// Resolves `.`, `..` and repeated slashes of an absolute path by its text alone. A `..` that would leave the
/// root stays, as Qt has it.
fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|&last| last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

/// The first `count` UTF-16 units; half a character at the cut becomes U+FFFD.
fn first_utf16_units(text: &str, count: usize) -> String {
    let units: Vec<u16> = text.encode_utf16().take(count).collect();
    String::from_utf16_lossy(&units)
}
