//! There is no room left in `/dev/shm`.

use std::fs::{self, File};
use std::io::{ErrorKind as Io, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use system_semaphore::{AccessMode, ErrorKind};
use test_support::format::{FIRST_SLOTS, header, slot_of};
use test_support::robust_file::{FileSnapshot, SHARED_MEMORY, assert_works, directory};
use test_support::{Puppet, wait_until};

use super::helper;
use super::test_file::{PROMPT, TestFile, free};

fn filler() -> std::path::PathBuf {
    Path::new(SHARED_MEMORY).join("filler")
}

/// Takes all the room that is left.
fn fill() {
    let mut file = File::create(filler()).expect("an empty file needs no room");
    while match file.write(&[1; 4096]) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), Io::StorageFull, "{error}");
            false
        }
    } {}
}

fn make_room() {
    fs::remove_file(filler()).expect("it is there");
}

/// Nothing is made, and nothing is left of the attempt.
#[track_caller]
fn is_out_of_room(test_file: &TestFile, modes: &[AccessMode]) {
    let path = test_file.path.to_str().expect("it is plain");
    let before = FileSnapshot::of(Path::new(SHARED_MEMORY));
    for mode in modes {
        let error = test_file.open(3, *mode).expect_err("there is no room");
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::OutOfResources, "{mode:?}: {text}");
        assert!(text.contains(path) && text.contains("room"), "{mode:?}: {text}");
        assert!(
            FileSnapshot::of(Path::new(SHARED_MEMORY)).names() == before.names(),
            "{mode:?}: something is left: {text}"
        );
    }
}

const MAKING: [AccessMode; 3] = [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew];

pub(crate) fn create_fails_cleanly_on_full_file_system() {
    fill();
    for test_file in [TestFile::own(), TestFile::global()] {
        is_out_of_room(&test_file, &MAKING);
        let error = test_file.open(3, AccessMode::OpenExisting).expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let error = test_file.remove().expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert!(!directory().exists(), "the user's directory is left");
    make_room();
    for test_file in [TestFile::own(), TestFile::global()] {
        assert_works(&test_file.create(3), 3);
    }
}

pub(crate) fn open_semaphores_continue_on_full_file_system() {
    for test_file in [TestFile::own(), TestFile::global()] {
        let semaphore = test_file.create(3);
        fill();
        assert_works(&semaphore, 3);
        let (mut holder, mut waiter) = (test_file.puppet(), test_file.puppet());
        holder.must("acquire\ts\t3");
        waiter.block("acquire\ts\t2");
        holder.kill();
        waiter.answer().expect("the permits came back");
        assert_eq!(free(&semaphore), 1);
        waiter.kill();
        assert_eq!(free(&semaphore), 3);
        // a reset needs nothing
        let again = test_file.open(5, AccessMode::Create).expect("it is there");
        assert_works(&again, 5);
        let permit = semaphore.acquire_inheritable(2, None).expect("there is a place in the first page");
        assert_eq!(free(&semaphore), 3);
        drop(permit);
        drop((semaphore, again));
        make_room();
    }
}

/// A stranger that has the locks of all slots in the first page that are free.
fn lock_slots(test_file: &TestFile, from: u16, to: u16) -> Puppet {
    let mut locker = helper::start();
    locker.must(&format!("lock\t{}\t{from}\t{to}", test_file.path.display()));
    locker
}

pub(crate) fn opener_without_memory_for_its_slot_is_refused() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let locker = lock_slots(&test_file, 1, FIRST_SLOTS);
    fill();
    is_out_of_room(&test_file, &[AccessMode::Open, AccessMode::Create, AccessMode::OpenExisting]);
    let mut puppet = Puppet::of_this_program();
    let failure = puppet.ask(&test_file.opening("OpenExisting")).expect_err("there is no room");
    assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
    let error = semaphore.acquire_inheritable(1, None).expect_err("there is no room");
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::OutOfResources, "{text}");
    assert!(text.contains(test_file.path.to_str().expect("it is plain")), "{text}");
    assert_works(&semaphore, 3);
    make_room();
    puppet.must(&test_file.opening("OpenExisting"));
    puppet.must("try\ts\t2");
    fill();
    assert_eq!(free(&semaphore), 1);
    puppet.must("drop\ts");
    assert_works(&semaphore, 3);
    drop(locker);
}

pub(crate) fn dead_holders_beyond_first_page_are_recovered() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let locker = lock_slots(&test_file, 1, 200);
    let (mut holder, mut waiter) = (test_file.puppet(), test_file.puppet());
    assert_eq!(slot_of(&test_file.file(), holder.pid()), 200);
    holder.must("acquire\ts\t3");
    fill();
    waiter.block("acquire\ts\t1");
    holder.kill();
    waiter.answer().expect("the permits came back");
    assert_eq!(free(&semaphore), 2);
    waiter.must("drop\ts");
    // who comes takes the slot that is there
    let mut next = test_file.puppet();
    next.must("acquire\ts\t3");
    next.kill();
    assert_works(&semaphore, 3);
    drop(locker);
}

/// Somebody has said that slots are used which do not exist in memory. To look at them would be SIGBUS.
pub(crate) fn slots_in_file_holes_are_harmless() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let mut puppet = test_file.puppet();
    let mut waiter = test_file.puppet();
    waiter.block("acquire\ts\t4\t2000");
    fill();
    test_file.file().write_all_at(&[0xFF; header::USED_SIZE], header::USED).expect("the page is there");
    let _ = semaphore.available_permits();
    let _ = semaphore.holders();
    let _ = semaphore.waiting();
    let _ = semaphore.recoveries();
    drop(semaphore.acquire_timeout(PROMPT).expect("one is free"));
    drop(semaphore.acquire_many_timeout(4, std::time::Duration::from_millis(50)));
    // before anybody can reset it to more
    let kind = waiter.answer().expect_err("there are never four").kind;
    assert!(matches!(&*kind, "TimedOut" | "OutOfResources"), "{kind}");
    let _ = puppet.ask(&test_file.opening("Open"));
    let _ = puppet.ask(&test_file.opening("Create"));
    let mut helper = helper::start();
    helper.must(&format!("everything\t{}\t1", test_file.key));
    assert!(waiter.exit().success());
    assert!(puppet.exit().success());
    let used = vec![0; header::USED_SIZE];
    test_file.file().write_all_at(&used, header::USED).expect("the page is there");
    drop(semaphore);
    make_room();
    wait_until("everybody has left", || {
        if test_file.exists() {
            let _ = test_file.remove();
        }
        !test_file.exists()
    });
}

pub(crate) fn lack_of_inodes_is_an_error() {
    let (here, free_file) = (TestFile::own(), TestFile::own());
    let semaphore = here.create(3);
    let all_gone = || {
        let mut made = Vec::new();
        while File::create(Path::new(SHARED_MEMORY).join(format!("inode-{}", made.len()))).is_ok() {
            made.push(Path::new(SHARED_MEMORY).join(format!("inode-{}", made.len())));
        }
        made
    };
    let made = all_gone();
    is_out_of_room(&free_file, &MAKING);
    let global = TestFile::global();
    is_out_of_room(&global, &MAKING);
    assert_works(&semaphore, 3);
    let mut holder = here.puppet();
    holder.must("acquire\ts\t2");
    assert_eq!(free(&semaphore), 1);
    holder.kill();
    assert_works(&semaphore, 3);
    drop(semaphore);
    // the directory needs one, too
    let more = all_gone();
    assert!(!directory().exists());
    let error = free_file.open(3, AccessMode::Open).expect_err("there is no room");
    assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
    assert!(error.to_string().contains(directory().to_str().expect("it is plain")), "{error}");
    fs::remove_file(&made[0]).expect("it is there");
    let error = free_file.open(3, AccessMode::Open).expect_err("a directory alone is not enough");
    assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
    assert!(!directory().exists(), "the user's directory is left");
    for path in made.iter().skip(1).chain(&more) {
        let _ = fs::remove_file(path);
    }
    assert_works(&free_file.create(3), 3);
}
