//! When the file comes and goes.

use std::fs;

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};
use test_support::{Puppet, process, wait_until};

use super::wait_for_waiters;
use crate::case;
use crate::system_v::assert_can_be_found;
use crate::tested_type::{TestedType, assert_permits, exists, free};

case!(Robust, last_user_removes_file);

fn last_user_removes_file(tested: &TestedType) {
    let file = tested.file("s");
    assert!(!file.exists());
    let maker = tested.create("s", 2);
    assert!(file.exists());
    let (mut one, mut two) = (tested.puppet("s"), tested.puppet("s"));
    two.must("acquire\ts\t1");
    drop(maker);
    assert!(file.exists(), "others use it");
    one.must("close\ts");
    assert!(file.exists(), "another uses it");
    assert_eq!(two.must("available\ts"), "1");
    two.must("drop\ts");
    assert_eq!(two.must("available\ts"), "2");
    two.must("close\ts");
    assert!(!file.exists(), "nobody uses it");
    // nor does the directory stay, unless another test has something in it
    let directory = file.parent().expect("it is in one").to_owned();
    wait_until("the directory goes or is in use", || match fs::read_dir(&directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => true,
    });
}

case!(Robust, semaphore_with_detached_permits_ends_with_its_last_handle);

/// A user that exits without closing, with and without permits, is gone like a dead one.
fn semaphore_with_detached_permits_ends_with_its_last_handle(tested: &TestedType) {
    let key = tested.key("s");
    let mut user = Puppet::of_this_program();
    user.must(&format!("open\ts\t{key}\t3\tCreateNew"));
    user.must("acquire\ts\t1");
    user.must("hold\ts");
    user.must("acquire\ts\t1");
    user.must("leak\ts");
    user.must("close\ts");
    assert!(tested.file("s").exists(), "it still holds two");
    let other = SystemSemaphore::new(&key, 0, AccessMode::OpenExisting).expect("it is there");
    assert_permits(&other, 1, 2);
    drop(other);
    user.exit();
    assert!(!exists(&key));
    assert!(!tested.file("s").exists());
}

case!(Robust, leaked_guard_outlives_last_handle);

/// A guard that was leaked keeps its permits with the process, even if nothing else of the semaphore is left in it.
fn leaked_guard_outlives_last_handle(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut user = tested.puppet("s");
    user.must("leak-borrowed\ts\t2");
    user.must("close\ts");
    assert_permits(&semaphore, 1, 2);
    user.must(&format!("open\ts\t{}\t0\tOpenExisting", tested.key("s")));
    user.must("acquire\ts\t1");
    user.must("drop\ts");
    user.must("close\ts");
    assert_permits(&semaphore, 1, 2);
    user.kill();
    assert_permits(&semaphore, 3, 0);
}

case!(Robust, persistent_semaphore_outlives_kill_and_close_of_its_last_user);

fn persistent_semaphore_outlives_kill_and_close_of_its_last_user(tested: &TestedType) {
    let key = tested.key("s");
    let mut maker = Puppet::of_this_program();
    maker.must(&format!("build\ts\t{key}\tinitial=3\tpersistent"));
    maker.must("add\ts\t4");
    maker.must("acquire\ts\t2");
    maker.must("acquire\ts\t1");
    maker.must("forget\ts");
    maker.kill();
    assert!(tested.file("s").exists());
    let again = SystemSemaphore::open(&key, 9).expect("it is there");
    assert_permits(&again, 6, 0);
    assert_eq!(again.recoveries().expect("it is told"), 1);
    again.add_permits(1).expect("there is room");
    drop(again);
    assert!(tested.file("s").exists());
    for _ in 0..2 {
        let again = SystemSemaphore::new(&key, 9, AccessMode::OpenExisting).expect("it is there");
        assert_permits(&again, 7, 0);
        let error = SystemSemaphore::new(&key, 9, AccessMode::CreateNew).expect_err("it is there");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    // a reset leaves it persistent
    drop(SystemSemaphore::create(&key, 2).expect("it can be reset"));
    let again = SystemSemaphore::new(&key, 9, AccessMode::OpenExisting).expect("it is there");
    assert_permits(&again, 2, 0);
    drop(again);
    tested.remove(&key);
    assert!(!exists(&key));
    // one that was made for its users can be made persistent while it has some
    let semaphore = tested.create("s", 1);
    drop(SystemSemaphore::builder(&key).persistent(true).build().expect("it is there"));
    drop(semaphore);
    assert!(tested.file("s").exists());
    tested.remove(&key);
}

case!(Robust, file_of_another_semaphore_is_never_removed);

/// Something else has got the name meanwhile. Closing must not take that away.
fn file_of_another_semaphore_is_never_removed(tested: &TestedType) {
    let (key, file) = (tested.key("s"), tested.file("s"));
    let old = tested.create("s", 1);
    let mut old_user = tested.puppet("s");
    fs::remove_file(&file).expect("it is there");
    let new = tested.create("s", 5);
    let mut new_user = tested.puppet("s");
    assert_eq!((free(&old), free(&new)), (1, 5));
    let permit = old.acquire().expect("its users keep it");
    assert_eq!((old_user.must("available\ts"), new_user.must("available\ts")), ("0".into(), "5".into()));
    drop(permit);
    old_user.must("close\ts");
    drop(old);
    assert!(file.exists(), "it is the new one's");
    assert_eq!(free(&SystemSemaphore::new(&key, 0, AccessMode::OpenExisting).expect("it is there")), 5);
    drop(new);
    assert!(file.exists(), "it has another user");
    assert_eq!(new_user.must("available\ts"), "5");

    // not even if it is no semaphore at all (in one step: the directory goes when there is nothing in it)
    let other = file.with_extension("precious");
    fs::write(&other, "precious").expect("it can be written");
    fs::rename(&other, &file).expect("it is there");
    new_user.must("close\ts");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");
    fs::remove_file(&file).expect("it is there");
}

case!(Robust, users_and_waiters_get_removal_error);

fn users_and_waiters_get_removal_error(tested: &TestedType) {
    let key = tested.key("s");
    let semaphore = tested.create("s", 3);
    let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t1");
    holder.must("acquire\ts\t1");
    holder.must("hold\ts");
    let permit = semaphore.acquire().expect("one is free");
    waiter.must("start\ta\tacquire\ts\t1");
    waiter.must("start\tb\tacquire\ts\t3");
    waiter.block("acquire\ts\t1\t60000");
    wait_for_waiters(&semaphore, 3);
    SystemSemaphore::remove(&key).expect("it is there");
    assert!(!tested.file("s").exists());
    let successor = tested.create("s", 9);

    for answer in [waiter.answer(), waiter.ask("finish\ta"), waiter.ask("finish\tb")] {
        let failure = answer.expect_err("it was removed");
        assert_eq!(failure.kind, "NotFound", "{failure:?}");
        assert!(failure.message.contains("was removed"), "{failure:?}");
    }
    for error in [
        semaphore.acquire().expect_err("it was removed"),
        semaphore.try_acquire().expect_err("it was removed"),
        semaphore.acquire_many(3).expect_err("it was removed"),
        semaphore.acquire_timeout(test_support::TEST_TIMEOUT).expect_err("it was removed"),
        semaphore.release(1).expect_err("it was removed"),
        semaphore.add_permits(1).expect_err("it was removed"),
        semaphore.available_permits().expect_err("it was removed"),
        permit.release().expect_err("it was removed"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("was removed"), "{error}");
    }
    for command in ["drop\ts", "release\ts\t1", "acquire\ts\t1", "add\ts\t1", "available\ts"] {
        assert_eq!(holder.ask(command).expect_err("it was removed").kind, "NotFound", "{command}");
    }
    holder.must("close\ts");
    waiter.kill();
    drop(semaphore);
    assert!(tested.file("s").exists(), "it is the successor's");
    assert_permits(&successor, 9, 0);
}

case!(Robust, semaphore_that_is_not_removed_can_be_opened);

fn semaphore_that_is_not_removed_can_be_opened(tested: &TestedType) {
    assert_can_be_found(&tested.key("s"));
}

case!(Robust, process_can_open_one_semaphore_twice_and_two_at_once);

/// Two opens of one semaphore are one user; two semaphores in one process are two.
fn process_can_open_one_semaphore_twice_and_two_at_once(tested: &TestedType) {
    let (one, other) = (tested.create("one", 2), tested.create("other", 3));
    let mut user = Puppet::of_this_program();
    for (handle, name) in [("a", "one"), ("b", "one"), ("c", "other")] {
        user.must(&format!("open\t{handle}\t{}\t0\tOpenExisting", tested.key(name)));
    }
    let data = fs::metadata(tested.file("one")).expect("it is there");
    assert!(process::descriptors_of(user.pid(), &data) <= 2, "as with one handle");
    user.must("acquire\ta\t1");
    user.must("hold\ta");
    assert_eq!((user.must("held\tb"), user.must("held\tc")), ("1".into(), "0".into()));
    user.must("acquire\tb\t1");
    user.must("acquire\tc\t2");
    assert_permits(&one, 0, 2);
    assert_permits(&other, 1, 2);
    assert_eq!(one.holders().expect("they are told").len(), 1);
    // one waits for another thread of its own process, through another handle
    user.must("start\tt\tacquire\ta\t1");
    wait_for_waiters(&one, 1);
    user.must("drop\tb");
    user.must("finish\tt");
    user.must("close\ta");
    assert_permits(&one, 1, 1);
    user.must("release\tb\t1");
    assert_permits(&one, 2, 0);
    user.must("try\tb\t2");
    user.kill();
    assert_permits(&one, 2, 0);
    assert_permits(&other, 3, 0);
}
