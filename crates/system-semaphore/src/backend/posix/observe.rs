//! Looks at the file that the GNU C library keeps a semaphore in: its first word is the count, the next the number
//! of those who wait.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::{MAX_PERMITS, cause_of};
use super::name::{c_name, check_file};
use crate::backend::api::Observe;
use crate::error::{Cause, Error, ErrorKind};
use crate::key::{KeyType, NativeIpcKey};
use crate::sys::user;
use crate::types::{Listed, Owners, Snapshot};

const DIRECTORY: &str = "/dev/shm";
const PREFIX: &str = "sem.";

struct FileObserver(File);

pub(super) fn observe(name: &str) -> Result<Box<dyn Observe>, Cause> {
    let name = c_name(name)?;
    check_file(&name)?;
    let name = name.to_string_lossy();
    let path = Path::new(DIRECTORY).join(format!("{PREFIX}{}", name.trim_start_matches('/')));
    Ok(Box::new(FileObserver(File::open(path).map_err(|error| cause_of(&error))?)))
}

/// How many permits are free, and how many threads wait, as glibc keeps them at the beginning of the file.
fn counts(bytes: [u8; 16]) -> (u32, u32) {
    if cfg!(target_pointer_width = "64") {
        // [ waiters:32 | count:32 ]
        let word = u64::from_ne_bytes(std::array::from_fn(|index| bytes[index]));
        (word as u32, (word >> 32) as u32)
    } else {
        // [ count:31 | somebody waits:1 ], two others, and the waiters
        let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
        (word(0) >> 1, word(12))
    }
}

impl Observe for FileObserver {
    fn snapshot(&self) -> Result<Snapshot, Cause> {
        let mut bytes = [0; 16];
        let data = self.0.metadata().map_err(|error| cause_of(&error))?;
        if data.nlink() == 0 {
            return Err(Cause::new(ErrorKind::NotFound, "it was removed from the system"));
        }
        self.0.read_exact_at(&mut bytes, 0).map_err(|_| {
            Cause::new(
                ErrorKind::Corrupt,
                "its file is too short for a semaphore; remove it if nobody needs it",
            )
        })?;
        let (available, waiting) = counts(bytes);
        Ok(Snapshot {
            available,
            max_permits: MAX_PERMITS,
            initial_value: None,
            holders: None,
            held_by_dead: None,
            waiters: None,
            waiting: Some(waiting),
            users: None,
            last_pid: None,
            persistent: None,
            recoveries: None,
            owner: data.uid(),
            permissions: data.mode() & 0o777,
        })
    }
}

pub(super) fn list(owners: Owners) -> Vec<Listed> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    entries.filter_map(|entry| describe(&entry.path(), owners)).collect()
}

fn describe(path: &PathBuf, owners: Owners) -> Option<Listed> {
    let name = format!("/{}", path.file_name()?.to_str()?.strip_prefix(PREFIX)?);
    let data = fs::symlink_metadata(path).ok()?;
    if owners == Owners::User && data.uid() != user::effective_id() {
        return None;
    }
    let snapshot = observe(&name).and_then(|observer| observer.snapshot());
    Some(Listed {
        native_key: Some(NativeIpcKey::new(name.as_str(), KeyType::Posix)),
        key_type: KeyType::Posix,
        path: Some(path.clone()),
        owner: data.uid(),
        snapshot: snapshot.map_err(|cause| Error::new("observe", name.as_str(), cause)),
        name,
    })
}
