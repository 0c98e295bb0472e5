//! A process has no descriptors, threads or inotify instances left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use system_semaphore::AccessMode;
use test_support::robust_file::{FileSnapshot, SHARED_MEMORY, assert_works};
use test_support::{Puppet, process, wait_until};

use super::syscalls;
use super::test_file::{PROMPT, TestFile, free};

/// Lets a process have only so many descriptors more.
fn leave_descriptors(puppet: &Puppet, more: usize) {
    let used: BTreeSet<u64> =
        process::descriptor_targets(puppet.pid()).into_iter().map(|(number, _)| number).collect();
    let limit = (0..).filter(|number| !used.contains(number)).nth(more).expect("numbers do not end");
    syscalls::limit(puppet.pid(), libc::RLIMIT_NOFILE, limit);
}

/// The size of its address space.
fn pages_of(puppet: &Puppet) -> u64 {
    let size = fs::read_to_string(format!("/proc/{}/statm", puppet.pid())).expect("it lives");
    size.split(' ').next().and_then(|pages| pages.parse().ok()).expect("it is a number")
}

/// Lets it have only so many more than these.
fn leave_pages(puppet: &Puppet, pages: u64, more: u64) {
    syscalls::limit(puppet.pid(), libc::RLIMIT_AS, (pages + more) * 4096);
}

pub(crate) fn lack_of_descriptors_is_an_error() {
    let here = TestFile::own();
    for test_file in [TestFile::own(), TestFile::global()] {
        for mode in ["Open", "Create", "CreateNew", "OpenExisting"] {
            for exists in [false, true] {
                let semaphore = exists.then(|| test_file.create(3));
                let mut puppet = Puppet::of_this_program();
                // so that it has begun
                let failure =
                    puppet.ask("open\tn\trobust:nowhere\t0\tOpenExisting").expect_err("there is none");
                assert_eq!(failure.kind, "NotFound", "{failure:?}");
                let failures = failures_for_lack_of_descriptors(&mut puppet, &test_file, mode);
                assert!(failures > 0, "{mode}: the limit had no effect");
                drop(puppet);
                if let Some(semaphore) = semaphore {
                    assert_works(&semaphore, if mode == "Create" { 7 } else { 3 });
                } else if test_file.exists() {
                    // its maker was killed
                    drop(test_file.open(1, AccessMode::Open).expect("nobody uses it"));
                }
                let snapshot = FileSnapshot::of(Path::new(SHARED_MEMORY));
                assert!(
                    exists || snapshot.names().is_empty(),
                    "{mode}: something is left: {:?}",
                    snapshot.names()
                );
            }
        }
    }
    assert_works(&here.create(1), 1);
}

/// Lets it open the semaphore with ever more descriptors, until that goes well.
fn failures_for_lack_of_descriptors(puppet: &mut Puppet, test_file: &TestFile, mode: &str) -> usize {
    for more in 0..10 {
        leave_descriptors(puppet, more);
        let before = FileSnapshot::of(Path::new(SHARED_MEMORY));
        match puppet.ask(&test_file.opening(mode)) {
            Ok(_) => return more,
            Err(failure) if failure.kind == "OutOfResources" => {
                let text = &failure.message;
                assert!(text.contains("open"), "{text}");
                let after = FileSnapshot::of(Path::new(SHARED_MEMORY));
                let (before, after) =
                    (String::from_utf8_lossy(before.names()), String::from_utf8_lossy(after.names()));
                assert_eq!(before, after, "{mode} with {more} descriptors has left something");
            }
            Err(failure) if matches!(&*failure.kind, "NotFound" | "AlreadyExists") => return more,
            Err(failure) => panic!("{mode} with {more} descriptors: {failure:?}"),
        }
    }
    panic!("it needs too many descriptors")
}

/// The system kills who makes a file longer than its limit.
pub(crate) fn small_file_size_limit_is_an_error() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    for limit in [0, 4096, 100_000] {
        let mut puppet = test_file.puppet();
        syscalls::limit(puppet.pid(), libc::RLIMIT_FSIZE, limit);
        let new = TestFile::own();
        let failure = puppet.ask(&new.opening("Open")).expect_err("a file may not be so long");
        assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
        // what is there needs nothing
        puppet.must(&test_file.opening("Open"));
        puppet.must("acquire\ts\t3");
        puppet.must("drop\ts");
    }
    assert_works(&semaphore, 3);
}

/// More than a waiter needs that checks every 100 ms. The sleep of a waiter that is told of deaths lasts 1 s.
const PROBED: Duration = Duration::from_millis(500);

/// The first sleep of a waiter is one of 2 ms.
fn wait_for_a_long_sleep(waiter: &Puppet) {
    let (mut naps, mut since) = (waiter.sleep_count(), Instant::now());
    wait_until("it sleeps for longer", || {
        let now = waiter.sleep_count();
        if now != naps || !waiter.is_asleep() {
            (naps, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(20)
    });
}

/// The shortest time until a waiter has the permit of a killed holder. A busy machine makes it longer, and never shorter.
/// `check` gets the waiter while it waits.
fn delay(test_file: &TestFile, waiter: &mut Puppet, check: impl Fn(&Puppet)) -> Duration {
    let delays = (0..5).map(|_| {
        let mut holder = test_file.puppet();
        holder.must("acquire\ts\t1");
        waiter.block("acquire\ts\t1");
        wait_for_a_long_sleep(waiter);
        check(waiter);
        let begin = Instant::now();
        holder.kill();
        waiter.answer().expect("the permit came back");
        let delay = begin.elapsed();
        waiter.must("drop\ts");
        delay
    });
    delays.min().expect("there are five")
}

#[track_caller]
fn sees_deaths_with(more: usize) {
    let test_file = TestFile::own();
    let semaphore = test_file.create(1);
    let mut waiter = test_file.puppet();
    leave_descriptors(&waiter, more);
    let before = process::descriptors(waiter.pid());
    let delay = delay(&test_file, &mut waiter, |waiter| {
        let open = process::descriptor_targets(waiter.pid());
        assert!(open.len() <= before + more, "it has more than the limit allows: {open:?}");
    });
    assert!(delay < PROBED, "with {more} descriptors it takes {delay:?}");
    waiter.must("close\ts");
    assert_works(&semaphore, 1);
}

pub(crate) fn waiter_without_descriptors_sees_deaths() {
    sees_deaths_with(0);
}

/// As soon as there is something to be told by, even in the midst of the wait.
pub(crate) fn waiter_begins_watch_when_descriptors_are_free() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(1);
    let mut waiter = test_file.puppet();
    let permit = semaphore.acquire().expect("it is free");
    leave_descriptors(&waiter, 0);
    waiter.block("acquire\ts\t1");
    let before = waiter.sleep_count();
    wait_until("it looks again and again", || waiter.sleep_count() > before + 3);
    assert_eq!(process::threads(waiter.pid()), 1, "the limit has no effect");
    syscalls::limit(waiter.pid(), libc::RLIMIT_NOFILE, 1000);
    wait_until("it is told of deaths", || {
        process::threads(waiter.pid()) == 2 && process::has_inotify(waiter.pid())
    });
    drop(permit);
    waiter.answer().expect("it came back");
    waiter.must("drop\ts");
    assert_works(&semaphore, 1);
}

pub(crate) fn waiter_with_one_descriptor_sees_deaths() {
    sees_deaths_with(1);
}

pub(crate) fn waiter_with_two_descriptors_sees_deaths() {
    sees_deaths_with(2);
}

pub(crate) fn lack_of_memory_is_an_error() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let other = TestFile::own();
    let mut puppet = test_file.puppet();
    leave_pages(&puppet, pages_of(&puppet), 16);
    for mode in ["Open", "Create", "CreateNew"] {
        let failure = puppet.ask(&other.opening(mode)).expect_err("there is no memory");
        assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
        assert!(failure.message.contains("memory"), "{failure:?}");
    }
    puppet.must("acquire\ts\t3");
    puppet.must("drop\ts");
    assert_works(&semaphore, 3);
}

/// A process with hundreds open maps a file in two parts; there may be no room for either.
pub(crate) fn lack_of_address_space_for_second_part_is_an_error() {
    let others: Vec<_> = (0..256).map(|_| TestFile::own()).collect();
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let mut puppet = Puppet::of_this_program();
    for (number, other) in others.iter().enumerate() {
        puppet.must(&format!("open\tother-{number}\t{}\t1\tCreateNew", other.key));
    }
    puppet.must(&test_file.opening("OpenExisting"));
    puppet.must("close\ts");
    let data = fs::metadata(&test_file.path).expect("it is there");
    let parts = |puppet: &Puppet| process::mappings_of(puppet.pid(), &data);
    let (pages, before) = (pages_of(&puppet), process::descriptors(puppet.pid()));
    let mut refused = 0;
    // The first ones are enough for what the puppet itself may need, and the last ones for all of the file, too.
    for more in 40..124 {
        leave_pages(&puppet, pages, more);
        match puppet.ask(&test_file.opening("OpenExisting")) {
            Ok(_) => {
                assert_eq!(parts(&puppet), if cfg!(target_pointer_width = "64") { 2 } else { 1 });
                puppet.must("acquire\ts\t3");
                puppet.must("drop\ts");
                puppet.must("close\ts");
            }
            Err(failure) => {
                refused += 1;
                assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
                assert!(failure.message.contains("ulimit -v"), "{failure:?}");
            }
        }
        assert_eq!((parts(&puppet), process::descriptors(puppet.pid())), (0, before), "{more} pages more");
    }
    assert!((1..84).contains(&refused), "{refused} of 84 refused");
    for number in 0..others.len() {
        puppet.must(&format!("close\tother-{number}"));
    }
    assert_works(&semaphore, 3);
}

pub(crate) fn close_without_descriptors_is_harmless() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(1);
    let (mut first, mut last) = (test_file.puppet(), test_file.puppet());
    leave_descriptors(&first, 0);
    leave_descriptors(&last, 0);
    first.must("close\ts");
    assert_works(&semaphore, 1);
    drop(semaphore);
    last.must("close\ts");
    // whether or not the file is there: nobody uses it
    let semaphore = test_file.open(5, AccessMode::Open).expect("it can be made");
    assert_works(&semaphore, 5);
    assert!(first.exit().success());
}

pub(crate) fn waiter_without_threads_sees_deaths() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(1);
    let mut waiter = test_file.puppet();
    syscalls::limit(waiter.pid(), libc::RLIMIT_NPROC, 1);
    let delay = delay(&test_file, &mut waiter, |waiter| {
        assert_eq!(process::threads(waiter.pid()), 1, "the limit has no effect");
    });
    assert!(delay < PROBED, "it takes {delay:?}");
    waiter.must("close\ts");
    assert_works(&semaphore, 1);
}

/// If it became the watcher, nobody would tell the others.
pub(crate) fn waiter_without_threads_is_no_watcher() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(1);
    let (mut holder, mut poor, mut waiter) = (test_file.puppet(), test_file.puppet(), test_file.puppet());
    syscalls::limit(poor.pid(), libc::RLIMIT_NPROC, 1);
    holder.must("acquire\ts\t1");
    assert_eq!(poor.ask("acquire\ts\t1\t50").expect_err("there is none").kind, "TimedOut");
    assert_eq!(process::threads(poor.pid()), 1, "the limit has no effect");
    holder.must("drop\ts");
    let delay = delay(&test_file, &mut waiter, |_| {});
    assert!(delay < PROBED, "it takes {delay:?}");
    drop((holder, poor, waiter));
    assert_works(&semaphore, 1);
}

pub(crate) fn waiter_without_inotify_sees_deaths() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(1);
    let mut waiter = test_file.puppet();
    let delay = delay(&test_file, &mut waiter, |waiter| {
        assert!(!process::has_inotify(waiter.pid()), "there is an instance after all");
        assert_eq!(process::threads(waiter.pid()), 1, "a thread without inotify is of no use");
    });
    assert!(delay < PROBED, "it takes {delay:?}");
    // a thread of this process waits as well
    let mut holder = test_file.puppet();
    holder.must("acquire\ts\t1");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| semaphore.acquire_timeout(PROMPT).map(drop));
        wait_until("the thread waits", || semaphore.waiting().is_ok_and(|waiting| waiting == 1));
        holder.kill();
        thread.join().expect("it does not panic").expect("the permit came back");
    });
    waiter.must("close\ts");
    assert_eq!(free(&semaphore), 1);
}

/// They take turns at looking.
pub(crate) fn many_waiters_without_inotify_see_deaths() {
    const CROWD: u32 = 40;
    let test_file = TestFile::own();
    let semaphore = test_file.create(1);
    let mut holder = test_file.puppet();
    holder.must("acquire\ts\t1");
    let mut waiters: Vec<Puppet> = (0..CROWD).map(|_| test_file.puppet()).collect();
    waiters.iter_mut().for_each(|waiter| waiter.block("acquire\ts\t1"));
    waiters.iter().for_each(wait_for_a_long_sleep);
    holder.kill();
    // a question that looks for nobody
    wait_until("one of them has it", || semaphore.waiting().expect("it is told") < CROWD);
    // each of them gives it back by its end
    drop(waiters);
    assert_works(&semaphore, 1);
}

pub(crate) fn waiter_without_inotify_watches_sees_deaths() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(1);
    let mut waiter = test_file.puppet();
    let delay = delay(&test_file, &mut waiter, |_| {});
    assert!(delay < PROBED, "it takes {delay:?}");
    waiter.must("close\ts");
    assert_works(&semaphore, 1);
}
