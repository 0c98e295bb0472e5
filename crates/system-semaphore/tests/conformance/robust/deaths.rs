//! Whatever a process does when it is killed, its permits come back, once, to whoever wants them.

use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Observer, SystemSemaphore};
use test_support::{Puppet, kill_stray, process, wait_until};

use super::wakes::must_once_be_quick;
use super::{wait_for_waiters, wait_for_watch};
use crate::observing::LISTING;
use crate::tested_type::{Subject, assert_books, free};

pub(crate) fn a_death_itself_wakes_a_waiter(subject: &Subject) {
    let semaphore = subject.create("s", 1);
    must_once_be_quick("waking", || {
        let (mut holder, mut waiter) = (subject.puppet("s"), subject.puppet("s"));
        holder.must("acquire\ts\t1");
        waiter.block("acquire\ts\t1");
        wait_for_watch(&waiter);
        holder.kill_and_wait();
        let begin = Instant::now();
        waiter.answer().expect("it came back");
        let time = begin.elapsed();
        waiter.must("drop\ts");
        time
    });
    assert_books(&semaphore, 1, 0);
}

/// Nor does it take longer when the process that watches for all others dies with it. (It is stopped first, so that it
/// can do nothing in its last moments.)
pub(crate) fn the_watcher_may_die_with_the_holder(subject: &Subject) {
    let semaphore = subject.create("s", 1);
    must_once_be_quick("waking", || {
        let mut holder = subject.puppet("s");
        holder.must("acquire\ts\t1");
        let mut waiters: Vec<Puppet> = (0..4).map(|_| subject.puppet("s")).collect();
        for waiter in &mut waiters {
            waiter.block("acquire\ts\t1");
            wait_for_watch(waiter);
        }
        let mut survivor = waiters.pop().expect("there are four");
        waiters.iter().for_each(Puppet::stop);
        holder.kill();
        waiters.iter_mut().for_each(Puppet::start_kill);
        let begin = Instant::now();
        survivor.answer().expect("it came back");
        let time = begin.elapsed();
        survivor.must("drop\ts");
        waiters.into_iter().for_each(Puppet::kill);
        time
    });
    assert_books(&semaphore, 1, 0);
}

/// Ten seconds, for all sorts of waiters at the same time.
pub(crate) fn who_waits_sleeps(subject: &Subject) {
    // One a second, and some in the first moments of the watch. Who looks for the dead because nobody tells it naps a hundred times.
    const MOST_NAPS: u64 = 40;
    let _lock = LISTING.lock();
    let semaphores = [subject.create("one", 1), subject.create("many", 3), subject.create("other", 0)];
    let mut holder = Puppet::of_this_program();
    holder.must(&format!("open\tone\t{}\t0\tOpenExisting", subject.key("one")));
    holder.must(&format!("open\tmany\t{}\t0\tOpenExisting", subject.key("many")));
    holder.must("acquire\tone\t1");
    holder.must("acquire\tmany\t2");
    // the first watches for the others
    let mut waiters =
        [subject.puppet("one"), subject.puppet("one"), subject.puppet("many"), subject.puppet("other")];
    waiters[0].block("acquire\ts\t1");
    wait_for_watch(&waiters[0]);
    waiters[1].block("acquire\ts\t1\t600000");
    waiters[2].block("acquire\ts\t3");
    waiters[3].block("acquire\ts\t2\t600000");
    waiters.iter().for_each(wait_for_watch);
    let naps = || waiters.each_ref().map(|waiter| process::sleep_count_of_all_threads(waiter.pid()));
    let before = naps();
    // not to wait for anything, but because it is what is asked
    let end = Instant::now() + Duration::from_secs(10);
    wait_until("ten seconds pass", || Instant::now() >= end);
    for (before, after) in before.into_iter().zip(naps()) {
        assert!(after - before <= MOST_NAPS, "it slept {} times", after - before);
    }
    holder.kill();
    waiters[2].answer().expect("two came back");
    let mut first_two = waiters.iter_mut().take(2);
    let (one, two) = (first_two.next().expect("one"), first_two.next().expect("two"));
    semaphores[0].add_permits(1).expect("there is room");
    one.answer().expect("it came back, or is new");
    two.answer().expect("it came back, or is new");
    semaphores[2].add_permits(2).expect("there is room");
    waiters[3].answer().expect("there are two");
    assert_books(&semaphores[0], 0, 2);
    assert_books(&semaphores[1], 0, 3);
    assert_books(&semaphores[2], 0, 2);
}

/// The one that watches for all who wait.
pub(crate) fn who_looks_wakes_one_process_at_most(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    let _lock = LISTING.lock();
    let mut waiters = [subject.puppet("s"), subject.puppet("s")];
    for waiter in &mut waiters {
        waiter.block("acquire\ts\t1");
        wait_for_watch(waiter);
    }
    let naps = || waiters.each_ref().map(|waiter| process::sleep_count_of_all_threads(waiter.pid()));
    let (begin, before) = (Instant::now(), naps());
    for _ in 0..50 {
        let [watcher, _] = naps();
        drop(Observer::new(subject.key("s")).expect("it is there"));
        wait_until("the watcher has seen it", || naps()[0] > watcher);
    }
    let (deputy, by_itself) = (naps()[1] - before[1], 10 + 2 * begin.elapsed().as_secs());
    assert!(deputy <= by_itself, "{deputy} naps in {:?}", begin.elapsed());
    semaphore.add_permits(2).expect("there is room");
    waiters.iter_mut().for_each(|waiter| drop(waiter.answer().expect("there are two")));
}

pub(crate) fn a_death_wakes_a_thread_of_a_third_process(subject: &Subject) {
    let semaphore = subject.create("s", 2);
    let (mut holder, mut third) = (subject.puppet("s"), subject.puppet("s"));
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
    assert_books(&semaphore, 0, 3);
    third.kill();
    assert_books(&semaphore, 3, 0);
}

/// Of so many, not all are asked about each time.
pub(crate) fn a_death_among_many_is_seen_at_once(subject: &Subject) {
    const MANY: u32 = 64;
    let semaphore = subject.create("s", MANY);
    let mut holders: Vec<Puppet> = (0..MANY).map(|_| subject.puppet("s")).collect();
    for holder in &mut holders {
        holder.must("acquire\ts\t1");
    }
    for holder in holders.drain(..MANY as usize / 2) {
        // now all have been looked at
        assert_eq!(free(&semaphore), 0);
        holder.kill();
        semaphore.try_acquire().expect("it came back").hold();
    }
    drop(holders);
    wait_until("all have come back", || free(&semaphore) == MANY / 2);
    semaphore.release(MANY / 2).expect("they are held");
}

pub(crate) fn whoever_comes_next_finds_what_the_dead_held(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let die_with = |permits: u32| {
        let mut holder = subject.puppet("s");
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
    let mut opener = subject.puppet("s");
    opener.must("try\ts\t3");
    opener.must("drop\ts");
    // a stranger that never asks is no help, and no hindrance
    let stranger = subject.puppet("s");
    die_with(3);
    stranger.stop();
    let opened = SystemSemaphore::open(subject.key("s"), 9).expect("it is there");
    assert_books(&opened, 3, 0);
    stranger.kill();
    assert_books(&opened, 3, 0);
}

/// Several threads, several permits, some taken by one thread and given to another or given back there.
pub(crate) fn a_dead_holder_may_have_had_threads(subject: &Subject) {
    let semaphore = subject.create("s", 12);
    for _ in 0..3 {
        let mut holder = subject.puppet("s");
        for thread in ["a", "b", "c", "d"] {
            holder.must(&format!("start\t{thread}\tacquire\ts\t2"));
        }
        for thread in ["a", "b", "c", "d"] {
            holder.must(&format!("finish\t{thread}"));
        }
        holder.must("acquire\ts\t1");
        assert_books(&semaphore, 3, 9);
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
        assert_books(&semaphore, 4, 8);
        holder.kill();
        assert_books(&semaphore, 12, 0);
    }
    assert_eq!(semaphore.recoveries().expect("it is told"), 3);
}

/// What has happened to permits before the death is what counts.
pub(crate) fn held_forgotten_split_and_merged_permits_die_right(subject: &Subject) {
    let semaphore = subject.create("s", 20);
    let mut holder = subject.puppet("s");
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
    assert_books(&semaphore, 9, 6);
    holder.must("add\ts\t2");
    // gives back the three that are held, and creates one
    holder.must("release\ts\t4");
    assert_books(&semaphore, 15, 3);
    holder.must("leak\ts");
    holder.kill();
    assert_books(&semaphore, 18, 0);
}

/// The child that it has forked holds nothing of its parent's, and keeps nothing from coming back.
pub(crate) fn a_dead_holder_may_leave_children(subject: &Subject) {
    let semaphore = subject.create("s", 6);
    let mut holder = subject.puppet("s");
    holder.must("acquire\ts\t2");
    let idle: u32 = holder.must("fork\ts\t0").parse().expect("a pid");
    let user: u32 = holder.must("fork\ts\t1").parse().expect("a pid");
    holder.must("acquire\ts\t2");
    assert_books(&semaphore, 1, 5);
    let mut waiter = subject.puppet("s");
    waiter.block("acquire\ts\t3");
    holder.kill_and_wait();
    waiter.answer().expect("they came back");
    assert!(!process::is_gone(idle) && !process::is_gone(user));
    assert_books(&semaphore, 2, 4);
    let holders = semaphore.holders().expect("they are told");
    assert!(holders.iter().any(|holder| holder.pid == Some(user) && holder.permits == 1), "{holders:?}");
    // the child's are its own, and come back with it
    kill_stray(idle);
    assert_books(&semaphore, 2, 4);
    kill_stray(user);
    assert_books(&semaphore, 3, 3);
}

pub(crate) fn many_may_die_and_many_wait(subject: &Subject) {
    let semaphore = subject.create("s", 20);
    let mut holders: Vec<Puppet> = (0..10).map(|_| subject.puppet("s")).collect();
    for holder in &mut holders {
        holder.must("acquire\ts\t2");
    }
    let mut waiters: Vec<Puppet> = (0..16).map(|_| subject.puppet("s")).collect();
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
    assert_books(&semaphore, 0, 20);
    assert_eq!(semaphore.recoveries().expect("it is told"), 10);
    // and all of those die at once, with nobody to wait for it
    waiters.iter_mut().for_each(Puppet::start_kill);
    waiters.into_iter().for_each(Puppet::kill);
    assert_books(&semaphore, 20, 0);
    // who dies while it gives back for another may have counted that one already
    assert!(semaphore.recoveries().expect("it is told") >= 26);
}

/// Whoever is woken may be killed before it has taken its permit, or right after.
pub(crate) fn whom_a_permit_wakes_may_be_killed_at_once(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    let mut survivor = subject.puppet("s");
    let end = Instant::now() + Duration::from_secs(2);
    let mut rounds = 0;
    while Instant::now() < end || rounds < 5 {
        let mut victim = subject.puppet("s");
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
        assert_books(&semaphore, 0, 0);
        rounds += 1;
    }
}

/// A holder that is killed in the middle of whatever it does, again and again.
pub(crate) fn a_death_at_any_moment_loses_nothing(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let counter = super::Counter::new(subject);
    let end = Instant::now() + Duration::from_secs(2);
    let mut rounds = 0;
    let mut waiter = subject.puppet("s");
    while Instant::now() < end || rounds < 5 {
        let mut victims: Vec<Puppet> = (0..3).map(|_| subject.puppet("s")).collect();
        for victim in &mut victims {
            victim.send(&format!("work\ts\t{}", counter.path()));
        }
        counter.wait_for_progress("the work", 30);
        waiter.send("acquire\ts\t3");
        (0..fastrand::u32(..20_000)).for_each(|_| std::hint::spin_loop());
        victims.iter_mut().for_each(Puppet::start_kill);
        waiter.answer().expect("all three are free in the end");
        victims.into_iter().for_each(Puppet::kill);
        assert_books(&semaphore, 0, 3);
        waiter.must("drop\ts");
        rounds += 1;
    }
    assert_books(&semaphore, 3, 0);
}

/// The slots of so many do not lie in the file's first page.
pub(crate) fn a_hundred_processes_can_use_it(subject: &Subject) {
    const USERS: u32 = 100;
    let semaphore = subject.create("s", USERS + 1);
    let mut users: Vec<Puppet> = (0..USERS).map(|_| subject.puppet("s")).collect();
    for user in &mut users {
        user.must("acquire\ts\t1");
    }
    assert_books(&semaphore, 1, USERS);
    // one of the last waits, and one of the last dies
    let mut waiter = users.pop().expect("there are many");
    waiter.block("acquire\ts\t2");
    users.pop().expect("there are many").kill();
    waiter.answer().expect("one was free and one came back");
    let pid = waiter.pid();
    let data = std::fs::metadata(subject.file("s")).expect("it is there");
    let pages = process::resident(pid, &data) / 4096;
    assert!((1..=3).contains(&pages), "{pages} pages");
    waiter.must("drop\ts");
    waiter.must("drop\ts");
    assert_books(&semaphore, 3, USERS - 2);
    for user in users.iter_mut().step_by(2) {
        user.must("close\ts");
    }
    assert_books(&semaphore, 3 + (USERS - 2) / 2, (USERS - 2) / 2);
    users.iter_mut().for_each(Puppet::start_kill);
    users.into_iter().for_each(Puppet::kill);
    wait_until("all came back", || free(&semaphore) == USERS + 1);
    assert_books(&semaphore, USERS + 1, 0);
    assert_eq!(semaphore.recoveries().expect("it is told"), u64::from(1 + (USERS - 2) / 2));
    drop(SystemSemaphore::new(subject.key("s"), 0, AccessMode::OpenExisting).expect("it is there"));
}
