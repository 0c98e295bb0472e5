//! What only POSIX semaphores do, or what is only seen from outside.

use std::fs;

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};

use crate::case;
use crate::tested_type::{TestedType, free};

case!(Posix, create_makes_new_semaphore_and_leaves_old_one_to_its_users);

fn create_makes_new_semaphore_and_leaves_old_one_to_its_users(tested: &TestedType) {
    let old = tested.create("s", 1);
    let new = SystemSemaphore::create(tested.key("s"), 5).expect("it can be made");
    assert_eq!((free(&old), free(&new)), (1, 5));
    drop(old.acquire().expect("its users keep it"));
    let third = SystemSemaphore::new(tested.key("s"), 0, AccessMode::OpenExisting).expect("it is there");
    assert_eq!(free(&third), 5);
}

case!(Posix, newer_semaphore_of_same_name_is_not_removed);

fn newer_semaphore_of_same_name_is_not_removed(tested: &TestedType) {
    let old = tested.create("s", 1);
    let new = SystemSemaphore::create(tested.key("s"), 5).expect("it can be made");
    drop(old);
    let third =
        SystemSemaphore::new(tested.key("s"), 0, AccessMode::OpenExisting).expect("it is still there");
    assert_eq!(free(&third), 5);
    drop((new, third));
}

case!(Posix, file_that_is_no_semaphore_is_refused);

/// What stands in the semaphore's place in shared memory may be anything.
fn file_that_is_no_semaphore_is_refused(tested: &TestedType) {
    let key = tested.key("s");
    let path = format!("/dev/shm/sem.{}", key.native_key().trim_start_matches('/'));
    fs::create_dir(&path).expect("a directory can be made");
    let error = SystemSemaphore::open(&key, 1).expect_err("it is a directory");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(key.native_key()), "{error}");
    fs::remove_dir(&path).expect("it was made here");
    for content in [&b""[..], b"x", &[0; size_of::<libc::sem_t>() - 1]] {
        fs::write(&path, content).expect("a file can be written");
        for mode in [AccessMode::Open, AccessMode::Create] {
            let error = SystemSemaphore::new(&key, 1, mode).expect_err("it is too short");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(&path), "{error}");
        }
        assert_eq!(fs::read(&path).expect("it is still there"), content);
    }
    fs::remove_file(&path).expect("it was made here");
}
