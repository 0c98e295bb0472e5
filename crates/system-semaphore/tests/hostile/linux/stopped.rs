//! A process is stopped while it has a lock that others need.

use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Error, ErrorKind, SystemSemaphore};
use test_support::format::{self, REGISTRY_BYTE, WATCHER_BYTE, header, slot, slot_at, slot_of};
use test_support::robust_file::assert_works;
use test_support::{Puppet, byte_lock, wait_until};

use super::helper;
use super::test_file::{MODES, PROMPT, TestFile, free};

/// A process that has this lock and is stopped; `at` says so in the file.
fn stopped(test_file: &TestFile, byte: u16, at: u64) -> Puppet {
    let mut helper = helper::start();
    helper.must(&format!("lock\t{}\t{byte}\t{}", test_file.path.display(), byte + 1));
    test_file.file().write_all_at(&helper.pid().to_ne_bytes(), at).expect("it can be written");
    helper.stop();
    helper
}

fn stopped_registrar(test_file: &TestFile) -> Puppet {
    stopped(test_file, REGISTRY_BYTE, header::REGISTRY_OWNER_PID)
}

fn names_who_is_stopped(error: &Error, pid: u32) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{text}");
    for word in [&format!("process {pid}"), "stopped", "let it go on, or end it"] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

pub(crate) fn stopped_registry_owner_is_named() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let (mut holder, mut waiter) = (test_file.puppet(), test_file.puppet());
    let registrar = stopped_registrar(&test_file);
    let begin = Instant::now();
    thread::scope(|scope| {
        let (test_file, semaphore) = (&test_file, &semaphore);
        let attempts = MODES.map(|mode| scope.spawn(move || test_file.open(2, mode).map(drop)));
        let removal = scope.spawn(|| test_file.remove());
        let inheritable = scope.spawn(|| semaphore.acquire_inheritable(1, None).map(drop));
        // meanwhile the others go on, and the dead give back
        assert_works(semaphore, 3);
        holder.must("acquire\ts\t3");
        waiter.block("acquire\ts\t1");
        holder.kill();
        waiter.answer().expect("the permits came back");
        semaphore.add_permits(2).expect("there is room");
        assert_eq!(free(semaphore), 4);
        for attempt in attempts.into_iter().chain([removal, inheritable]) {
            let error = attempt.join().expect("it does not panic").expect_err("somebody is in the way");
            names_who_is_stopped(&error, registrar.pid());
        }
    });
    let elapsed = begin.elapsed();
    assert!((Duration::from_secs(1)..PROMPT).contains(&elapsed), "it took {elapsed:?}");
    // who goes on lets the others go on
    thread::scope(|scope| {
        let attempt =
            scope.spawn(|| SystemSemaphore::new(&test_file.key, 0, AccessMode::OpenExisting).map(drop));
        registrar.resume();
        assert!(registrar.exit().success());
        attempt.join().expect("it does not panic").expect("nobody is in the way");
    });
    waiter.must("drop\ts");
    assert_works(&semaphore, 5);
    let again = test_file.open(2, AccessMode::Create).expect("nobody is in the way");
    assert_works(&again, 2);
}

/// Here it is one that opens and closes; the others only play that.
pub(crate) fn registry_owner_writes_its_pid() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let mut registrar = Puppet::of_this_program();
    registrar.send(&format!("open-close-loop\t{}\t600000", test_file.key));
    let file = test_file.file();
    wait_until("it is stopped with the lock", || {
        registrar.stop();
        let pid = format::read_u32(&file, header::REGISTRY_OWNER_PID).expect("it can be read");
        let is_locked = byte_lock::is_locked_by_other(&test_file.file(), REGISTRY_BYTE..REGISTRY_BYTE + 1);
        let is_caught = is_locked && pid == registrar.pid();
        if !is_caught {
            registrar.resume();
        }
        is_caught
    });
    let error = test_file.open(3, AccessMode::Open).expect_err("somebody is in the way");
    names_who_is_stopped(&error, registrar.pid());
    assert_works(&semaphore, 3);
    registrar.kill();
    drop(test_file.puppet());
    assert_works(&semaphore, 3);
}

/// A stranger that locks everything says nothing in the file.
pub(crate) fn unknown_registry_owner_is_not_named() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let mut waiter = test_file.puppet();
    let mut stranger = helper::start();
    stranger.must(&format!("lock\t{}\t2\t{}", test_file.path.display(), u16::MAX));
    assert_works(&semaphore, 3);
    waiter.must("acquire\ts\t3");
    waiter.kill();
    assert_works(&semaphore, 3);
    let error = test_file.open(3, AccessMode::Open).expect_err("somebody is in the way");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    stranger.kill();
    drop(test_file.puppet());
    assert_works(&semaphore, 3);
    assert!(!error.to_string().contains("process 0"), "{error}");
}

pub(crate) fn close_does_not_wait_for_stopped_registry_owner() {
    // long, next to the 100 ms that a close has, and short next to the 3 s of an open
    const CLOSE: Duration = Duration::from_secs(2);
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let (mut other, mut another) = (test_file.puppet(), test_file.puppet());
    let registrar = stopped_registrar(&test_file);
    let mut closes: Vec<Duration> = Vec::new();
    let mut close = |action: &mut dyn FnMut()| {
        let begin = Instant::now();
        action();
        closes.push(begin.elapsed());
    };
    close(&mut || drop(other.must("close\ts")));
    let mut semaphore = Some(semaphore);
    close(&mut || drop(semaphore.take()));
    close(&mut || drop(another.must("close\ts")));
    closes.sort();
    assert!(closes[1] < CLOSE, "they took {closes:?}");
    assert!(test_file.exists(), "who has not the lock may not remove it");
    registrar.kill();
    // a leftover is none
    let error = test_file.open(0, AccessMode::OpenExisting).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(!test_file.exists(), "the open has cleaned up");
    assert_works(&test_file.create(4), 4);
}

/// Who has a lock that is no slot's is none who will close later, whichever slot the last user has.
pub(crate) fn last_user_removes_file_despite_lock_that_is_no_slot() {
    let test_file = TestFile::own();
    for comes_second in [false, true] {
        let mut first = Puppet::of_this_program();
        if comes_second {
            first.must(&test_file.opening("CreateNew"));
        }
        let semaphore = test_file.open(3, AccessMode::Open).expect("all can be had");
        if comes_second {
            first.must("close\ts");
        }
        let stranger = test_file.file();
        byte_lock::try_lock(&stranger, WATCHER_BYTE..WATCHER_BYTE + 1).expect("nobody watches");
        drop(semaphore);
        assert!(!test_file.exists(), "comes second: {comes_second}");
    }
}

/// A dead holder of 2 of 3, and a process that is stopped in the middle of its recovery.
fn stopped_recoverer(test_file: &TestFile) -> (u32, Puppet) {
    let mut holder = test_file.puppet();
    holder.must("acquire\ts\t2");
    let (dead, number) = (holder.pid(), slot_of(&test_file.file(), holder.pid()));
    holder.kill();
    (dead, stopped(test_file, number, slot_at(number) + slot::RECOVERER))
}

pub(crate) fn stopped_recoverer_is_named() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let (dead, recoverer) = stopped_recoverer(&test_file);
    let error = semaphore.acquire_many_timeout(3, Duration::from_millis(300)).expect_err("there is one");
    names_who_is_stopped(&error, recoverer.pid());
    assert!(error.to_string().contains(&format!("process {dead}")), "{error}");
    let error = semaphore.try_acquire_many(3).expect_err("there is one");
    assert_eq!(error.kind(), ErrorKind::NoPermits, "{error}");
    // the others go on
    assert_works(&semaphore, 1);
    drop(test_file.puppet());
    let mut puppet = test_file.puppet();
    puppet.must("acquire\ts\t1");
    puppet.must("drop\ts");
    semaphore.add_permits(1).expect("there is room");
    assert_works(&semaphore, 2);
    recoverer.kill();
    assert_works(&semaphore, 4);
    assert_eq!(semaphore.recoveries().expect("they are counted"), 1);
}

pub(crate) fn reset_does_not_wait_for_stopped_recoverer() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let (_, recoverer) = stopped_recoverer(&test_file);
    let again = test_file.open(5, AccessMode::Create).expect("a reset needs no recovery");
    assert_works(&again, 5);
    recoverer.kill();
    assert_works(&semaphore, 5);
}

pub(crate) fn waiter_gets_permits_after_recoverer_is_killed() {
    waiter_gets_permits_after_recoverer_ends(Puppet::kill);
}

pub(crate) fn waiter_gets_permits_after_recoverer_resumes_and_ends() {
    waiter_gets_permits_after_recoverer_ends(|recoverer| {
        recoverer.resume();
        assert!(recoverer.exit().success());
    });
}

/// Nobody waits before, or its process would watch, and recover before the other can.
fn waiter_gets_permits_after_recoverer_ends(end: impl FnOnce(Puppet)) {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let (_, recoverer) = stopped_recoverer(&test_file);
    let mut waiter = test_file.puppet();
    waiter.block("acquire\ts\t3");
    end(recoverer);
    waiter.answer().expect("the permits came back");
    assert_eq!(free(&semaphore), 0);
    waiter.must("drop\ts");
    assert_works(&semaphore, 3);
}
