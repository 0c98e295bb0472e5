//! More processes than there are slots. Instead of thousands of processes, one has the locks that they would have.

use std::os::unix::fs::FileExt;

use system_semaphore::{AccessMode, ErrorKind};
use test_support::format::{SLOTS, header, slot, slot_at};
use test_support::robust_file::assert_works;
use test_support::{Puppet, wait_until};

use super::helper;
use super::test_file::{TestFile, free, promptly};

fn lock_slots(test_file: &TestFile, from: u16) -> Puppet {
    let mut locker = helper::start();
    locker.must(&format!("lock\t{}\t{from}\t{SLOTS}", test_file.path.display()));
    locker
}

#[track_caller]
fn is_too_many(test_file: &TestFile) {
    let most = SLOTS.to_string();
    for mode in [AccessMode::Open, AccessMode::OpenExisting, AccessMode::Create] {
        let error = test_file.open(1, mode).expect_err("there is no place");
        assert_eq!(error.kind(), ErrorKind::OutOfResources, "{mode:?}: {error}");
        assert!(error.to_string().contains(&most), "{mode:?}: {error}");
    }
    let error = test_file.open(1, AccessMode::CreateNew).expect_err("it is there");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let mut puppet = Puppet::of_this_program();
    let failure = puppet.ask(&test_file.opening("Open")).expect_err("there is no place");
    assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
}

pub(crate) fn opener_without_free_slot_is_refused() {
    for test_file in [TestFile::own(), TestFile::global()] {
        let semaphore = test_file.create(3);
        let (mut user, mut waiter) = (test_file.puppet(), test_file.puppet());
        let locker = lock_slots(&test_file, 3);
        is_too_many(&test_file);
        let error = semaphore.acquire_inheritable(1, None).expect_err("there is no place");
        assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
        // those who are there go on
        assert_works(&semaphore, 3);
        user.must("acquire\ts\t3");
        waiter.block("acquire\ts\t1");
        user.kill();
        waiter.answer().expect("the permits came back");
        assert_eq!(free(&semaphore), 2);
        // there is the place of who has died, once all is given back
        wait_until("there is a place", || test_file.open(3, AccessMode::OpenExisting).is_ok());
        // when the locker goes, it is as if it had not been
        locker.kill();
        drop(test_file.puppet());
        waiter.must("drop\ts");
        assert_works(&semaphore, 3);
        waiter.kill();
    }
}

pub(crate) fn slots_claimed_for_dead_users_are_freed() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let locker = lock_slots(&test_file, 1);
    let mut used = [0xFF; header::USED_SIZE];
    test_file.file().write_all_at(&used, header::USED).expect("it can be written");
    is_too_many(&test_file);
    assert_works(&semaphore, 3);
    promptly("a look at them all", || drop(semaphore.holders()));
    locker.kill();
    let mut user = Puppet::of_this_program();
    promptly("an open", || user.must(&test_file.opening("OpenExisting")));
    test_file.file().read_exact_at(&mut used, header::USED).expect("it can be read");
    let count: u32 = used[..usize::from(SLOTS / 8)].iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(count, 2, "all places but those of the two are free");
    user.must("acquire\ts\t1");
    user.kill();
    assert_works(&semaphore, 3);
}

/// Who has it open no more, but lives, is only asked about if nobody has asked about all lately.
pub(crate) fn last_slot_of_seemingly_living_user_is_found() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let locker = lock_slots(&test_file, 2);
    let file = test_file.file();
    file.write_all_at(&[0xFF; header::USED_SIZE], header::USED).expect("it can be written");
    // the one between is this process's, which has a lock only for its own
    let mut identity = [0; 16];
    file.read_exact_at(&mut identity, slot_at(0) + slot::PID).expect("it can be read");
    file.write_all_at(&identity, slot_at(1) + slot::PID).expect("it can be written");
    let mut user = Puppet::of_this_program();
    file.write_all_at(&monotonic_milliseconds().to_ne_bytes(), header::LAST_FULL_SCAN)
        .expect("it can be written");
    user.must(&test_file.opening("OpenExisting"));
    user.must("acquire\ts\t3");
    locker.kill();
    user.kill();
    assert_works(&semaphore, 3);
}

fn monotonic_milliseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
