//! The path of a semaphore's file.
//!
//! A name belongs to a user. Its file is in a directory of mode 0700 that the user owns, so that no
//! other user can take the name or read it. A name `Global\name` belongs to all users, and its file
//! is in the shared directory itself. Any text is a name: a special character becomes `%` and two
//! digits in the file name. If that is too long, the file name is a hash of the name, and the file
//! contains the name.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, chmod, mkdirat, openat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};
use sha1::{Digest, Sha1};

use crate::backend::robust::algorithm::layout::MAX_NAME;
use crate::backend::robust::error::EngineError;
use crate::backend::robust::platform::{Location, Object, is_side_file};
use crate::error::{Cause, ErrorKind};
use crate::sys::user;

/// Maximum length of a file name that is not a hash, in bytes.
const MAX_FILE_NAME: usize = 200;

/// Directory of the files. [`WITHOUT_SHARED_MEMORY`] replaces it if it does not exist. Neither
/// depends on the environment: all processes must use the same one.
const SHARED_MEMORY: &str = "/dev/shm";
const WITHOUT_SHARED_MEMORY: &str = "/tmp";

/// Prefix of the file name of a name that belongs to all users.
const GLOBAL_PREFIX: &str = "system-semaphore.";
/// Prefix of a user's directory. The user id follows it.
const DIRECTORY_PREFIX: &str = "system-semaphore-";

/// The path of a name's file. The file need not exist.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SemaphorePath {
    /// The directory of the file.
    directory: PathBuf,
    /// The user that the name belongs to, or `None` if it belongs to all users.
    user: Option<u32>,
    pub(crate) file: String,
    /// The name, if the file name is a hash.
    pub(crate) hashed: Option<String>,
}

impl SemaphorePath {
    pub(crate) fn of(native: &str) -> Result<Self, Cause> {
        Self::in_root(root, native)
    }

    /// Like [`of`](Self::of), but assumes that `/dev/shm` exists, which saves a `stat`.
    pub(crate) fn assuming_dev_shm(native: &str) -> Result<Self, Cause> {
        Self::in_root(|| Ok(SHARED_MEMORY), native)
    }

    fn in_root(root: impl FnOnce() -> Result<&'static str, Cause>, native: &str) -> Result<Self, Cause> {
        let bad = |reason: &str| Err(Cause::new(ErrorKind::KeyError, reason.to_owned()));
        let (is_global, name) = match native.split_once('\\') {
            Some(("Global", name)) => (true, name),
            Some(("Local", name)) => (false, name),
            _ => (false, native),
        };
        if name.is_empty() {
            return bad("the name is empty; give the semaphore a name");
        }
        if name.contains('\0') {
            return bad("the name contains a NUL character");
        }
        if name.len() > MAX_NAME {
            return bad(&format!("the name is {} bytes long; at most {MAX_NAME} are possible", name.len()));
        }
        let root = root()?;
        let encoded = encode(name);
        let (file, hashed) = if encoded.len() <= MAX_FILE_NAME {
            (encoded, None)
        } else {
            let hash: String = Sha1::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
            (format!("~{hash}"), Some(name.to_owned()))
        };
        Ok(if is_global {
            Self::new(root, None, format!("{GLOBAL_PREFIX}{file}"), hashed)
        } else {
            Self::new(root, Some(user::effective_id()), file, hashed)
        })
    }

    fn new(root: &'static str, user: Option<u32>, file: String, hashed: Option<String>) -> Self {
        let directory = match user {
            None => root.into(),
            Some(user) => format!("{root}/{DIRECTORY_PREFIX}{user}").into(),
        };
        Self { directory, user, file, hashed }
    }

    /// Lists the files of all users' names, and those in the directories of the users that `of`
    /// accepts. Files that this process may not list are missing.
    pub(crate) fn all(of: impl Fn(u32) -> bool) -> Result<Vec<Self>, Cause> {
        let root = root()?;
        let mut paths = Vec::new();
        for file in file_names(Path::new(root)) {
            if file.starts_with(GLOBAL_PREFIX) {
                paths.push(Self::new(root, None, file, None));
            } else if let Some(user) = file.strip_prefix(DIRECTORY_PREFIX).and_then(|user| user.parse().ok())
                && of(user)
            {
                let mut files = file_names(&Path::new(root).join(file));
                files.retain(|file| !is_side_file(file));
                let files = files.into_iter();
                paths.extend(files.map(|file| Self::new(root, Some(user), file, None)));
            }
        }
        Ok(paths)
    }

    /// Returns the name of the file, or `None` if the file name is a hash or is none of this
    /// library's.
    pub(crate) fn name(&self) -> Option<String> {
        let encoded = if self.is_private() { &self.file } else { self.file.strip_prefix(GLOBAL_PREFIX)? };
        decode(encoded)
    }

    /// Returns the native key of this path and a name, if this user can open it.
    pub(crate) fn native_key(&self, name: &str) -> Option<String> {
        let has_prefix = ["Global\\", "Local\\"].iter().any(|prefix| name.starts_with(prefix));
        match self.user {
            None => Some(format!("Global\\{name}")),
            Some(user) if user != user::effective_id() => None,
            Some(_) if has_prefix => Some(format!("Local\\{name}")),
            Some(_) => Some(name.to_owned()),
        }
    }

    /// Returns the user that the name belongs to, or `None` if it belongs to all users.
    pub(crate) fn user(&self) -> Option<u32> {
        self.user
    }

    fn is_private(&self) -> bool {
        self.user.is_some()
    }

    pub(crate) fn full_path(&self) -> PathBuf {
        self.directory.join(&self.file)
    }

    /// Opens the directory of the file, if it exists.
    pub(crate) fn open_directory(&self) -> Result<Option<OwnedFd>, Cause> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = &self.directory;
        let directory = match retry_on_intr(|| openat(CWD, path, flags, Mode::empty())) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(foreign_directory_error(path, "is no directory", owner(path)));
            }
            Err(errno) => return Err(path_error("open the directory", path, errno)),
        };
        if let Some(user) = self.user {
            let data = rustix::fs::fstat(&directory).map_err(EngineError::from)?;
            if data.st_uid != user {
                return Err(foreign_directory_error(path, "belongs to somebody else", Some(data.st_uid)));
            }
            if data.st_mode & 0o077 != 0 {
                return Err(foreign_directory_error(
                    path,
                    "is open to others; make its mode 0700",
                    Some(data.st_uid),
                ));
            }
        }
        Ok(Some(directory))
    }

    /// Opens the directory of the file, and creates it if it does not exist. Sets `created` if it
    /// created it. Returns `None` if the directory disappeared meanwhile.
    pub(crate) fn ensure_directory(&self, created: &mut bool) -> Result<Option<OwnedFd>, Cause> {
        let existing = self.open_directory()?;
        if existing.is_some() || !self.is_private() {
            return Ok(existing);
        }
        let is_created = match mkdirat(CWD, &self.directory, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(path_error("make the directory", &self.directory, errno)),
        };
        *created |= is_created;
        // the last user of the directory may have removed it, and another process may have created
        // a new one
        let Some(directory) = self.open_directory()? else { return Ok(None) };
        let mode = |directory| rustix::fs::fstat(directory).map(|data| Mode::from_raw_mode(data.st_mode));
        if is_created && !mode(&directory).is_ok_and(|mode| mode.contains(Mode::RWXU)) {
            // Undoes the umask. The path may name another directory now, the descriptor does not.
            let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
            let _ = chmod(path, Mode::RWXU);
        }
        Ok(Some(directory))
    }

    /// Returns the status of the file that has this path, if there is one.
    pub(crate) fn stat(&self, directory: &OwnedFd) -> Option<Stat> {
        statat(directory, &*self.file, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Unlinks the file, and removes the user's directory if it is empty.
    pub(crate) fn unlink(&self, directory: &OwnedFd) -> Result<(), Errno> {
        unlinkat(directory, &*self.file, AtFlags::empty())?;
        if self.is_private() {
            // fails as long as the directory has entries
            let _ = unlinkat(CWD, &self.directory, AtFlags::REMOVEDIR);
        }
        Ok(())
    }

    /// Removes the user's directory if it is empty.
    pub(crate) fn remove_directory_if_empty(&self) {
        if self.is_private() {
            let _ = unlinkat(CWD, &self.directory, AtFlags::REMOVEDIR);
        }
    }
}

/// Opens the file that has this path in `directory`, whatever it is.
pub(crate) fn open_in(path: &SemaphorePath, directory: &OwnedFd, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    openat(directory, &*path.file, flags, Mode::empty())
}

/// Opens the file that has this path now, whatever it is.
pub(crate) fn open_by_name(path: &SemaphorePath) -> Result<OwnedFd, Errno> {
    let directory = path.open_directory();
    // an error without a number means another user's directory, which does not contain our file
    let directory = directory.map_err(|cause| cause.os.map_or(Errno::NOENT, Errno::from_raw_os_error))?;
    let directory = directory.ok_or(Errno::NOENT)?;
    retry_on_intr(|| open_in(path, &directory, OFlags::RDWR))
}

impl Location for SemaphorePath {
    fn open(&self) -> io::Result<Object> {
        Ok(open_by_name(self)?)
    }

    fn full_path(&self) -> PathBuf {
        self.full_path()
    }

    fn remove_directory_if_empty(&self) {
        self.remove_directory_if_empty();
    }
}

fn root() -> Result<&'static str, Cause> {
    match statat(CWD, SHARED_MEMORY, AtFlags::empty()) {
        Ok(_) => Ok(SHARED_MEMORY),
        Err(Errno::NOENT) => Ok(WITHOUT_SHARED_MEMORY),
        // the directory may exist for other users, and all must use the same one
        Err(errno) => Err(path_error("look at", Path::new(SHARED_MEMORY), errno)),
    }
}

/// Returns the names of a directory's entries, or none if this process may not list it.
fn file_names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Describes a file that is not a regular one.
pub(crate) fn describe_file_type(data: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(data.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("is a directory"),
        FileType::Symlink => Some("is a symbolic link"),
        _ => Some("is no regular file"),
    }
}

fn owner(path: &Path) -> Option<u32> {
    statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok().map(|data| data.st_uid)
}

fn foreign_directory_error(path: &Path, problem: &str, owner: Option<u32>) -> Cause {
    let owner = owner.map(|owner| format!(" (its owner is user {owner})")).unwrap_or_default();
    let reason = format!(
        "{} {problem}{owner}; semaphores of this user are kept there: have it removed",
        path.display()
    );
    Cause::new(ErrorKind::PermissionDenied, reason)
}

fn path_error(action: &str, path: &Path, errno: Errno) -> Cause {
    let kind = Cause::from(EngineError::from(errno)).kind;
    Cause::new(kind, format!("cannot {action} {}", path.display())).with_os(Some(errno.raw_os_error()))
}

/// Encodes a name as a file name. Two names never have the same file name.
fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (index, character) in name.char_indices() {
        let is_plain = character.is_alphanumeric() || matches!(character, '-' | '_' | ' ' | '+' | '@' | '=');
        // "." and ".." are not file names
        if is_plain || character == '.' && index > 0 {
            encoded.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    encoded
}

/// Returns the name that [`encode`] turns into this file name, or `None` if there is none.
fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok().filter(|name| encode(name) == encoded)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn a_file_name_tells_the_name() {
        for name in ["market", "a b", "..", ".x", "x/y", "100%", "Z\u{fc}rich", "\\", "~", "%41", "\u{1}"] {
            assert_eq!(decode(&encode(name)).as_deref(), Some(name));
        }
        for no_name in ["~0123", "%", "%4", "%zz", "%+1", "%41", "%FF", "%c3%bc"] {
            assert_eq!(decode(no_name), None, "{no_name:?}");
        }
    }
}
