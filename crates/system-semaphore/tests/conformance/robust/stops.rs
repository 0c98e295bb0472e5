//! A process that is stopped (Ctrl-Z) is in nobody's way.

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};
use test_support::Puppet;

use super::{Counter, wait_for_watch};
use crate::tested_type::{Subject, assert_books, free};

/// Takes, gives, opens, closes, resets, all of which must go as if the stopped one were not there.
fn everything_goes(subject: &Subject, semaphore: &SystemSemaphore, user: &mut Puppet) {
    let before = free(semaphore);
    assert!(before > 0);
    for _ in 0..50 {
        drop(semaphore.acquire().expect("one is free"));
        user.must("acquire\ts\t1");
        user.must("drop\ts");
    }
    semaphore.add_permits(1).expect("there is room");
    semaphore.acquire().expect("one is free").forget().expect("it is there");
    let opened = SystemSemaphore::open(subject.key("s"), 0).expect("it is there");
    drop(opened);
    let mut visitor = subject.puppet("s");
    visitor.must("acquire\ts\t1");
    visitor.must("close\ts");
    visitor.exit();
    assert_eq!(free(semaphore), before);
}

pub(crate) fn a_stopped_process_is_in_nobody_s_way(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let mut user = subject.puppet("s");

    let idle = subject.puppet("s");
    idle.stop();
    everything_goes(subject, &semaphore, &mut user);

    let mut holder = subject.puppet("s");
    holder.must("acquire\ts\t1");
    holder.stop();
    everything_goes(subject, &semaphore, &mut user);

    let mut waiter = subject.puppet("s");
    waiter.block("acquire\ts\t3");
    wait_for_watch(&waiter);
    waiter.stop();
    everything_goes(subject, &semaphore, &mut user);

    // a holder dies, the one that watches for it is stopped, and the next waiter is no worse off
    let mut dead = subject.puppet("s");
    dead.must("acquire\ts\t2");
    let mut second = subject.puppet("s");
    second.block("acquire\ts\t2");
    wait_for_watch(&second);
    dead.kill();
    second.answer().expect("they came back");
    assert_books(&semaphore, 0, 3);
    second.must("drop\ts");

    // a reset voids what the stopped holder has
    let reset = SystemSemaphore::create(subject.key("s"), 2).expect("it can be reset");
    assert_books(&reset, 2, 0);
    everything_goes(subject, &semaphore, &mut user);
    holder.resume();
    holder.must("drop\ts");
    assert_books(&reset, 2, 0);
    waiter.resume();
    semaphore.add_permits(1).expect("there is room");
    waiter.answer().expect("three are free");
    assert_books(&reset, 0, 3);
    // and a stopped one can be killed
    waiter.stop();
    waiter.kill();
    assert_books(&reset, 3, 0);
}

/// Whom a release wakes first is stopped. It may keep the one permit that it was woken for from the others for a moment,
/// not longer.
pub(crate) fn a_stopped_waiter_keeps_nothing_from_the_others(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    let (mut first, mut second) = (subject.puppet("s"), subject.puppet("s"));
    for _ in 0..3 {
        first.block("acquire\ts\t1");
        second.block("acquire\ts\t1");
        first.stop();
        semaphore.add_permits(1).expect("there is room");
        second.answer().expect("the first is stopped, so it is the second's");
        second.must("forget\ts");
        first.resume();
        semaphore.add_permits(1).expect("there is room");
        first.answer().expect("it goes on");
        first.must("forget\ts");
        assert_books(&semaphore, 0, 0);
    }
}

/// Running processes may overtake sleeping ones, but not for ever.
pub(crate) fn a_waiter_does_not_starve(subject: &Subject) {
    let semaphore = subject.create("s", 1);
    let mut spinners = [subject.puppet("s"), subject.puppet("s")];
    spinners.iter_mut().for_each(|spinner| spinner.send("spin-pairs\ts"));
    let mut waiter = subject.puppet("s");
    for _ in 0..20 {
        waiter.must("acquire\ts\t1");
        waiter.must("drop\ts");
    }
    spinners.iter().for_each(Puppet::assert_busy);
    spinners.into_iter().for_each(Puppet::kill);
    assert_books(&semaphore, 1, 0);
}

/// Workers that are stopped at whatever they are doing, and visitors at whatever they are opening or closing.
pub(crate) fn with_any_one_stopped_at_any_moment_the_others_go_on(subject: &Subject) {
    const PERMITS: u32 = 3;
    const ROUNDS: usize = 5;
    let semaphore = subject.create("s", PERMITS);
    let (work, visits) = (Counter::new(subject), Counter::new(subject));
    let mut puppets: Vec<Puppet> = (0..5).map(|_| subject.puppet("s")).collect();
    for (index, puppet) in puppets.iter_mut().enumerate() {
        if index < 3 {
            puppet.send(&format!("work\ts\t{}", work.path()));
        } else {
            puppet.send(&format!("visit\t{}\t{}", subject.key("s"), visits.path()));
        }
    }
    for round in 0..ROUNDS {
        visits.wait_for_progress("visiting", 5);
        work.wait_for_progress("the work", 50);
        let stopped = &puppets[round % 5];
        stopped.stop();
        work.wait_for_progress("the work of others", 200);
        drop(semaphore.acquire().expect("at most one is kept"));
        // who is stopped in an open or close is in the way of those alone, and they say so
        match SystemSemaphore::new(subject.key("s"), PERMITS, AccessMode::Create) {
            Ok(reset) => {
                drop(reset);
                visits.wait_for_progress("the visits of others", 2);
            }
            Err(error) => {
                assert!(round % 5 >= 3, "only visitors open and close: {error}");
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            }
        }
        work.wait_for_progress("the work of others after that", 200);
        stopped.resume();
    }
    puppets.into_iter().for_each(Puppet::kill);
    drop(semaphore.try_acquire_many(PERMITS).expect("all came back"));
    assert_books(&semaphore, PERMITS, 0);
}
