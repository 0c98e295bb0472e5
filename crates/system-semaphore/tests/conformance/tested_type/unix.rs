//! What semaphores of Unix's types leave on a machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use system_semaphore::{KeyType, NativeIpcKey, ProjectId, SystemSemaphore};
use test_support::robust_file::{files_with, path_of};

use super::TestedType;

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
    files_with(&format!("system-semaphore-test-{}-", std::process::id()))
}

/// The semaphores that the second implementation of the platform has in the system.
pub(crate) fn kernel_semaphores() -> BTreeSet<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| cfg!(portable_platform) && name.starts_with("sem.sysem-")).collect()
}

impl TestedType {
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
        path_of(self.native(name).native_key())
    }

    /// Removes a persistent semaphore; a key file named by the user is the user's to remove.
    pub(crate) fn remove(&self, key: &NativeIpcKey) {
        SystemSemaphore::remove(key).expect("it is there");
        if matches!(self.key_type, KeyType::SystemV(_)) {
            fs::remove_file(key.native_key()).expect("it was made for the semaphore");
        }
    }
}
