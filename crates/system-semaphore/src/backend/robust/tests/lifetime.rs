//! Opens, closes and removals that are not finished by the process that began them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fs, thread};

use test_support::Failure;

use super::super::failpoint::Failpoint;
use super::super::lifetime::path::SemaphorePath;
use super::super::lifetime::registry_lock;
use super::TestSemaphore;
use super::actor::Actor;
use crate::{AccessMode, ErrorKind, SystemSemaphore};

#[track_caller]
fn assert_says(answer: Result<String, Failure>, word: &str) {
    let failure = answer.expect_err("it fails");
    assert!(failure.message.contains(word), "{failure:?}");
}

#[test]
fn opener_completes_removal_of_dead_remover() {
    let test = TestSemaphore::new(3);
    let (mut waiter, mut remover) = (Actor::with(&test), Actor::start());
    waiter.fall_asleep("acquire\ts\t4", &test);
    remover.halt_in(&format!("remove\t{}", test.key), Failpoint::MarkedRemoved);
    assert_says(waiter.answer(), "removed");
    remover.kill();
    let new = SystemSemaphore::new(&test.key, 7, AccessMode::CreateNew).expect("the name is free");
    assert_eq!(new.available_permits().expect("it is told"), 7);
    let error = test.semaphore.acquire().expect_err("this one is removed");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(new.available_permits().expect("it is told"), 7);
}

#[test]
fn permits_of_removed_semaphore_keep_no_descriptor_open() {
    let test = TestSemaphore::new(3);
    let mut user = Actor::start();
    let descriptors = |user: &Actor| {
        let listing = fs::read_dir(format!("/proc/{}/fd", user.pid())).expect("it lives");
        listing.count()
    };
    // it is up
    user.must("sleep-until-woken");
    let before = descriptors(&user);
    user.must(&test.opening(0, "OpenExisting"));
    user.must("acquire\ts\t1");
    user.must("acquire\ts\t1");
    user.must("hold\ts");
    assert!(descriptors(&user) > before);
    SystemSemaphore::remove(&test.key).expect("it is there");
    user.send("drop\ts");
    assert_says(user.answer(), "removed");
    user.must("close\ts");
    assert_eq!(descriptors(&user), before);
}

#[test]
fn opener_or_closer_killed_with_registry_lock_blocks_nobody() {
    let test = TestSemaphore::new(3);
    let mut opener = Actor::start();
    opener.halt_in(&test.opening(0, "Open"), Failpoint::RegistryLocked);
    let closer = Actor::with_patience(&test, opener);
    test.assert_permits(3, 0, "who was opening has gone");
    let key = test.key.clone();
    // who is not the last one closes without the lock
    drop(test);
    closer.die_in("close\ts", Failpoint::RegistryLocked);
    let error = SystemSemaphore::new(&key, 0, AccessMode::OpenExisting).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn open_starts_over_after_loss_of_its_descriptor() {
    // what is there, and the file that the number is of by then, look alike: nobody has a lock there
    for persistent in [false, true] {
        let test = TestSemaphore::new(3);
        let mapped = test.open_mapped();
        mapped.layout().persistent.store(persistent.into(), Ordering::Relaxed);
        let held = test.semaphore.acquire().expect("one is free");
        let mut opener = Actor::start();
        opener.halt_in(&test.opening(9, "Open"), Failpoint::RegistryLocked);
        opener.send(&format!("lose\t{}", test.name));
        opener.send("go");
        assert_eq!(opener.answer(), Ok(String::new()), "persistent: {persistent}");
        test.assert_permits(2, 1, format_args!("nobody has died (persistent: {persistent})"));
        opener.must("acquire\ts\t1");
        opener.kill();
        test.assert_permits(2, 1, format_args!("it had a slot and a lock (persistent: {persistent})"));
        mapped.layout().persistent.store(0, Ordering::Relaxed);
        drop(held);
        test.close(&mapped);
    }
}

impl Actor {
    /// One that opens the semaphore while another one, halted in the middle of its open, is killed.
    fn with_patience(test: &TestSemaphore, halted: Self) -> Self {
        let mut actor = Self::start();
        actor.send(&test.opening(0, "OpenExisting"));
        halted.kill();
        assert_eq!(actor.answer(), Ok(String::new()));
        actor
    }
}

#[test]
fn open_waits_for_any_number_of_registry_owners() {
    let test = TestSemaphore::new(3);
    let mapped = test.open_mapped();
    let registry_lock = registry_lock::RegistryLock::for_open(&mapped).expect("nobody has it");
    let key = test.key.clone();
    let opener = thread::spawn(move || SystemSemaphore::new(&key, 0, AccessMode::OpenExisting).map(drop));
    // as if one after the other had it, together for longer than one alone may
    let end = Instant::now() + registry_lock::OPEN_TIMEOUT * 3 / 2;
    for owner in 1.. {
        mapped.layout().registry_owner_pid.store(owner, Ordering::Relaxed);
        assert!(!opener.is_finished(), "it has given up while others had their turns");
        if Instant::now() >= end {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    drop(registry_lock);
    opener.join().expect("it does not panic").expect("its turn came");
    test.close(&mapped);
}

#[test]
fn last_closer_killed_in_close_leaves_stale_file() {
    let test = TestSemaphore::new(3);
    let key = test.key.clone();
    let mut closer = Actor::with(&test);
    closer.must("acquire\ts\t1");
    closer.must("forget\ts");
    drop(test);
    closer.die_in("close\ts", Failpoint::RegistryLocked);
    // what it left is a leftover
    let again = SystemSemaphore::new(&key, 7, AccessMode::Open).expect("it can be made");
    assert_eq!(again.available_permits().expect("it is told"), 7);
}

/// A close does not wait long for who is opening. That one is the next, to whom it leaves the file.
#[test]
fn failed_open_removes_file_left_by_last_closer() {
    let test = TestSemaphore::new(1);
    let path = SemaphorePath::of(&test.name).expect("it is a good name").full_path();
    let mut opener = Actor::start();
    opener.halt_in(&test.opening(u32::MAX, "Open"), Failpoint::RegistryLocked);
    drop(test);
    opener.send("go on");
    let answer = opener.answer();
    let is_left = path.exists();
    let _ = fs::remove_file(path);
    assert!(answer.is_err() && !is_left, "{answer:?}");
}
