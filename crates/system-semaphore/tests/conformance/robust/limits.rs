//! What it costs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;

use test_support::{Puppet, process, wait_until};

use super::{WATCHER_THREADS, wait_for_waiters};
use crate::case;
use crate::tested_type::{TestedType, assert_permits};

case!(Robust, uncontended_pairs_make_no_system_call);

/// A million pairs by a process that any system call would kill.
fn uncontended_pairs_make_no_system_call(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let make_pairs = |mut puppet: Puppet| {
        // a death or a reset before may have left a wake-up to be done
        puppet.must("acquire\ts\t1");
        puppet.must("drop\ts");
        puppet.send("pairs\ts\t1000000");
        let status = puppet.end();
        assert_eq!(status.code(), Some(42), "{status}");
    };
    make_pairs(tested.puppet("s"));
    let mut threaded = tested.puppet("s");
    threaded.must("start\tt\tidle");
    make_pairs(threaded);
    assert_permits(&semaphore, 3, 0);
    // after a reset, with some that are held
    let mut holder = tested.puppet("s");
    holder.must(&format!("open\tr\t{}\t2\tCreate", tested.key("s")));
    holder.must("acquire\ts\t1");
    make_pairs(holder);
    assert_permits(&semaphore, 2, 0);
}

case!(Robust, pair_that_wakes_makes_system_call);

/// That the case above would see one.
fn pair_that_wakes_makes_system_call(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let (mut puppet, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    waiter.block("acquire\ts\t4");
    wait_for_waiters(&semaphore, 1);
    puppet.send("pairs\ts\t1");
    let status = puppet.end();
    const SIGSYS: i32 = 31;
    assert_eq!(status.signal(), Some(SIGSYS), "{status}");
    semaphore.add_permits(1).expect("there is room");
    waiter.answer().expect("there are four");
    assert_permits(&semaphore, 0, 4);
}

case!(Robust, semaphore_costs_two_descriptors_and_three_pages);

fn semaphore_costs_two_descriptors_and_three_pages(tested: &TestedType) {
    let semaphore = tested.create("s", 2);
    let data = fs::metadata(tested.file("s")).expect("it is there");
    let mut user = tested.puppet("s");
    user.must("close\ts");
    let before = process::descriptors(user.pid());
    user.must(&format!("open\ts\t{}\t0\tOpenExisting", tested.key("s")));
    let check = |user: &Puppet, what: &str| {
        let count = process::descriptors_of(user.pid(), &data);
        assert!((1..=2).contains(&count), "{what}: {count} descriptors");
        let pages = process::resident(user.pid(), &data) / 4096;
        assert!((1..=3).contains(&pages), "{what}: {pages} pages");
    };
    check(&user, "open");
    user.must("acquire\ts\t1");
    user.must("try\ts\t1");
    check(&user, "holding");
    assert!(process::descriptors(user.pid()) - before <= 2);
    let (mut one, mut other) = (tested.puppet("s"), tested.puppet("s"));
    for waiter in [&mut one, &mut other] {
        waiter.must("start\ta\tacquire\ts\t1");
        waiter.must("start\tb\tacquire\ts\t1");
    }
    wait_for_waiters(&semaphore, 4);
    for waiter in [&one, &other] {
        wait_until("deaths are watched", || process::threads(waiter.pid()) == 3 + WATCHER_THREADS);
        check(waiter, "waiting");
        // and one for all that the process has watched
        assert!(process::descriptors(waiter.pid()) - before <= 3);
    }
    user.kill();
    semaphore.add_permits(2).expect("there is room");
    for waiter in [&mut one, &mut other] {
        waiter.must("finish\ta");
        waiter.must("finish\tb");
        check(waiter, "having waited");
        waiter.must("close\ts");
        wait_until("all descriptors are closed", || process::descriptors(waiter.pid()) == before);
        assert_eq!(process::resident(waiter.pid(), &data), 0);
    }
    assert_permits(&semaphore, 4, 0);
    let pages = fs::metadata(tested.file("s")).expect("it is there").blocks() * 512 / 4096;
    assert!(pages <= 3, "the file has {pages} pages");
    // the maker is a user like others
    let pages = process::resident(std::process::id(), &data) / 4096;
    assert!((1..=3).contains(&pages), "{pages} pages");
}

case!(Robust, watcher_thread_exists_only_during_long_waits);

fn watcher_thread_exists_only_during_long_waits(tested: &TestedType) {
    let (one, other) = (tested.create("one", 1), tested.create("other", 0));
    let mut puppet = Puppet::of_this_program();
    for name in ["one", "other"] {
        puppet.must(&format!("open\t{name}\t{}\t0\tOpenExisting", tested.key(name)));
    }
    let threads = |puppet: &Puppet| process::threads(puppet.pid());
    puppet.must("acquire\tone\t1");
    puppet.must("drop\tone");
    puppet.must("acquire\tone\t1");
    assert_eq!(threads(&puppet), 1);
    // a busy machine may make a short wait a long one, but not each time
    let is_without = (0..5).any(|_| {
        puppet.must("short-waits\tother\t50");
        let is_without = threads(&puppet) == 1;
        wait_until("the thread ends", || threads(&puppet) == 1);
        is_without
    });
    assert!(is_without, "short waits need none");

    // four waiters for two semaphores have one in common
    for (thread, name) in [("a", "one"), ("b", "other"), ("c", "one"), ("d", "other")] {
        puppet.must(&format!("start\t{thread}\tacquire\t{name}\t1"));
    }
    wait_for_waiters(&one, 2);
    wait_for_waiters(&other, 2);
    wait_until("deaths are watched", || threads(&puppet) == 6);
    let mut dead = Puppet::of_this_program();
    dead.must(&format!("open\ts\t{}\t0\tOpenExisting", tested.key("other")));
    dead.must("add\ts\t1");
    dead.kill();
    wait_for_waiters(&other, 1);
    wait_until("that one ends", || threads(&puppet) == 6 - 1);
    other.add_permits(1).expect("there is room");
    one.add_permits(2).expect("there is room");
    for thread in ["a", "b", "c", "d"] {
        puppet.must(&format!("finish\t{thread}"));
    }
    wait_until("the thread ends", || threads(&puppet) == 1);
    // and comes again
    puppet.must("start\te\tacquire\tone\t1");
    wait_until("deaths are watched", || threads(&puppet) == 3);
    one.add_permits(1).expect("there is room");
    puppet.must("finish\te");
    wait_until("the thread ends", || threads(&puppet) == 1);
    assert_permits(&one, 0, 4);
    assert_permits(&other, 0, 2);
}
