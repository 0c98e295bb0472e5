//! Liveness locks: an exclusive `flock` of a slot file.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{FlockOperation, Mode, fstat};
use rustix::io::Errno;

use super::super::api::{LivenessLocks, Location, LockId, ObjectId};
use super::side_file::{Names, NotCreated, Purpose, SideFile, file_id};
use crate::backend::robust::error::EngineError;
use crate::sys::atomic::AtomicU64;
use crate::sys::fork;
use crate::sys::private_fd::PrivateFd;
use crate::sys::shared_memory::Mapping;

/// The number of attempts to take a lock while other processes check it or delete its file.
const ATTEMPTS: u32 = 1000;

/// What one open of an object has beside it.
pub(super) struct SideFiles {
    location: Arc<dyn Location>,
    id: ObjectId,
    pub(super) names: Names,
    /// In the order in which the locks were taken.
    held: Mutex<Vec<HeldLock>>,
    /// The process that opened the object.
    generation: u32,
}

impl std::fmt::Debug for SideFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SideFiles").field("id", &self.id).field("names", &self.names).finish_non_exhaustive()
    }
}

/// A lock that this open has.
struct HeldLock {
    lock: LockId,
    /// `None` if the directory did not exist, so that the lock is worth nothing.
    file: Option<SlotFile>,
}

/// A slot file that this open has locked.
struct SlotFile {
    file: SideFile,
    /// It keeps the lock if other code of the process closes the descriptor.
    map: Anchor,
}

/// A mapping of an empty file, which is never read or written.
type Anchor = Mapping<AtomicU64, [AtomicU64; 0]>;

/// Which lock of which process is meant, even if another process has taken the lock since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) lock: LockId,
    pub(super) token: u32,
}

/// The outcome of one attempt to take a lock.
enum Attempt {
    Taken(Option<SlotFile>),
    HasOwner,
    Again,
}

impl SideFiles {
    pub(super) fn new(location: Arc<dyn Location>, id: ObjectId) -> Self {
        let names = Names::new(&*location);
        Self { location, id, names, held: Mutex::default(), generation: fork::generation() }
    }

    pub(super) fn id(&self) -> ObjectId {
        self.id
    }

    pub(super) fn location(&self) -> &dyn Location {
        &*self.location
    }

    fn held(&self) -> MutexGuard<'_, Vec<HeldLock>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lock that this open took first: that of its slot.
    pub(super) fn first_owner(&self) -> Option<Owner> {
        let held = self.held();
        held.iter().find_map(|held| Some(Owner { lock: held.lock, token: held.file.as_ref()?.file.token() }))
    }

    /// Returns whether the owner still has its lock. `true` if that cannot be checked.
    pub(super) fn is_alive(&self, owner: Owner) -> bool {
        let is_it = |held: &HeldLock| {
            held.lock == owner.lock && held.file.as_ref().is_some_and(|slot| slot.file.token() == owner.token)
        };
        if self.held().iter().any(is_it) {
            return true;
        }
        match SideFile::open(&self.names.lock(self.id, owner.lock)) {
            Ok(None) => false,
            Ok(Some(file)) => file.token() == owner.token && file.is_locked_exclusively().unwrap_or(true),
            Err(_) => true,
        }
    }

    /// Returns the descriptor of the first slot file, and leaves the lock with it.
    pub(super) fn take_slot_file(&self) -> Option<OwnedFd> {
        let mut held = self.held();
        let first = held.iter().position(|held| held.file.is_some())?;
        held.remove(first).file?.file.into_descriptor()
    }

    fn attempt(&self, lock: LockId, mode: Mode) -> Result<Attempt, Errno> {
        let path = self.names.lock(self.id, lock);
        let existing = match SideFile::open_mapped(&path) {
            // The permissions of a side file are those of the object, so its creator is not done.
            Err(Errno::ACCESS) => return Ok(Attempt::HasOwner),
            existing => existing?,
        };
        let Some((file, map)) = existing else {
            let lock = FlockOperation::NonBlockingLockExclusive;
            return match SideFile::create(&self.names, self.id, &path, mode, 0, lock) {
                Ok((file, map)) => Ok(Attempt::Taken(Some(SlotFile { file, map }))),
                Err(NotCreated::Again) => Ok(Attempt::Again),
                Err(NotCreated::NoDirectory) => Ok(Attempt::Taken(None)),
                Err(NotCreated::Failed(errno)) => Err(errno),
            };
        };
        if !file.try_lock_exclusive()? {
            let has_owner = file.is_locked_exclusively()?;
            return Ok(if has_owner { Attempt::HasOwner } else { Attempt::Again });
        }
        // A dead process has left the file. A new one has another token, so that no process takes
        // the dead process for this one.
        match file.unlink() {
            Ok(()) | Err(Errno::NOENT) => {
                file.unlock();
                Ok(Attempt::Again)
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                Ok(Attempt::Taken(Some(SlotFile { file: file.with_new_token()?, map })))
            }
            Err(errno) => Err(errno),
        }
    }
}

impl SlotFile {
    fn release(self) {
        // First: a process that finds the file unlocked must find that it has no name.
        let _ = self.file.unlink();
        self.file.unlock();
        drop(self.map);
    }
}

impl Drop for SideFiles {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        let slot_files: Vec<SlotFile> = held.drain(..).filter_map(|held| held.file).collect();
        if !slot_files.is_empty() {
            slot_files.into_iter().for_each(SlotFile::release);
            self.location.remove_directory_if_empty();
        }
    }
}

/// An object's file, with the locks beside it.
#[derive(Debug)]
pub(crate) struct Locks {
    file: PrivateFd,
    side_files: Arc<SideFiles>,
}

impl Locks {
    pub(super) fn new(file: PrivateFd, side_files: Arc<SideFiles>) -> Self {
        Self { file, side_files }
    }

    /// Returns whether a process has the lock of an object that this process only observes.
    pub(crate) fn is_locked_of_observed(
        file: BorrowedFd<'_>,
        location: &dyn Location,
        lock: LockId,
    ) -> Result<bool, EngineError> {
        let data = fstat(file)?;
        let path = Names::new(location).lock(file_id(data.st_dev, data.st_ino), lock);
        is_slot_file_locked(&path)
    }

    /// Returns the permissions of the object, which are those of its side files.
    pub(super) fn mode(&self) -> Result<Mode, Errno> {
        Ok(Mode::from_raw_mode(fstat(&self.file)?.st_mode & 0o666))
    }

    /// Returns whether a process of another user may use the object.
    pub(super) fn is_for_other_users(&self) -> Result<bool, Errno> {
        let data = fstat(&self.file)?;
        Ok(data.st_mode & 0o066 != 0 || data.st_uid != crate::sys::user::effective_id())
    }
}

fn is_slot_file_locked(path: &std::path::Path) -> Result<bool, EngineError> {
    match SideFile::open(path) {
        Ok(None) => Ok(false),
        Ok(Some(file)) => Ok(file.is_locked_exclusively()?),
        Err(Errno::ACCESS) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

impl AsFd for Locks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl LivenessLocks for Locks {
    fn try_lock(&self, lock: LockId) -> Result<bool, EngineError> {
        let mut held = self.side_files.held();
        if is_held(&held, lock) {
            return Ok(true);
        }
        for _ in 0..ATTEMPTS {
            match self.side_files.attempt(lock, self.mode()?)? {
                Attempt::Taken(file) => {
                    held.push(HeldLock { lock, file });
                    return Ok(true);
                }
                Attempt::HasOwner => return Ok(false),
                Attempt::Again => thread::yield_now(),
            }
        }
        Ok(false)
    }

    fn unlock(&self, lock: LockId) -> Result<(), EngineError> {
        let mut held = self.side_files.held();
        let Some(index) = held.iter().position(|held| held.lock == lock) else { return Ok(()) };
        if let Some(slot_file) = held.remove(index).file {
            slot_file.release();
            drop(held);
            self.side_files.location.remove_directory_if_empty();
        }
        Ok(())
    }

    fn find_locked(&self, locks: Range<LockId>) -> Result<Option<LockId>, EngineError> {
        let ObjectId(object) = self.side_files.id;
        let listed = match self.side_files.names.list() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            listed => listed?,
        };
        for (inode, purpose, _) in listed {
            if let Purpose::Lock(lock) = purpose
                && inode == object as u64
                && locks.contains(&lock)
                && self.is_locked(lock)?
            {
                return Ok(Some(lock));
            }
        }
        Ok(None)
    }

    fn is_locked(&self, lock: LockId) -> Result<bool, EngineError> {
        if is_held(&self.side_files.held(), lock) {
            return Ok(false);
        }
        is_slot_file_locked(&self.side_files.names.lock(self.side_files.id, lock))
    }

    fn check_still_ours(&self) -> bool {
        self.file.check_still_ours() && self.side_files.held().iter().all(|held| held.file.is_some())
    }
}

/// Returns whether this open has the lock by a descriptor. If other code of the process has closed
/// the descriptor, the lock is that of the mapping, as if another open had it.
fn is_held(held: &[HeldLock], lock: LockId) -> bool {
    held.iter()
        .any(|held| held.lock == lock && held.file.as_ref().is_none_or(|slot| slot.file.check_still_ours()))
}
