//! Whatever a process does when it is killed, its permits come back, once, to whoever wants them.

use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Observer, SystemSemaphore};
use test_support::{Puppet, kill_stray, process, wait_until};

use super::wakes::{assert_one_attempt_is_fast, wait_until_check_is_far};
use super::{wait_for_waiters, wait_for_watch};
use crate::case;
use crate::observing::LISTING;
use crate::tested_type::{TestedType, assert_permits, free};

case!(Robust, death_wakes_waiter);

fn death_wakes_waiter(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    assert_one_attempt_is_fast("waking", || {
        let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
        holder.must("acquire\ts\t1");
        waiter.block("acquire\ts\t1");
        wait_for_watch(&waiter);
        wait_until_check_is_far();
        holder.kill_and_wait();
        let begin = Instant::now();
        waiter.answer().expect("it came back");
        let time = begin.elapsed();
        waiter.must("drop\ts");
        time
    });
    assert_permits(&semaphore, 1, 0);
}

case!(Robust, death_of_watcher_and_holder_wakes_waiter);

/// Nor does it take longer when the process that watches for all others dies with it. (It is stopped first, so that it
/// can do nothing in its last moments.)
fn death_of_watcher_and_holder_wakes_waiter(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    assert_one_attempt_is_fast("waking", || {
        let mut holder = tested.puppet("s");
        holder.must("acquire\ts\t1");
        let mut waiters: Vec<Puppet> = (0..4).map(|_| tested.puppet("s")).collect();
        for waiter in &mut waiters {
            waiter.block("acquire\ts\t1");
            wait_for_watch(waiter);
        }
        let mut survivor = waiters.pop().expect("there are four");
        waiters.iter().for_each(Puppet::stop);
        wait_until_check_is_far();
        holder.kill();
        waiters.iter_mut().for_each(Puppet::start_kill);
        let begin = Instant::now();
        survivor.answer().expect("it came back");
        let time = begin.elapsed();
        survivor.must("drop\ts");
        waiters.into_iter().for_each(Puppet::kill);
        time
    });
    assert_permits(&semaphore, 1, 0);
}

case!(Robust, waiters_sleep);

/// Ten seconds, for all sorts of waiters at the same time.
fn waiters_sleep(tested: &TestedType) {
    // One a second, and some in the first moments of the watch. A waiter that polls for deaths naps a hundred times.
    const MOST_NAPS: u64 = 40;
    let semaphores = [tested.create("one", 1), tested.create("many", 3), tested.create("other", 0)];
    let mut holder = Puppet::of_this_program();
    holder.must(&format!("open\tone\t{}\t0\tOpenExisting", tested.key("one")));
    holder.must(&format!("open\tmany\t{}\t0\tOpenExisting", tested.key("many")));
    holder.must("acquire\tone\t1");
    holder.must("acquire\tmany\t2");
    // the first watches for the others
    let mut waiters =
        [tested.puppet("one"), tested.puppet("one"), tested.puppet("many"), tested.puppet("other")];
    waiters[0].block("acquire\ts\t1");
    wait_for_watch(&waiters[0]);
    waiters[1].block("acquire\ts\t1\t600000");
    waiters[2].block("acquire\ts\t3");
    waiters[3].block("acquire\ts\t2\t600000");
    waiters.iter().for_each(wait_for_watch);
    // Any process that lists all semaphores closes their files, and each close makes the watcher's thread scan. It wakes no
    // waiting thread, and no thread of a standby.
    let naps = || {
        let threads = waiters.each_ref().map(Puppet::sleep_count);
        (threads, process::sleep_count_of_all_threads(waiters[1].pid()))
    };
    let before = naps();
    // not to wait for anything, but because it is what is asked
    let end = Instant::now() + Duration::from_secs(10);
    wait_until("ten seconds pass", || Instant::now() >= end);
    let after = naps();
    for (number, (before, after)) in before.0.into_iter().zip(after.0).enumerate() {
        assert!(after - before <= MOST_NAPS, "waiter {number} slept {} times", after - before);
    }
    assert!(after.1 - before.1 <= MOST_NAPS, "the standby slept {} times", after.1 - before.1);
    holder.kill();
    waiters[2].answer().expect("two came back");
    let mut first_two = waiters.iter_mut().take(2);
    let (one, two) = (first_two.next().expect("one"), first_two.next().expect("two"));
    semaphores[0].add_permits(1).expect("there is room");
    one.answer().expect("it came back, or is new");
    two.answer().expect("it came back, or is new");
    semaphores[2].add_permits(2).expect("there is room");
    waiters[3].answer().expect("there are two");
    assert_permits(&semaphores[0], 0, 2);
    assert_permits(&semaphores[1], 0, 3);
    assert_permits(&semaphores[2], 0, 2);
}

case!(Robust, scan_wakes_one_process_at_most);

/// The one that watches for all who wait.
fn scan_wakes_one_process_at_most(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let _lock = LISTING.lock();
    let mut waiters = [tested.puppet("s"), tested.puppet("s")];
    for waiter in &mut waiters {
        waiter.block("acquire\ts\t1");
        wait_for_watch(waiter);
    }
    let naps = || waiters.each_ref().map(|waiter| process::sleep_count_of_all_threads(waiter.pid()));
    let (begin, before) = (Instant::now(), naps());
    for _ in 0..50 {
        let [watcher, _] = naps();
        drop(Observer::new(tested.key("s")).expect("it is there"));
        wait_until("the watcher has seen it", || naps()[0] > watcher);
    }
    let (standby, by_itself) = (naps()[1] - before[1], 10 + 2 * begin.elapsed().as_secs());
    assert!(standby <= by_itself, "{standby} naps in {:?}", begin.elapsed());
    semaphore.add_permits(2).expect("there is room");
    waiters.iter_mut().for_each(|waiter| drop(waiter.answer().expect("there are two")));
}

case!(Robust, death_wakes_thread_of_third_process);

fn death_wakes_thread_of_third_process(tested: &TestedType) {
    let semaphore = tested.create("s", 2);
    let (mut holder, mut third) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t2");
    third.must("start\ta\tacquire\ts\t1");
    third.must("start\tb\tacquire\ts\t1");
    third.must("start\tc\tacquire\ts\t1");
    wait_for_waiters(&semaphore, 3);
    holder.kill();
    wait_for_waiters(&semaphore, 1);
    semaphore.add_permits(1).expect("there is room");
    for thread in ["a", "b", "c"] {
        third.must(&format!("finish\t{thread}"));
    }
    assert_eq!(third.must("guards\ts"), "3");
    assert_permits(&semaphore, 0, 3);
    third.kill();
    assert_permits(&semaphore, 3, 0);
}

case!(Robust, death_among_many_users_is_found_at_once);

/// Of so many, not all are asked about each time.
fn death_among_many_users_is_found_at_once(tested: &TestedType) {
    const MANY: u32 = 64;
    let semaphore = tested.create("s", MANY);
    let mut holders: Vec<Puppet> = (0..MANY).map(|_| tested.puppet("s")).collect();
    for holder in &mut holders {
        holder.must("acquire\ts\t1");
    }
    for holder in holders.drain(..MANY as usize / 2) {
        // now all have been looked at
        assert_eq!(free(&semaphore), 0);
        holder.kill();
        semaphore.try_acquire().expect("it came back").detach();
    }
    drop(holders);
    wait_until("all have come back", || free(&semaphore) == MANY / 2);
    semaphore.release(MANY / 2).expect("they are held");
}

case!(Robust, next_opener_recovers_dead_holders);

fn next_opener_recovers_dead_holders(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let die_with = |permits: u32| {
        let mut holder = tested.puppet("s");
        holder.must(&format!("acquire\ts\t{permits}"));
        holder.kill();
    };
    // each is the first call after a death
    die_with(3);
    drop(semaphore.try_acquire().expect("it came back"));
    die_with(3);
    drop(semaphore.try_acquire_many(3).expect("they came back"));
    die_with(3);
    drop(semaphore.acquire_timeout(Duration::ZERO).expect("it came back"));
    die_with(3);
    drop(semaphore.acquire().expect("it came back"));
    die_with(3);
    drop(semaphore.acquire_many(3).expect("they came back"));
    die_with(1);
    assert_eq!(free(&semaphore), 3);
    die_with(1);
    assert_eq!(semaphore.recoveries().expect("it is told"), 7);
    die_with(3);
    let mut opener = tested.puppet("s");
    opener.must("try\ts\t3");
    opener.must("drop\ts");
    // a stranger that never asks is no help, and no hindrance
    let stranger = tested.puppet("s");
    die_with(3);
    stranger.stop();
    let opened = SystemSemaphore::open(tested.key("s"), 9).expect("it is there");
    assert_permits(&opened, 3, 0);
    stranger.kill();
    assert_permits(&opened, 3, 0);
}

case!(Robust, permits_of_dead_holder_with_threads_come_back);

/// Several threads, several permits, some taken by one thread and given to another or given back there.
fn permits_of_dead_holder_with_threads_come_back(tested: &TestedType) {
    let semaphore = tested.create("s", 12);
    for _ in 0..3 {
        let mut holder = tested.puppet("s");
        for thread in ["a", "b", "c", "d"] {
            holder.must(&format!("start\t{thread}\tacquire\ts\t2"));
        }
        for thread in ["a", "b", "c", "d"] {
            holder.must(&format!("finish\t{thread}"));
        }
        holder.must("acquire\ts\t1");
        assert_permits(&semaphore, 3, 9);
        // all were taken by threads that have ended; now the main one and new ones do things to them
        holder.must("drop\ts");
        holder.must("start\te\tdrop\ts");
        holder.must("finish\te");
        holder.must("merge\ts");
        holder.must("split\ts\t1");
        holder.must("start\tf\thold\ts");
        holder.must("finish\tf");
        holder.must("start\tg\trelease\ts\t1");
        holder.must("finish\tg");
        holder.must("start\th\tacquire\ts\t3");
        holder.must("finish\th");
        holder.must("start\ti\tidle");
        assert_permits(&semaphore, 4, 8);
        holder.kill();
        assert_permits(&semaphore, 12, 0);
    }
    assert_eq!(semaphore.recoveries().expect("it is told"), 3);
}

case!(Robust, detached_forgotten_split_and_merged_permits_are_recovered_right);

/// What has happened to permits before the death is what counts.
fn detached_forgotten_split_and_merged_permits_are_recovered_right(tested: &TestedType) {
    let semaphore = tested.create("s", 20);
    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t7");
    holder.must("split\ts\t3");
    holder.must("forget\ts");
    holder.must("acquire\ts\t5");
    holder.must("merge\ts");
    assert_eq!(holder.must("guards\ts"), "9");
    holder.must("split\ts\t6");
    holder.must("hold\ts");
    assert_eq!(holder.must("forget-held\ts\t2"), "2");
    holder.must("release\ts\t1");
    // 12 taken, 5 of them forgotten, one given back
    assert_permits(&semaphore, 9, 6);
    holder.must("add\ts\t2");
    // gives back the three that are held, and creates one
    holder.must("release\ts\t4");
    assert_permits(&semaphore, 15, 3);
    holder.must("leak\ts");
    holder.kill();
    assert_permits(&semaphore, 18, 0);
}

case!(Robust, permits_of_dead_holder_with_children_come_back);

/// The child that it has forked holds nothing of its parent's, and keeps nothing from coming back.
fn permits_of_dead_holder_with_children_come_back(tested: &TestedType) {
    let semaphore = tested.create("s", 6);
    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t2");
    let idle: u32 = holder.must("fork\ts\t0").parse().expect("a pid");
    let user: u32 = holder.must("fork\ts\t1").parse().expect("a pid");
    holder.must("acquire\ts\t2");
    assert_permits(&semaphore, 1, 5);
    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t3");
    holder.kill_and_wait();
    waiter.answer().expect("they came back");
    assert!(!process::is_gone(idle) && !process::is_gone(user));
    assert_permits(&semaphore, 2, 4);
    let holders = semaphore.holders().expect("they are told");
    assert!(holders.iter().any(|holder| holder.pid == Some(user) && holder.permits == 1), "{holders:?}");
    // the child's are its own, and come back with it
    kill_stray(idle);
    assert_permits(&semaphore, 2, 4);
    kill_stray(user);
    assert_permits(&semaphore, 3, 3);
}

case!(Robust, many_deaths_serve_many_waiters);

fn many_deaths_serve_many_waiters(tested: &TestedType) {
    let semaphore = tested.create("s", 20);
    let mut holders: Vec<Puppet> = (0..10).map(|_| tested.puppet("s")).collect();
    for holder in &mut holders {
        holder.must("acquire\ts\t2");
    }
    let mut waiters: Vec<Puppet> = (0..16).map(|_| tested.puppet("s")).collect();
    for (index, waiter) in waiters.iter_mut().enumerate() {
        // twelve for one and four for two
        waiter.block(&format!("acquire\ts\t{}", 1 + index % 4 / 3));
    }
    wait_for_waiters(&semaphore, 16);
    holders.iter_mut().for_each(Puppet::start_kill);
    for waiter in &mut waiters {
        waiter.answer().expect("they came back");
    }
    holders.into_iter().for_each(Puppet::kill);
    assert_permits(&semaphore, 0, 20);
    assert_eq!(semaphore.recoveries().expect("it is told"), 10);
    // and all of those die at once, with nobody to wait for it
    waiters.iter_mut().for_each(Puppet::start_kill);
    waiters.into_iter().for_each(Puppet::kill);
    assert_permits(&semaphore, 20, 0);
    // who dies while it gives back for another may have counted that one already
    assert!(semaphore.recoveries().expect("it is told") >= 26);
}

case!(Robust, waiter_killed_on_wake_up_loses_nothing);

/// Whoever is woken may be killed before it has taken its permit, or right after.
fn waiter_killed_on_wake_up_loses_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let mut survivor = tested.puppet("s");
    let end = Instant::now() + Duration::from_secs(2);
    let mut rounds = 0;
    while Instant::now() < end || rounds < 5 {
        let mut victim = tested.puppet("s");
        // either is woken first
        let (first, second) =
            if rounds % 2 == 0 { (&mut victim, &mut survivor) } else { (&mut survivor, &mut victim) };
        first.block("acquire\ts\t1");
        second.block("acquire\ts\t1");
        semaphore.add_permits(1).expect("there is room");
        (0..fastrand::u32(..20_000)).for_each(|_| std::hint::spin_loop());
        victim.kill();
        survivor.answer().expect("the one or the other wakes it");
        survivor.must("forget\ts");
        assert_permits(&semaphore, 0, 0);
        rounds += 1;
    }
}

case!(Robust, death_at_any_moment_loses_nothing);

/// A holder that is killed in the middle of whatever it does, again and again.
fn death_at_any_moment_loses_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let counter = super::Counter::new(tested);
    let end = Instant::now() + Duration::from_secs(2);
    let mut rounds = 0;
    let mut waiter = tested.puppet("s");
    while Instant::now() < end || rounds < 5 {
        let mut victims: Vec<Puppet> = (0..3).map(|_| tested.puppet("s")).collect();
        for victim in &mut victims {
            victim.send(&format!("work\ts\t{}", counter.path()));
        }
        counter.wait_for_progress("the work", 30);
        waiter.send("acquire\ts\t3");
        (0..fastrand::u32(..20_000)).for_each(|_| std::hint::spin_loop());
        victims.iter_mut().for_each(Puppet::start_kill);
        waiter.answer().expect("all three are free in the end");
        victims.into_iter().for_each(Puppet::kill);
        assert_permits(&semaphore, 0, 3);
        waiter.must("drop\ts");
        rounds += 1;
    }
    assert_permits(&semaphore, 3, 0);
}

case!(Robust, hundred_processes_can_use_one_semaphore);

/// The slots of so many do not lie in the file's first page.
fn hundred_processes_can_use_one_semaphore(tested: &TestedType) {
    const USERS: u32 = 100;
    let semaphore = tested.create("s", USERS + 1);
    let mut users: Vec<Puppet> = (0..USERS).map(|_| tested.puppet("s")).collect();
    for user in &mut users {
        user.must("acquire\ts\t1");
    }
    assert_permits(&semaphore, 1, USERS);
    // one of the last waits, and one of the last dies
    let mut waiter = users.pop().expect("there are many");
    waiter.block("acquire\ts\t2");
    users.pop().expect("there are many").kill();
    waiter.answer().expect("one was free and one came back");
    let pid = waiter.pid();
    let data = std::fs::metadata(tested.file("s")).expect("it is there");
    let pages = process::resident(pid, &data) / 4096;
    assert!((1..=3).contains(&pages), "{pages} pages");
    waiter.must("drop\ts");
    waiter.must("drop\ts");
    assert_permits(&semaphore, 3, USERS - 2);
    for user in users.iter_mut().step_by(2) {
        user.must("close\ts");
    }
    assert_permits(&semaphore, 3 + (USERS - 2) / 2, (USERS - 2) / 2);
    users.iter_mut().for_each(Puppet::start_kill);
    users.into_iter().for_each(Puppet::kill);
    wait_until("all came back", || free(&semaphore) == USERS + 1);
    assert_permits(&semaphore, USERS + 1, 0);
    assert_eq!(semaphore.recoveries().expect("it is told"), u64::from(1 + (USERS - 2) / 2));
    drop(SystemSemaphore::new(tested.key("s"), 0, AccessMode::OpenExisting).expect("it is there"));
}
