//! A process that is stopped (Ctrl-Z) is in nobody's way.

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};
use test_support::Puppet;

use super::{Counter, wait_for_watch};
use crate::case;
use crate::tested_type::{TestedType, assert_permits, free};

/// Takes, gives, opens, closes, resets, all of which must go as if the stopped one were not there.
fn everything_goes(tested: &TestedType, semaphore: &SystemSemaphore, user: &mut Puppet) {
    let before = free(semaphore);
    assert!(before > 0);
    for _ in 0..50 {
        drop(semaphore.acquire().expect("one is free"));
        user.must("acquire\ts\t1");
        user.must("drop\ts");
    }
    semaphore.add_permits(1).expect("there is room");
    semaphore.acquire().expect("one is free").forget().expect("it is there");
    let opened = SystemSemaphore::open(tested.key("s"), 0).expect("it is there");
    drop(opened);
    let mut visitor = tested.puppet("s");
    visitor.must("acquire\ts\t1");
    visitor.must("close\ts");
    visitor.exit();
    assert_eq!(free(semaphore), before);
}

case!(Robust, stopped_user_blocks_nobody);

fn stopped_user_blocks_nobody(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut user = tested.puppet("s");

    let idle = tested.puppet("s");
    idle.stop();
    everything_goes(tested, &semaphore, &mut user);

    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t1");
    holder.stop();
    everything_goes(tested, &semaphore, &mut user);

    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t3");
    wait_for_watch(&waiter);
    waiter.stop();
    everything_goes(tested, &semaphore, &mut user);

    // a holder dies, the one that watches for it is stopped, and the next waiter is no worse off
    let mut dead = tested.puppet("s");
    dead.must("acquire\ts\t2");
    let mut second = tested.puppet("s");
    second.block("acquire\ts\t2");
    wait_for_watch(&second);
    dead.kill();
    second.answer().expect("they came back");
    assert_permits(&semaphore, 0, 3);
    second.must("drop\ts");

    // a reset voids what the stopped holder has
    let reset = SystemSemaphore::create(tested.key("s"), 2).expect("it can be reset");
    assert_permits(&reset, 2, 0);
    everything_goes(tested, &semaphore, &mut user);
    holder.resume();
    holder.must("drop\ts");
    assert_permits(&reset, 2, 0);
    waiter.resume();
    semaphore.add_permits(1).expect("there is room");
    waiter.answer().expect("three are free");
    assert_permits(&reset, 0, 3);
    // and a stopped one can be killed
    waiter.stop();
    waiter.kill();
    assert_permits(&reset, 3, 0);
}

case!(Robust, stopped_waiter_withholds_nothing_from_other_waiters);

/// Whom a release wakes first is stopped. It may keep the one permit that it was woken for from the others for a moment,
/// not longer.
fn stopped_waiter_withholds_nothing_from_other_waiters(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let (mut first, mut second) = (tested.puppet("s"), tested.puppet("s"));
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
        assert_permits(&semaphore, 0, 0);
    }
}

case!(Robust, waiter_does_not_starve);

/// Running processes may overtake sleeping ones, but not for ever.
fn waiter_does_not_starve(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let mut spinners = [tested.puppet("s"), tested.puppet("s")];
    spinners.iter_mut().for_each(|spinner| spinner.send("spin-pairs\ts"));
    let mut waiter = tested.puppet("s");
    for _ in 0..20 {
        waiter.must("acquire\ts\t1");
        waiter.must("drop\ts");
    }
    spinners.iter().for_each(Puppet::assert_busy);
    spinners.into_iter().for_each(Puppet::kill);
    assert_permits(&semaphore, 1, 0);
}

case!(Robust, others_continue_with_any_one_stopped_at_any_moment);

/// Workers that are stopped at whatever they are doing, and visitors at whatever they are opening or closing.
fn others_continue_with_any_one_stopped_at_any_moment(tested: &TestedType) {
    const PERMITS: u32 = 3;
    const ROUNDS: usize = 5;
    let semaphore = tested.create("s", PERMITS);
    let (work, visits) = (Counter::new(tested), Counter::new(tested));
    let mut puppets: Vec<Puppet> = (0..5).map(|_| tested.puppet("s")).collect();
    for (index, puppet) in puppets.iter_mut().enumerate() {
        if index < 3 {
            puppet.send(&format!("work\ts\t{}", work.path()));
        } else {
            puppet.send(&format!("visit\t{}\t{}", tested.key("s"), visits.path()));
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
        match SystemSemaphore::new(tested.key("s"), PERMITS, AccessMode::Create) {
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
    assert_permits(&semaphore, PERMITS, 0);
}
