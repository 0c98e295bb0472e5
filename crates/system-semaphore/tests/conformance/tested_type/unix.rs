//! What semaphores of Unix's types leave on a machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use system_semaphore::{KeyType, NativeIpcKey, ProjectId, SystemSemaphore};

use super::Subject;

/// System V keys of this run have a project id of their own, so that its sets can be told from all others.
static PROJECT: LazyLock<ProjectId> =
    LazyLock::new(|| ProjectId::new(fastrand::u8(1..)).expect("it is not 0"));

pub(crate) fn system_v() -> KeyType {
    KeyType::SystemV(*PROJECT)
}

/// The System V sets in the system whose keys could be this run's.
pub(crate) fn sets_of_this_run() -> BTreeSet<String> {
    let listing = fs::read_to_string("/proc/sysvipc/sem").expect("the kernel lists its semaphore sets");
    let keys = listing.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    keys.filter(|key| {
        let number = key.parse::<i32>().expect("the first column is a number");
        number as u32 >> 24 == u32::from(PROJECT.get())
    })
    .map(str::to_owned)
    .collect()
}

/// What this run has in shared memory.
pub(crate) fn files_of_this_run() -> Vec<PathBuf> {
    let user = fs::metadata("/proc/self").expect("it is mounted").uid();
    let directories = [shared_memory(), directory_of(user)];
    // the second one need not be there
    let entries = directories.into_iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    let mark = format!("system-semaphore-test-{}-", std::process::id());
    paths.filter(|path| path.to_string_lossy().contains(&mark)).collect()
}

/// Where the robust semaphores of a user are.
pub(crate) fn directory_of(user: u32) -> PathBuf {
    shared_memory().join(format!("system-semaphore-{user}"))
}

pub(crate) fn shared_memory() -> PathBuf {
    let usual = PathBuf::from("/dev/shm");
    if usual.exists() { usual } else { PathBuf::from("/tmp") }
}

impl Subject {
    /// That no file is left, which an open would clear up.
    pub(super) fn assert_no_files(&self) {
        if self.key_type != KeyType::Robust {
            return;
        }
        for name in &*self.names.borrow() {
            let file = self.file(name);
            assert!(!fs::exists(&file).expect("it can be looked for"), "{name} has left {file:?}");
        }
    }

    /// The file of a robust semaphore of this name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let user = fs::metadata(self.root()).expect("it was made by this user").uid();
        let native = self.native(name);
        directory_of(user).join(native.native_key())
    }

    /// Removes a persistent semaphore; a key file named by the user is the user's to remove.
    pub(crate) fn remove(&self, key: &NativeIpcKey) {
        SystemSemaphore::remove(key).expect("it is there");
        if matches!(self.key_type, KeyType::SystemV(_)) {
            fs::remove_file(key.native_key()).expect("it was made for the semaphore");
        }
    }
}
