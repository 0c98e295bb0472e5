//! What only System V sets do, or what is only seen from outside.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, ErrorKind, KeyType, NativeIpcKey, SystemSemaphore, legacy_native_key};
use test_support::{Puppet, system_v, wait_until};

use crate::case;
use crate::tested_type::{TestedType, free};

/// The largest count.
const MAX: u32 = 32_767;

fn project(tested: &TestedType) -> u8 {
    match tested.key_type {
        KeyType::SystemV(project) => project.get(),
        other => panic!("{other} is not System V"),
    }
}

case!(SystemV, large_numbers_are_refused_and_not_truncated);

/// Qt cuts the upper half of a number off: releasing 32,768 takes as many, 65,537 adds one.
fn large_numbers_are_refused_and_not_truncated(tested: &TestedType) {
    let semaphore = tested.create("s", 5);
    for count in [32_768, 65_535, 65_536, 65_537, 98_305, 2_147_483_647, u32::MAX] {
        for refused in [
            semaphore.release(count).expect_err("it is too many"),
            semaphore.add_permits(count).expect_err("it is too many"),
            semaphore.try_acquire_many(count).expect_err("it is too many"),
        ] {
            assert_eq!(refused.kind(), ErrorKind::OutOfResources, "{refused}");
        }
        assert_eq!(free(&semaphore), 5);
    }
}

case!(SystemV, forget_works_at_both_ends_of_the_count);

fn forget_works_at_both_ends_of_the_count(tested: &TestedType) {
    let semaphore = tested.create("s", MAX);
    let mut taker = tested.puppet("s");
    taker.must("acquire\ts\t2");
    semaphore.add_permits(2).expect("there is room");
    assert_eq!(free(&semaphore), MAX);
    taker.must("forget\ts");
    assert_eq!(free(&semaphore), MAX);
    semaphore.acquire_many(MAX).expect("all are free").forget().expect("it is there");
    semaphore.add_permits(1).expect("there is room");
    taker.must("acquire\ts\t1");
    assert_eq!(free(&semaphore), 0);
    taker.must("forget\ts");
    taker.exit();
    assert_eq!(free(&semaphore), 0);

    // more than half of all, with neither room for so many more nor so many there
    semaphore.add_permits(20_000).expect("there is room");
    let mut taker = tested.puppet("s");
    taker.must("acquire\ts\t20000");
    semaphore.add_permits(15_000).expect("there is room");
    taker.must("forget\ts");
    taker.exit();
    assert_eq!(free(&semaphore), 15_000);
}

case!(SystemV, reset_wakes_waiters_and_voids_debts);

fn reset_wakes_waiters_and_voids_debts(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t1");
    holder.must("hold\ts");
    waiter.block("acquire\ts\t1");
    // by the holder itself, which then knows that it owes nothing any more
    holder.must(&format!("open\treset\t{}\t3\tCreate", tested.key("s")));
    waiter.answer().expect("three are free");
    assert_eq!(free(&semaphore), 2);
    assert_eq!(holder.must("held\ts"), "0");
    holder.must("release\ts\t1");
    assert_eq!(free(&semaphore), 3, "as in Qt, giving back after a reset adds one");
    holder.kill();
    assert_eq!(free(&semaphore), 3, "and it stays");
    waiter.must("drop\ts");
    assert_eq!(free(&semaphore), 4);
    drop(semaphore);
    // the killed one owned it too, so its maker has removed it for both
    let gone = SystemSemaphore::new(tested.key("s"), 0, AccessMode::OpenExisting);
    assert_eq!(gone.expect_err("it is removed").kind(), ErrorKind::NotFound);
}

case!(SystemV, thread_woken_by_reset_of_own_process_owns_its_permit);

/// Whom a reset wakes owns what it gets, in the process of the reset too, and gives it back exactly once.
fn thread_woken_by_reset_of_own_process_owns_its_permit(tested: &TestedType) {
    let watcher = tested.create("s", 0);
    let mut puppet = tested.puppet("s");
    puppet.must(&format!("reset-under-a-waiter\ts\t1\t{}", tested.key("s")));
    assert_eq!(free(&watcher), 0, "the waiter holds it");
    puppet.must("drop\ts");
    assert_eq!(free(&watcher), 1);
    puppet.exit();
    assert_eq!(free(&watcher), 1, "what was given back is not given back again");
}

case!(SystemV, removed_semaphore_returns_removal_error);

fn removed_semaphore_returns_removal_error(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut same_key = semaphore.clone();
    let permit = semaphore.acquire().expect("free");
    let other = semaphore.acquire().expect("free");
    tested.remove(&tested.key("s"));
    let successor = tested.create("s", 9);
    same_key.set_key(tested.key("s"), 9, AccessMode::Open).expect("that changes nothing");
    for error in [
        same_key.try_acquire().expect_err("it is still the removed one"),
        semaphore.acquire().expect_err("it is removed"),
        semaphore.try_acquire().expect_err("it is removed"),
        semaphore.release(1).expect_err("it is removed"),
        semaphore.available_permits().expect_err("it is removed"),
        other.release().expect_err("it is removed"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("was removed"), "{error}");
    }
    drop(permit);
    drop((semaphore, same_key));
    assert_eq!(free(&successor), 9, "nothing was done to the new one");
    // whose key file may well have the number that the old one had
    assert!(fs::exists(tested.path("s")).expect("the directory is there"), "nor to its key file");
}

case!(SystemV, waiter_gets_removal_error);

fn waiter_gets_removal_error(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t1");
    drop(semaphore);
    let failure = waiter.answer().expect_err("it is removed");
    assert_eq!(failure.kind, "NotFound", "{failure:?}");
    assert!(failure.message.contains("was removed"), "{failure:?}");
}

case!(SystemV, foreign_files_stay);

/// Qt deletes them.
fn foreign_files_stay(tested: &TestedType) {
    let (file, link, directory) = (tested.path("file"), tested.path("link"), tested.path("directory"));
    fs::write(&file, "precious").expect("a file can be written");
    symlink(&file, &link).expect("a link can be made");
    fs::create_dir(&directory).expect("a directory can be made");
    for path in [&file, &link, &directory] {
        for mode in [AccessMode::Open, AccessMode::Create] {
            let key = NativeIpcKey::new(path, tested.key_type);
            let semaphore = SystemSemaphore::new(&key, 1, mode).expect("anything will do for a key file");
            drop(SystemSemaphore::create(&key, 2).expect("it can be reset"));
            drop(semaphore);
            let gone = SystemSemaphore::new(&key, 0, AccessMode::OpenExisting);
            assert_eq!(gone.expect_err("the set is removed").kind(), ErrorKind::NotFound);
        }
    }
    assert_eq!(fs::read_to_string(&link).expect("it is still there"), "precious");
    for file in [file, link] {
        fs::remove_file(file).expect("it was made here");
    }
    fs::remove_dir(directory).expect("it was made here");
}

case!(SystemV, replaced_key_file_stays);

fn replaced_key_file_stays(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    // while the old file exists its number cannot be given to the new one
    fs::rename(tested.path("s"), tested.path("old")).expect("it is there");
    fs::write(tested.path("s"), "").expect("a file can be written");
    drop(semaphore);
    assert!(fs::exists(tested.path("s")).expect("the directory is there"));
    fs::remove_file(tested.path("s")).expect("it was made here");
    fs::remove_file(tested.path("old")).expect("it was made here");
}

case!(SystemV, open_waits_for_creator_at_work);

fn open_waits_for_creator_at_work(tested: &TestedType) {
    let key = tested.key("s");
    fs::write(key.native_key(), "").expect("a file can be written");
    let set = system_v::make_set(key.native_key(), project(tested));
    let mut opener = Puppet::of_this_program();
    opener.send(&format!("open\ts\t{key}\t9\tOpen"));
    opener.send("try\ts\t1");
    let naps = opener.sleep_count();
    wait_until("the opener naps between looks at the set", || opener.sleep_count() > naps + 5);
    system_v::set_value(set, 2);
    opener.answer().expect("it is there");
    opener.answer().expect("the open came after the value");
    opener.exit();
    tested.remove(&key);
}

case!(SystemV, create_waits_for_creator_at_work);

/// A Create that came between the making of a set and its value would be added to it.
fn create_waits_for_creator_at_work(tested: &TestedType) {
    let key = tested.key("s");
    fs::write(key.native_key(), "").expect("a file can be written");
    let set = system_v::make_set(key.native_key(), project(tested));
    let mut creator = Puppet::of_this_program();
    creator.send(&format!("open\ts\t{key}\t3\tCreate"));
    let naps = creator.sleep_count();
    wait_until("the creator naps between looks at the set", || creator.sleep_count() > naps + 5);
    system_v::add(set, 3);
    creator.answer().expect("it is there");
    assert_eq!(creator.must("available\ts"), "3");
    creator.exit();
    tested.remove(&key);
}

case!(SystemV, stale_key_file_can_be_removed);

/// As a tidy-up program or `ipcrm` leaves it.
fn stale_key_file_can_be_removed(_: &TestedType) {
    let name = format!("system-semaphore test left {}", std::process::id());
    let key = legacy_native_key(&name, NativeIpcKey::legacy_default_type());
    let semaphore = SystemSemaphore::builder(&key).persistent(true).build().expect("nobody has the name");
    let path = key.native_key().to_owned();
    system_v::remove_set(system_v::find_set(&path, b'Q'));
    drop(semaphore);
    assert!(fs::exists(&path).expect("the directory is there"));
    SystemSemaphore::remove(&key).expect("its file is there");
    assert!(!fs::exists(&path).expect("the directory is there"));
    assert_eq!(SystemSemaphore::remove(&key).expect_err("it is gone").kind(), ErrorKind::NotFound);
}

case!(SystemV, set_that_is_not_removed_can_be_opened);

/// Somebody removes the semaphore by its name again and again while others open it. Who has it open may learn that it
/// was removed, but never have one that nobody else can find.
fn set_that_is_not_removed_can_be_opened(_: &TestedType) {
    let name = format!("system-semaphore test found {}", std::process::id());
    assert_can_be_found(&legacy_native_key(&name, NativeIpcKey::legacy_default_type()));
}

/// The same for a semaphore of any type.
pub(crate) fn assert_can_be_found(key: &NativeIpcKey) {
    let end = Instant::now() + Duration::from_secs(1);
    let both = Barrier::new(2);
    let over = AtomicBool::new(false);
    let mut lost = 0;
    // both leave in the same round
    let is_over = || {
        if both.wait().is_leader() {
            over.store(Instant::now() >= end, Ordering::SeqCst);
        }
        both.wait();
        over.load(Ordering::SeqCst)
    };
    thread::scope(|scope| {
        let remover = scope.spawn(|| {
            while !is_over() {
                busy(fastrand::u32(..4_000));
                // that there is none just now is as good
                let _ = SystemSemaphore::remove(key);
                both.wait();
            }
        });
        while !is_over() {
            let maker = SystemSemaphore::open(key, 1).expect("it can be made");
            busy(fastrand::u32(..1_500));
            drop(maker);
            let semaphore = SystemSemaphore::open(key, 1).expect("it can be made");
            both.wait();
            let is_found = || SystemSemaphore::new(key, 0, AccessMode::OpenExisting).is_ok();
            lost += u32::from(semaphore.available_permits().is_ok() && !is_found());
        }
        remover.join().expect("it does not panic");
    });
    let _ = SystemSemaphore::remove(key);
    assert_eq!(lost, 0, "semaphores that were there could not be found");
}

fn busy(rounds: u32) {
    (0..rounds).for_each(|_| std::hint::spin_loop());
}

case!(SystemV, neighbours_with_reused_file_numbers_stay_apart);

/// Key files that come and go get each other's file numbers, of which keys are made. Whoever was slow between making
/// the key and finding the set must not end up in the other's semaphore.
fn neighbours_with_reused_file_numbers_stay_apart(tested: &TestedType) {
    let (ours, theirs) = (tested.key("ours"), tested.key("theirs"));
    let mut neighbours: Vec<Puppet> = (0..3).map(|_| Puppet::of_this_program()).collect();
    for neighbour in &mut neighbours {
        neighbour.send(&format!("open-close-loop\t{theirs}\t2000"));
    }
    let mut alone = Puppet::of_this_program();
    alone.must(&format!("exclusive-create\t{ours}\t2000"));
    for neighbour in &mut neighbours {
        neighbour.answer().expect("they do no harm to each other either");
    }
    tested.forget_key_file(&theirs);
}

case!(SystemV, count_set_to_zero_is_not_waited_for);

/// As Qt makes a semaphore of 0: the value is set, but nobody has operated on it. An open must not take it for
/// unfinished; the timeout is a fraction of what it would wait.
fn count_set_to_zero_is_not_waited_for(tested: &TestedType) {
    let key = tested.key("s");
    fs::write(key.native_key(), "").expect("a file can be written");
    let set = system_v::make_set(key.native_key(), project(tested));
    system_v::set_value(set, 0);
    let naps = test_support::own_sleep_count();
    let semaphore = SystemSemaphore::open(&key, 9).expect("it is there");
    assert!(test_support::own_sleep_count() - naps < 20, "the open slept again and again");
    assert_eq!(free(&semaphore), 0);
    tested.remove(&key);
}

case!(SystemV, repeated_clearing_of_debts_is_harmless);

/// A count set from outside clears what the kernel would undo. The kernel then refuses, sooner or later, to note
/// that more was given back than taken.
fn repeated_clearing_of_debts_is_harmless(tested: &TestedType) {
    const PART: u32 = 16_000;
    let semaphore = tested.create("s", 0);
    let set = system_v::find_set(tested.key("s").native_key(), project(tested));
    for end in ["drop", "forget"] {
        let mut puppet = tested.puppet("s");
        for _ in 0..3 {
            system_v::set_value(set, PART as i32);
            puppet.must(&format!("acquire\ts\t{PART}"));
        }
        system_v::set_value(set, 0);
        // the kernel notes nothing now, and has room for two parts below that
        for _ in 0..2 {
            puppet.must("drop\ts");
            semaphore.try_acquire_many(PART).expect("they were given back").forget().expect("they are there");
        }
        puppet.must(&format!("{end}\ts"));
        assert_eq!(free(&semaphore), if end == "drop" { PART } else { 0 });
    }
}

case!(SystemV, dangling_link_and_missing_directory_are_named);

fn dangling_link_and_missing_directory_are_named(tested: &TestedType) {
    let link = tested.path("link");
    symlink(tested.path("nowhere"), &link).expect("a link can be made");
    let error = SystemSemaphore::open(NativeIpcKey::new(&link, tested.key_type), 1).expect_err("no file");
    assert_eq!(error.kind(), ErrorKind::KeyError, "{error}");
    assert!(error.to_string().contains(&link) && error.to_string().contains("symbolic link"), "{error}");
    fs::remove_file(link).expect("it was made here");
}

case!(SystemV, waiters_and_last_process_are_reported);

fn waiters_and_last_process_are_reported(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t1");
    assert_eq!(semaphore.last_pid().expect("it is told"), Some(holder.pid()));
    assert_eq!(semaphore.waiting().expect("it is told"), 0);
    waiter.block("acquire\ts\t1");
    assert_eq!(semaphore.waiting().expect("it is told"), 1);
    holder.must("drop\ts");
    waiter.answer().expect("it was given back");
    assert_eq!(semaphore.waiting().expect("it is told"), 0);
}
