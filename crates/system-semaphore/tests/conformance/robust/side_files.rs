//! What the second implementation of the platform keeps beside the file. (Linux's keeps nothing.)

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use system_semaphore::{Owners, SystemSemaphore, list};

use super::wait_for_waiters;
use crate::case;
use crate::tested_type::{TestedType, assert_permits};

/// The side files of a semaphore's file.
fn side_files(file: &Path) -> Vec<PathBuf> {
    let prefix = format!(".{}.", file.file_name().expect("it has a name").to_string_lossy());
    let directory = file.parent().expect("it is in a directory");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_beside =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    entries.map(|entry| entry.path()).filter(is_beside).collect()
}

/// The kernel semaphores of a semaphore's file.
fn semaphores(file: &Path) -> Vec<PathBuf> {
    let data = fs::metadata(file).expect("it is there");
    let prefix = format!("sem.sysem-{:x}-", data.ino() ^ data.dev().rotate_left(40));
    let entries = fs::read_dir("/dev/shm").expect("it can be read").flatten();
    let is_its =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    entries.map(|entry| entry.path()).filter(is_its).collect()
}

case!(Robust, side_files_exist_only_while_used);

fn side_files_exist_only_while_used(tested: &TestedType) {
    let file = tested.file("s");
    let semaphore = tested.create("s", 0);
    assert_eq!(side_files(&file).len(), 1, "the slot file of this process");
    let mut waiter = tested.puppet("s");
    assert_eq!(side_files(&file).len(), 2, "two slot files");
    waiter.block("acquire\ts\t1");
    wait_for_waiters(&semaphore, 1);
    test_support::wait_until("it has parked", || semaphores(&file).len() == 1);
    assert_eq!(side_files(&file).len(), 3, "two slot files and the seats");
    let kernel_semaphores = semaphores(&file);
    let paths = list(Owners::User).expect("they are told").into_iter().filter_map(|listed| listed.path);
    let is_hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    assert_eq!(paths.filter(is_hidden).collect::<Vec<_>>(), [] as [PathBuf; 0], "no side file is listed");
    semaphore.add_permits(1).expect("there is room");
    waiter.answer().expect("there is one");
    waiter.kill();
    assert_permits(&semaphore, 1, 0);
    assert_eq!(side_files(&file).len(), 2, "the dead one's slot file is gone");
    drop(semaphore);
    assert_eq!(side_files(&file), [] as [PathBuf; 0]);
    assert!(kernel_semaphores.iter().all(|path| !path.exists()), "{kernel_semaphores:?}");
}

case!(Robust, side_files_of_dead_users_go_with_the_next_open);

/// Whether the semaphore was removed before, or its last user was killed.
fn side_files_of_dead_users_go_with_the_next_open(tested: &TestedType) {
    let (key, file) = (tested.key("s"), tested.file("s"));
    for is_removed in [false, true] {
        let semaphore = tested.create("s", 0);
        let (mut one, mut other) = (tested.puppet("s"), tested.puppet("s"));
        one.block("acquire\ts\t1");
        other.block("acquire\ts\t2");
        wait_for_waiters(&semaphore, 2);
        drop(semaphore);
        if is_removed {
            SystemSemaphore::remove(&key).expect("it is there");
            one.answer().expect_err("it was removed");
        }
        one.kill();
        other.kill();
        assert!(side_files(&file).len() >= 2, "those of the dead are there");
        assert!(!crate::tested_type::exists(&key));
        assert_eq!(side_files(&file), [] as [PathBuf; 0]);
    }
}
