//! Files beside the object's file: their names, their locks, and their end.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, fchmod, flock, fstat,
    ftruncate, futimens, linkat, open, statat, unlink,
};
use rustix::io::{Errno, retry_on_intr};

use super::super::api::{Location, LockId, ObjectId};
use crate::sys::private_fd::{PrivateFd, retry_if_forked};
use crate::sys::shared_memory::{Mapping, Shared};

/// Identifies a file by its file system and its number there.
pub(crate) fn file_id(device: u64, inode: u64) -> ObjectId {
    ObjectId(u128::from(device) << 64 | u128::from(inode))
}

/// What a side file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its `flock` is this liveness lock.
    Lock(LockId),
    /// It contains the seats of parked threads.
    Parking,
    /// It was being created.
    New,
}

/// Returns whether a file name in the object's directory may be a side file's. The name of an
/// object's file never begins with a dot.
pub(crate) fn is_side_file(name: &str) -> bool {
    name.starts_with('.')
}

/// The names of side files of all objects that had the same path, one after the other.
#[derive(Debug)]
pub(super) struct Names {
    directory: PathBuf,
    /// A dot, the object's file name, and a dot.
    prefix: String,
}

impl Names {
    pub(super) fn new(location: &dyn Location) -> Self {
        let path = location.full_path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let directory = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Self { directory, prefix: format!(".{file}.") }
    }

    pub(super) fn lock(&self, object: ObjectId, lock: LockId) -> PathBuf {
        self.path(object, &format!("lock-{lock}"))
    }

    pub(super) fn parking(&self, object: ObjectId) -> PathBuf {
        self.path(object, "parking")
    }

    /// Returns a name that no other thread uses.
    fn new_file(&self, object: ObjectId) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.path(object, &format!("new-{}-{number}", std::process::id()))
    }

    fn path(&self, ObjectId(object): ObjectId, purpose: &str) -> PathBuf {
        self.directory.join(format!("{}{:x}.{purpose}", self.prefix, object as u64))
    }

    /// Returns the side files that exist: the inode number of the object, the purpose and the path.
    pub(super) fn list(&self) -> io::Result<Vec<(u64, Purpose, PathBuf)>> {
        let file_names = retry_if_forked(|| {
            fs::read_dir(&self.directory)?
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<OsString>>>()
        })?;
        let parse = |name: OsString| {
            let (inode, purpose) = self.parse(name.to_str()?)?;
            Some((inode, purpose, self.directory.join(name)))
        };
        Ok(file_names.into_iter().filter_map(parse).collect())
    }

    fn parse(&self, name: &str) -> Option<(u64, Purpose)> {
        let (inode, purpose) = name.strip_prefix(&self.prefix)?.split_once('.')?;
        let purpose = if let Some(lock) = purpose.strip_prefix("lock-") {
            Purpose::Lock(lock.parse().ok()?)
        } else if purpose == "parking" {
            Purpose::Parking
        } else {
            let number = purpose.strip_prefix("new-")?;
            number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-').then_some(Purpose::New)?
        };
        Some((u64::from_str_radix(inode, 16).ok()?, purpose))
    }
}

/// A side file that is open. A forked child does not inherit it.
#[derive(Debug)]
pub(super) struct SideFile {
    descriptor: PrivateFd,
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Tells this file from all others that have had its path.
    token: u32,
}

/// A side file that is open and mapped.
pub(super) type Mapped<T, R> = (SideFile, Mapping<T, R>);

/// Why a side file was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotCreated {
    /// Another side file has the name, or another process has interfered. The caller starts over.
    Again,
    /// The directory no longer exists.
    NoDirectory,
    Failed(Errno),
}

impl SideFile {
    /// Opens a side file for a check of its lock. Returns `None` if it does not exist.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Errno> {
        let opened = retry_if_forked(|| open_private(path, OFlags::RDONLY, Mode::empty()));
        match opened.map_err(errno_of) {
            Ok(descriptor) => Self::new(descriptor, path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Opens and maps a side file. Returns `None` if it does not exist.
    ///
    /// The mapping keeps the lock if other code of the process closes the descriptor.
    pub(super) fn open_mapped<T: Shared, R: Shared>(path: &Path) -> Result<Option<Mapped<T, R>>, Errno> {
        match open_and_map(path, OFlags::empty()) {
            Ok((descriptor, map)) => Ok(Some((Self::new(descriptor, path)?, map))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Creates a side file of this size, which has its permissions and its lock before it has its
    /// name, and maps it.
    pub(super) fn create<T: Shared, R: Shared>(
        names: &Names,
        object: ObjectId,
        path: &Path,
        mode: Mode,
        size: usize,
        lock: FlockOperation,
    ) -> Result<Mapped<T, R>, NotCreated> {
        let new = names.new_file(object);
        let (descriptor, map) = open_and_map(&new, OFlags::CREATE).map_err(|errno| match errno {
            Errno::NOENT => NotCreated::NoDirectory,
            errno => NotCreated::Failed(errno),
        })?;
        let publish = || {
            fchmod(&descriptor, mode)?;
            retry_on_intr(|| ftruncate(&descriptor, size as u64))?;
            retry_on_intr(|| flock(&descriptor, lock))?;
            linkat(CWD, &new, CWD, path, AtFlags::empty())
        };
        let outcome = publish();
        let _ = unlink(&new);
        match outcome {
            Ok(()) => Ok((Self::new(descriptor, path).map_err(NotCreated::Failed)?, map)),
            // The file without a name may have been taken for garbage.
            Err(Errno::EXIST | Errno::NOENT | Errno::WOULDBLOCK) => Err(NotCreated::Again),
            Err(errno) => Err(NotCreated::Failed(errno)),
        }
    }

    fn new(descriptor: PrivateFd, path: &Path) -> Result<Self, Errno> {
        let data = fstat(&descriptor)?;
        let mut token = data.st_ino ^ (data.st_mtime as u64).rotate_left(20);
        token ^= data.st_mtime_nsec.rotate_left(40);
        let token = (token.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
        Ok(Self { descriptor, path: path.to_owned(), device: data.st_dev, inode: data.st_ino, token })
    }

    /// Makes this the file of another owner, by a new modification time. The caller has the
    /// exclusive lock.
    pub(super) fn with_new_token(self) -> Result<Self, Errno> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        // The owner of the file alone may change one of the two times.
        futimens(&self.descriptor, &Timestamps { last_access: now, last_modification: now })?;
        Self::new(self.descriptor, &self.path)
    }

    pub(super) fn token(&self) -> u32 {
        self.token
    }

    /// Returns whether other code of the process has left the descriptor alone.
    pub(super) fn check_still_ours(&self) -> bool {
        self.descriptor.check_still_ours()
    }

    /// Returns whether the path still names this file.
    pub(super) fn has_name(&self) -> bool {
        statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|data| (data.st_dev, data.st_ino) == (self.device, self.inode))
    }

    /// Takes the exclusive lock, unless another open has one.
    pub(super) fn try_lock_exclusive(&self) -> Result<bool, Errno> {
        self.try_flock(FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes a shared lock, unless another open has the exclusive one.
    pub(super) fn try_lock_shared(&self) -> Result<bool, Errno> {
        self.try_flock(FlockOperation::NonBlockingLockShared)
    }

    fn try_flock(&self, operation: FlockOperation) -> Result<bool, Errno> {
        match retry_on_intr(|| flock(&self.descriptor, operation)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Releases the lock, also for a process that has inherited the descriptor.
    pub(super) fn unlock(&self) {
        if self.check_still_ours() {
            let _ = retry_on_intr(|| flock(&self.descriptor, FlockOperation::Unlock));
        }
    }

    /// Returns whether another open has the exclusive lock.
    pub(super) fn is_locked_exclusively(&self) -> Result<bool, Errno> {
        let is_free = self.try_lock_shared()?;
        if is_free {
            // A forked child may have inherited the descriptor a moment ago.
            self.unlock();
        }
        Ok(!is_free)
    }

    /// Deletes the file. The caller has the exclusive lock, so that no other process uses the file.
    pub(super) fn unlink(&self) -> Result<(), Errno> {
        if self.has_name() { unlink(&self.path) } else { Ok(()) }
    }

    /// Returns the plain descriptor, which other programs inherit, with the lock. `None` if it is
    /// lost.
    pub(super) fn into_descriptor(self) -> Option<OwnedFd> {
        self.descriptor.into_inner()
    }

    /// Returns the object of this inode number whose side file this is.
    fn object(&self, inode: u64) -> ObjectId {
        file_id(self.device, inode)
    }
}

fn open_and_map<T: Shared, R: Shared>(
    path: &Path,
    flags: OFlags,
) -> Result<(PrivateFd, Mapping<T, R>), Errno> {
    // A child that is forked in the midst keeps an open file that has no lock yet.
    let opened = retry_if_forked(|| {
        let descriptor = open_private(path, OFlags::RDWR | flags, Mode::RUSR | Mode::WUSR)?;
        let map = Mapping::new(descriptor.as_fd())?;
        Ok((descriptor, map))
    });
    opened.map_err(errno_of)
}

fn open_private(path: &Path, flags: OFlags, mode: Mode) -> io::Result<PrivateFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    PrivateFd::new(retry_on_intr(|| open(path, flags, mode))?)
}

fn errno_of(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Deletes the side files at an object's path that no process has locked. `before_parking_goes` is
/// called with the file of the seats, and the object, before that is deleted.
///
/// A process that may not delete one leaves it to a process that may.
pub(super) fn remove_unlocked(
    location: &dyn Location,
    before_parking_goes: impl Fn(BorrowedFd<'_>, ObjectId),
) {
    for (inode, purpose, path) in Names::new(location).list().unwrap_or_default() {
        let Ok(Some(file)) = SideFile::open(&path) else { continue };
        if !file.try_lock_exclusive().unwrap_or(false) {
            continue;
        }
        if file.has_name() {
            if purpose == Purpose::Parking {
                before_parking_goes(file.descriptor.as_fd(), file.object(inode));
            }
            let _ = file.unlink();
        }
        file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(file: &str) -> Names {
        Names { directory: PathBuf::new(), prefix: format!(".{file}.") }
    }

    #[test]
    fn name_of_side_file_tells_object_and_purpose() {
        let object = file_id(1, 0xab);
        for (path, purpose) in
            [(names("a").lock(object, 7), Purpose::Lock(7)), (names("a").parking(object), Purpose::Parking)]
        {
            let name = path.to_str().expect("it is UTF-8");
            assert!(is_side_file(name));
            assert_eq!(names("a").parse(name), Some((0xab, purpose)));
        }
    }

    #[test]
    fn side_file_of_similar_name_is_another_objects() {
        let object = file_id(1, 0xab);
        for file in ["a.b", "a.1f", "a.1f.lock-3", "b"] {
            let path = names(file).lock(object, 7);
            assert_eq!(names("a").parse(path.to_str().expect("it is UTF-8")), None, "{file}");
        }
    }
}
