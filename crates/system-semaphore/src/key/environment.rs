//! All that key derivation depends on besides the name and the type, as a value.

use super::key_type::KeyType;

/// What the native key of a plain name depends on besides the name and the type.
///
/// [`current`](Self::current) describes this process; any other environment can be described to see what a name
/// becomes there, which touches nothing on this machine.
///
/// ```
/// use system_semaphore::{Environment, KeyType, Platform};
///
/// let windows = Environment::of(Platform::Windows);
/// assert_eq!(windows.platform_safe_key(r"Global\printer", KeyType::Windows).native_key(), r"Global\sem_printer");
/// ```
#[non_exhaustive]
pub struct Environment<'a> {
    /// The rules to follow.
    pub platform: Platform,
    /// Which of Qt's two classes the name is for.
    pub facility: Facility,
    /// The variable `TMPDIR`.
    pub temp_dir: Option<String>,
    /// Where temporary files go without it.
    pub default_temp_dir: String,
    /// The variable `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<String>,
    /// The working directory, which a relative `TMPDIR` is taken from.
    pub current_dir: String,
    /// Asks for the user's name in the user database (the variable `USER` does not count), which may be slow, and is
    /// needed only where `XDG_RUNTIME_DIR` will not do.
    pub user_name: Box<dyn Fn() -> String + 'a>,
    /// The user's home directory, which counts on Apple's systems.
    pub home_dir: String,
    /// What stands at a path. It is asked only about the directories that the answer depends on.
    pub directories: Box<dyn Fn(&str) -> Directory + 'a>,
}

impl Environment<'_> {
    /// An environment of this platform with no variables set, in the root directory, for the user `user`, in
    /// which every directory can be created.
    #[must_use]
    pub fn of(platform: Platform) -> Self {
        Self {
            platform,
            facility: Facility::Semaphore,
            temp_dir: None,
            default_temp_dir: "/tmp".into(),
            runtime_dir: None,
            current_dir: "/".into(),
            user_name: Box::new(|| "user".into()),
            home_dir: "/home/user".into(),
            directories: Box::new(|_| Directory::Missing { creatable: true }),
        }
    }

    /// The environment of this process.
    ///
    /// Asking it for the runtime location creates that directory (mode 0700) if it is missing, as Qt does.
    #[must_use]
    pub fn current() -> Self {
        #[cfg(unix)]
        return unix::current();
        #[cfg(not(unix))]
        Self::of(Platform::current())
    }

    /// The same, but a directory that is missing stays so, and is none that can be used.
    #[cfg(target_os = "linux")]
    pub(crate) fn current_readonly() -> Self {
        Environment { directories: Box::new(unix::stat), ..Self::current() }
    }
}

/// Whose rules are followed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Linux: all that [`Unix`](Self::Unix) has, and robust semaphores.
    Linux,
    /// The BSDs and other Unix systems with System V and POSIX semaphores.
    Unix,
    /// macOS and its relatives. Sandboxed ones (always, but for macOS) have no System V semaphores.
    Apple {
        /// Whether the program has the App Sandbox entitlement.
        sandboxed: bool,
    },
    /// QNX: POSIX semaphores only.
    Qnx,
    /// Windows.
    Windows,
    /// Systems on which Qt has no semaphore, such as Android.
    Other,
}

impl Platform {
    /// The platform that this program runs on. On macOS the sandbox, which forbids System V semaphores, is known by the
    /// variable `APP_SANDBOX_CONTAINER_ID`, which the system sets in it.
    #[must_use]
    pub fn current() -> Self {
        if cfg!(target_os = "macos") {
            Self::Apple { sandboxed: std::env::var_os("APP_SANDBOX_CONTAINER_ID").is_some() }
        } else if cfg!(target_vendor = "apple") {
            Self::Apple { sandboxed: true }
        } else if cfg!(target_os = "nto") {
            Self::Qnx
        } else if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "linux") {
            Self::Linux
        } else if cfg!(all(unix, not(target_os = "android"))) {
            Self::Unix
        } else {
            Self::Other
        }
    }

    /// Whether keys of this type exist on the platform at all.
    #[must_use]
    pub fn has_type(self, key_type: KeyType) -> bool {
        match key_type {
            KeyType::Robust => self == Self::Linux,
            KeyType::SystemV(_) => matches!(self, Self::Linux | Self::Unix | Self::Apple { .. }),
            KeyType::Posix => matches!(self, Self::Linux | Self::Unix | Self::Apple { .. } | Self::Qnx),
            KeyType::Windows => self == Self::Windows,
        }
    }

    /// See [`NativeIpcKey::best_type`](crate::NativeIpcKey::best_type).
    ///
    /// ```
    /// use system_semaphore::{KeyType, Platform};
    ///
    /// assert_eq!(Platform::Linux.best_type(), KeyType::Robust);
    /// assert_eq!(Platform::Unix.best_type(), KeyType::SYSTEM_V);
    /// assert_eq!(Platform::Windows.best_type(), KeyType::Windows);
    /// ```
    #[must_use]
    pub fn best_type(self) -> KeyType {
        if self == Self::Linux { KeyType::Robust } else { self.legacy_default_type() }
    }

    /// See [`NativeIpcKey::default_type`](crate::NativeIpcKey::default_type).
    #[must_use]
    pub fn default_type(self) -> KeyType {
        if self == Self::Windows { KeyType::Windows } else { KeyType::Posix }
    }

    /// See [`NativeIpcKey::legacy_default_type`](crate::NativeIpcKey::legacy_default_type).
    #[must_use]
    pub fn legacy_default_type(self) -> KeyType {
        match self {
            Self::Windows => KeyType::Windows,
            Self::Qnx | Self::Apple { sandboxed: true } => KeyType::Posix,
            _ => KeyType::SYSTEM_V,
        }
    }
}

/// Which of Qt's classes a name is derived for. A `QSharedMemory` is guarded by the semaphore of the same name;
/// on the older key types the segment itself has another prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Facility {
    /// `QSystemSemaphore`.
    #[default]
    Semaphore,
    /// `QSharedMemory`.
    SharedMemory,
}

/// What stands at a path that might serve as the runtime directory. Symbolic links are not followed, but for one with
/// a slash behind it, as the system has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Directory {
    /// A directory.
    Real {
        /// Whether it belongs to the effective user.
        owned: bool,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else: a file, a symbolic link.
    NoDirectory,
    /// Nothing.
    Missing {
        /// Whether the directory could be created.
        creatable: bool,
    },
}

#[cfg(unix)]
mod unix {
    use std::fs::{DirBuilder, symlink_metadata};
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};

    use super::{Directory, Environment, Platform};
    use crate::sys::user;

    pub(super) fn current() -> Environment<'static> {
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        Environment {
            temp_dir: variable("TMPDIR"),
            default_temp_dir: match Platform::current() {
                // without TMPDIR this asks the system for the user's own directory
                Platform::Apple { .. } => text(std::env::temp_dir()),
                _ => "/tmp".into(),
            },
            runtime_dir: variable("XDG_RUNTIME_DIR"),
            current_dir: std::env::current_dir().map_or_else(|_| "/".into(), text),
            user_name: Box::new(user::name),
            home_dir: match Platform::current() {
                Platform::Apple { .. } => std::env::home_dir().map_or_else(String::new, text),
                _ => String::new(),
            },
            directories: Box::new(create_or_stat),
            ..Environment::of(Platform::current())
        }
    }

    /// Creates the directory if nothing stands there, and tells what does.
    fn create_or_stat(path: &str) -> Directory {
        // `stat` reports a directory that exists already
        let _ = DirBuilder::new().mode(0o700).create(path);
        stat(path)
    }

    /// What stands there.
    pub(super) fn stat(path: &str) -> Directory {
        match symlink_metadata(path) {
            Ok(data) if data.is_dir() => {
                Directory::Real { owned: data.uid() == user::effective_id(), mode: data.mode() & 0o7777 }
            }
            Ok(_) => Directory::NoDirectory,
            Err(_) => Directory::Missing { creatable: false },
        }
    }
}
