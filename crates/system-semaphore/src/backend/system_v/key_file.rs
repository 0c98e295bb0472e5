//! The file that a System V key is made of: made, looked at, waited for, removed.

use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::poll::poll;
use crate::error::{Cause, ErrorKind};
use crate::key::ProjectId;
use crate::sys::system_v::{self as sys, SetId, SetKey};

/// What Qt gives its key files, less the umask.
const MODE: u32 = 0o640;
/// How long a new key file without a set is left to its maker, and an old set under a new file to its remover.
const FIRST_TURN_WAIT: Duration = Duration::from_millis(250);
/// How often it is tried to hold on to a file that changes meanwhile.
const PIN_ATTEMPTS: u32 = 10;

/// The path of a key file, with the project id.
#[derive(Clone, Debug)]
pub(super) struct KeyFile {
    path: String,
    c_path: CString,
    project: ProjectId,
}

/// Which file a path names. The number of a removed file is soon another's; the time is the file's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl FileId {
    fn of(data: &Metadata) -> Self {
        Self { device: data.dev(), inode: data.ino(), changed: (data.ctime(), data.ctime_nsec()) }
    }
}

impl KeyFile {
    pub(super) fn new(path: &str, project: ProjectId) -> Result<Self, Cause> {
        let key_error = |reason| Cause::new(ErrorKind::KeyError, reason);
        if path.is_empty() {
            return Err(key_error("the key is empty; give the path of a key file"));
        }
        let c_path = CString::new(path).map_err(|_| key_error("the path contains a NUL character"))?;
        Ok(Self { path: path.to_owned(), c_path, project })
    }

    /// Makes the file. `None` if something stands there already: anything will do.
    pub(super) fn make(&self) -> Result<Option<FileId>, Cause> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&self.path);
        match made.and_then(|file: File| file.metadata()) {
            Ok(data) => Ok(Some(FileId::of(&data))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => {
                let reason =
                    "the key file cannot be made; check the directory, its rights and the path's length";
                Err(Cause::new(ErrorKind::KeyError, reason).with_os(error.raw_os_error()))
            }
        }
    }

    /// The key; `None` if nothing stands at the path.
    pub(super) fn key(&self) -> Result<Option<SetKey>, Cause> {
        match sys::key(&self.c_path, self.project.get()) {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(&self.path).is_ok_and(|data| data.is_symlink()) {
                    let reason =
                        "the key file is a symbolic link to nothing; remove the link or make its target";
                    return Err(Cause::new(ErrorKind::KeyError, reason));
                }
                Ok(None)
            }
            Err(error) => {
                let cause = Cause::new(ErrorKind::KeyError, "ftok cannot read the key file's data");
                Err(cause.with_os(error.raw_os_error()))
            }
        }
    }

    /// Holds on to the file that stands at the path now.
    pub(super) fn pin(&self) -> Pin {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&self.path).ok();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let file: Option<File> = None;
        Pin(file.and_then(|file| file.metadata().ok().map(|data| (file, number(&data)))))
    }

    /// The key, and a hold on the file that it is of; `None` if nothing stands at the path, or something else each time.
    pub(super) fn pinned_key(&self) -> Result<Option<PinnedKey<'_>>, Cause> {
        for _ in 0..PIN_ATTEMPTS {
            let pin = self.pin();
            let Some(key) = self.key()? else { return Ok(None) };
            let pinned = PinnedKey { file: self, key, pin };
            if pinned.is_at_path() {
                return Ok(Some(pinned));
            }
        }
        Ok(None)
    }

    /// Waits, briefly, until whoever has the first turn has had it.
    ///
    /// Who makes the file should make the set, since who makes a thing removes it, and the two go together. So who
    /// finds a new file without a set leaves it to the file's maker for a while; and who has just made the file
    /// leaves a set that is there already to a predecessor, whose file had the same number, and who is about to
    /// remove the set. Where the wait is too short, an empty file may stay behind.
    pub(super) fn wait_for_first_turn(&self, key: SetKey, just_made: bool) {
        if just_made {
            poll(FIRST_TURN_WAIT, || sys::open_existing(key).is_err());
        } else {
            poll(FIRST_TURN_WAIT, || sys::open_existing(key).is_ok() || !self.seems_just_made());
        }
    }

    fn seems_just_made(&self) -> bool {
        let data = fs::symlink_metadata(&self.path).ok().filter(|data| data.is_file() && data.len() == 0);
        let age = data.and_then(|data| data.modified().ok()?.elapsed().ok());
        age.is_some_and(|age| age <= FIRST_TURN_WAIT)
    }

    /// Removes the file that we made, if that is still what the path names, and nobody else has a set on it.
    pub(super) fn remove_made(&self, made: Option<FileId>, own_set: Option<SetId>) {
        let named = fs::symlink_metadata(&self.path).ok().map(|data| FileId::of(&data));
        if made.is_none() || made != named {
            return;
        }
        // A file left behind is harmless, and nothing more could be done about it: errors are passed over.
        match self.key().ok().flatten().map(sys::open_existing) {
            Some(Ok(set)) if own_set == Some(set) => {
                let _ = fs::remove_file(&self.path);
            }
            Some(Err(error)) if error.raw_os_error() == Some(libc::ENOENT) => {
                // Somebody may be making a set just now. Who has made it before the file was taken away is found on
                // it; who makes it later sees that the path does not make its key any more.
                let Ok(taken) = self.take() else { return };
                let is_unused = taken.set().is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT));
                if is_unused { taken.delete() } else { taken.put_back() }
            }
            _ => {}
        }
    }

    /// Removes the file that we made for an open that has failed, if the failure was a set that was there before the
    /// file: left there, the file would keep its number, and with it the collision.
    pub(super) fn remove_after_failure(&self, made: Option<FileId>) {
        let Some(made_id) = made else { return };
        let Some(Ok(set)) = self.key().ok().flatten().map(sys::open_existing) else {
            return self.remove_made(made, None);
        };
        if sys::status(set).is_ok_and(|times| times.changed < made_id.changed.0) {
            self.remove_made(made, Some(set));
        }
    }

    /// Takes the file away if it is what Qt and we make for a plain name, so that it takes nothing from anybody: an
    /// empty regular file with a derived name.
    pub(super) fn take_conventional(&self) -> io::Result<Option<TakenFile<'_>>> {
        let name = Path::new(&self.path).file_name().and_then(|name| name.to_str());
        let data = fs::symlink_metadata(&self.path);
        let is_conventional = name.is_some_and(|name| name.starts_with("qipc_systemsem_"))
            && data.is_ok_and(|data| data.is_file() && data.len() == 0);
        if !is_conventional {
            return Ok(None);
        }
        match self.take() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Gives the file another name, which nobody looks for.
    fn take(&self) -> io::Result<TakenFile<'_>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = format!("{}.removed-{}-{number}", self.path, std::process::id());
        fs::rename(&self.path, &path)?;
        Ok(TakenFile { from: self, path })
    }
}

/// The key of a file that is held on to.
pub(super) struct PinnedKey<'a> {
    file: &'a KeyFile,
    key: SetKey,
    pin: Pin,
}

impl PinnedKey<'_> {
    pub(super) fn get(&self) -> SetKey {
        self.key
    }

    /// Whether a set that was found by this key is the one of the path. If the file was removed after the key was made from it,
    /// the path names another by now; and where it could not be pinned, its number may be that one's.
    pub(super) fn is_current(&self) -> bool {
        match self.pin.0 {
            Some(_) => self.is_at_path(),
            None => self.file.key().is_ok_and(|now| now == Some(self.key)),
        }
    }

    fn is_at_path(&self) -> bool {
        let Some((_, pinned)) = self.pin.0 else { return true };
        fs::metadata(&self.file.path).is_ok_and(|named| number(&named) == pinned)
    }
}

/// Keeps the number of the file at a path from becoming another's, even if the file is removed meanwhile. (Only Linux can hold on to a
/// file of any kind without a right to it and without an effect on it. Elsewhere, and where there is no descriptor left, this is nothing.)
pub(super) struct Pin(Option<(File, (u64, u64))>);

fn number(data: &Metadata) -> (u64, u64) {
    (data.dev(), data.ino())
}

/// A key file that was taken away from its path. As long as it is there its number is nobody else's.
pub(super) struct TakenFile<'a> {
    from: &'a KeyFile,
    path: String,
}

impl TakenFile<'_> {
    /// The set on it.
    pub(super) fn set(&self) -> io::Result<SetId> {
        let c_path = CString::new(self.path.as_str()).map_err(io::Error::from)?;
        sys::key(&c_path, self.from.project.get()).and_then(sys::open_existing)
    }

    pub(super) fn delete(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Puts it back, unless there is another at its path by now.
    pub(super) fn put_back(self) {
        let _ = fs::hard_link(&self.path, &self.from.path);
        self.delete();
    }
}
