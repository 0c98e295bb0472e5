//! Names of a test's own for robust semaphores, and the files that belong to them.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use system_semaphore::{ErrorKind, KeyType, NativeIpcKey, SystemSemaphore};

use crate::wait_until;

/// The directory of shared memory.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// Where the files are: in shared memory, or where there is none, in `/tmp`.
#[must_use]
pub fn shared_memory() -> &'static Path {
    let usual = Path::new(SHARED_MEMORY);
    if usual.exists() { usual } else { Path::new("/tmp") }
}

/// The longest name that is the name of its file. (A longer one's file is called by its hash.)
const MAX_FILE_NAME: usize = 200;

/// The user that this process acts for.
#[must_use]
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The directory of this user's names.
#[must_use]
pub fn directory() -> PathBuf {
    directory_of(effective_uid())
}

/// The directory of a user's names.
#[must_use]
pub fn directory_of(uid: u32) -> PathBuf {
    shared_memory().join(format!("system-semaphore-{uid}"))
}

/// The path of the file of a name, as this user has it.
///
/// # Panics
/// If the name has characters that its file has not.
#[must_use]
pub fn path_of(native: &str) -> PathBuf {
    let (directory, prefix, name) = match native.strip_prefix("Global\\") {
        Some(name) => (shared_memory().to_owned(), "system-semaphore.", name),
        None => (directory(), "", native),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    assert!(name.bytes().all(is_plain), "{name:?} has characters that are written otherwise");
    let file = if name.len() > MAX_FILE_NAME { format!("~{}", hash(name)) } else { name.to_owned() };
    directory.join(format!("{prefix}{file}"))
}

fn hash(name: &str) -> String {
    Sha1::digest(name).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name that no other test has, and the file that belongs to it. The file need not exist.
#[derive(Debug)]
pub struct TestFile {
    /// The name.
    pub key: NativeIpcKey,
    /// The file.
    pub path: PathBuf,
}

impl TestFile {
    /// The file of this native name.
    ///
    /// # Panics
    /// As [`path_of`].
    #[must_use]
    pub fn new(native: &str) -> Self {
        Self { key: NativeIpcKey::new(native, KeyType::Robust), path: path_of(native) }
    }

    /// A new handle of the file.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }

    /// Whether anything is at the path.
    #[must_use]
    pub fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Whether this file is at the path.
    ///
    /// # Panics
    /// If the system says nothing of the file.
    #[must_use]
    pub fn names(&self, file: &File) -> bool {
        let inode = file.metadata().expect("the file is open").ino();
        fs::symlink_metadata(&self.path).is_ok_and(|data| data.ino() == inode)
    }

    fn directory(&self) -> &Path {
        self.path.parent().expect("it is in a directory")
    }

    /// Puts something at the path, and makes the directory for it.
    ///
    /// # Panics
    /// If that fails for another reason than a directory that another process removes.
    pub fn plant<T>(&self, put: impl Fn(&Path) -> io::Result<T>) -> T {
        let mut put_there = None;
        wait_until("the directory stays", || {
            match fs::DirBuilder::new().mode(0o700).create(self.directory()) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    panic!("{}: {error}", self.directory().display())
                }
                _ => {}
            }
            match put(&self.path) {
                Ok(value) => put_there = Some(value),
                // the last user of another name has removed the directory
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => panic!("cannot put anything at {}: {error}", self.path.display()),
            }
            put_there.is_some()
        });
        put_there.expect("it was put there")
    }

    /// Makes a file with this content.
    ///
    /// # Panics
    /// As [`plant`](Self::plant).
    pub fn plant_bytes(&self, bytes: &[u8]) -> File {
        self.plant(|path| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all_at(bytes, 0).map(|()| file)
        })
    }

    /// Removes whatever is at the path, and the directory if nobody else uses it.
    pub fn clear(&self) {
        let _ = fs::remove_file(&self.path).or_else(|_| fs::remove_dir_all(&self.path));
        if self.directory() != shared_memory() {
            let _ = fs::remove_dir(self.directory());
        }
    }
}

/// The bytes of a valid file of this name, persistent, with 3 permits, which nobody uses. The name must be free.
///
/// # Panics
/// If the name is not free.
#[must_use]
pub fn valid_bytes(file: &TestFile) -> Vec<u8> {
    let builder = SystemSemaphore::builder(&file.key).initial_value(3).persistent(true);
    drop(builder.build().expect("the name is free"));
    let bytes = fs::read(&file.path).expect("a persistent one stays");
    SystemSemaphore::remove(&file.key).expect("it exists");
    bytes
}

/// Checks a semaphore that must be in order, with this many permits. (Another process may still recover a dead one's.)
///
/// # Panics
/// If it is not in order.
#[track_caller]
pub fn assert_works(semaphore: &SystemSemaphore, permits: u32) {
    wait_until(format_args!("{permits} permits are free"), || free(semaphore) == permits);
    assert_works_now(semaphore, permits);
}

/// The same, where nobody may be recovering anything.
///
/// # Panics
/// If it is not in order.
#[track_caller]
pub fn assert_works_now(semaphore: &SystemSemaphore, permits: u32) {
    assert_eq!(free(semaphore), permits, "free permits");
    let all = semaphore.try_acquire_many(permits).expect("all are free");
    assert_eq!(semaphore.try_acquire().expect_err("there are no more").kind(), ErrorKind::NoPermits);
    all.release().expect("they are ours");
    assert_eq!(free(semaphore), permits, "free permits");
}

#[track_caller]
fn free(semaphore: &SystemSemaphore) -> u32 {
    semaphore.available_permits().expect("the count can be read")
}

/// All that the system shows of a file or directory, and its content.
#[derive(Debug, PartialEq, Eq)]
pub struct FileSnapshot {
    data: Option<[i64; 7]>,
    content: Vec<u8>,
}

impl FileSnapshot {
    /// What is at the path now.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let data = fs::symlink_metadata(path).ok();
        let content = data.as_ref().map(|data| content(path, data)).unwrap_or_default();
        let data = data.map(|data| {
            let (uid, mode, links) = (data.uid().into(), data.mode().into(), data.nlink() as i64);
            [data.ino() as i64, uid, mode, links, data.size() as i64, data.mtime(), data.mtime_nsec()]
        });
        Self { data, content }
    }

    /// The names in a directory.
    #[must_use]
    pub fn names(&self) -> &[u8] {
        &self.content
    }
}

fn content(path: &Path, data: &Metadata) -> Vec<u8> {
    let kind = data.file_type();
    if kind.is_symlink() {
        fs::read_link(path).expect("it is a link").into_os_string().into_encoded_bytes()
    } else if kind.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| format!("{:?}", entry.file_name())).collect::<String>().into_bytes()
    } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
        Vec::new()
    } else {
        fs::read(path).unwrap_or_default()
    }
}

/// The files of all users' semaphores whose name contains this text.
#[must_use]
pub fn files_with(mark: &str) -> Vec<PathBuf> {
    let is_directory = |name: &OsString| name.to_string_lossy().starts_with("system-semaphore-");
    let mut files = Vec::new();
    for (path, name) in entries(shared_memory()) {
        if name.to_string_lossy().contains(mark) {
            files.push(path);
        } else if is_directory(&name) {
            let inside = entries(&path).filter(|(_, name)| name.to_string_lossy().contains(mark));
            files.extend(inside.map(|(path, _)| path));
        }
    }
    files
}

fn entries(directory: &Path) -> impl Iterator<Item = (PathBuf, OsString)> {
    // another process may remove it meanwhile
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| (entry.path(), entry.file_name()))
}

/// Removes the [files](files_with) that a failed test has left, and the directories that are empty then.
pub fn remove_files_with(mark: &str) {
    for path in files_with(mark) {
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        if let Some(directory) = path.parent().filter(|directory| *directory != shared_memory()) {
            let _ = fs::remove_dir(directory);
        }
    }
}
