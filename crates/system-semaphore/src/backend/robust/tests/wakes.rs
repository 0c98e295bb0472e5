//! Which waiter gets a permit, whichever process dies, stops or gives up meanwhile.

use std::time::{Duration, Instant};

use test_support::{TEST_TIMEOUT, wait_until};

use super::super::algorithm::fairness::{self, FAIRNESS_DELAY, is_fair_now};
use super::super::algorithm::wake::announce_and_wake;
use super::super::failpoint::Failpoint;
use super::actor::Actor;
use super::{MANY, TestSemaphore};
use crate::ErrorKind;

#[test]
fn waiter_gets_permit_of_releaser_killed_before_its_wake() {
    for (initial, before, release) in [(1, "acquire\ts\t1", "drop\ts"), (0, "available\ts", "release\ts\t2")]
    {
        let test = TestSemaphore::new(initial);
        let (mut releaser, mut waiter) = (Actor::with(&test), Actor::with(&test));
        releaser.must(before);
        waiter.fall_asleep("acquire\ts\t1", &test);
        releaser.die_in(release, Failpoint::BeforeWake);
        assert_eq!(waiter.answer(), Ok(String::new()), "{release:?}");
        test.assert_permits(1 - initial, 1, release);
    }
}

#[test]
fn next_waiter_gets_permit_of_killed_woken_waiter() {
    for (need, others) in [(1, 0), (3, 0), (1, MANY), (3, MANY)] {
        let test = TestSemaphore::new(0);
        let others: Vec<_> = (0..others).map(|_| test.open_mapped()).collect();
        let (mut first, mut second) = (Actor::with(&test), Actor::with(&test));
        first.must("halt\tWoken");
        first.fall_asleep("acquire\ts\t1", &test);
        second.fall_asleep(&format!("acquire\ts\t{need}"), &test);
        if need == 1 {
            test.semaphore.add_permits(1).expect("there is room");
            first.assert_halts(Failpoint::Woken);
        } else {
            // who needs several is woken by each, and sleeps on
            test.semaphore.add_permits(2).expect("there is room");
            first.assert_halts(Failpoint::Woken);
            test.semaphore.add_permits(1).expect("there is room");
        }
        first.kill();
        assert_eq!(second.answer(), Ok(String::new()), "{need}, and {} others", others.len());
        test.assert_permits(0, need, need);
        others.iter().for_each(|mapped| test.close(mapped));
    }
}

#[test]
fn woken_waiter_that_times_out_passes_its_wake_up_on() {
    let test = TestSemaphore::new(0);
    let (mut first, mut second) = (Actor::with(&test), Actor::with(&test));
    first.must("halt\tWoken");
    // with a deadline that the test does not reach: its time is over when the test says so
    first.fall_asleep(&format!("acquire\ts\t1\t{}", 10 * TEST_TIMEOUT.as_millis()), &test);
    second.fall_asleep("acquire\ts\t1", &test);
    test.semaphore.add_permits(1).expect("there is room");
    first.assert_halts(Failpoint::Woken);
    let overtaker = test.semaphore.try_acquire().expect("it is free");
    first.send("expire");
    first.send("go");
    let failure = first.answer().expect_err("its time is over");
    assert!(failure.message.contains("in time"), "{failure:?}");
    // nothing but the wake-up that the first passed on has the second announce itself again
    drop(overtaker);
    assert_eq!(second.answer(), Ok(String::new()));
    test.assert_permits(0, 1, "the second has it");
}

#[test]
fn one_permit_serves_all_waiters_in_sequence() {
    let test = TestSemaphore::new(0);
    let mut waiters: Vec<Actor> = (0..3).map(|_| Actor::with(&test)).collect();
    for waiter in &mut waiters {
        waiter.fall_asleep("acquire\ts\t1", &test);
    }
    test.semaphore.add_permits(1).expect("there is room");
    // who had it stays: its end would wake somebody, too
    let mut served = Vec::new();
    while !waiters.is_empty() {
        let mut next = None;
        wait_until("one of them is served", || {
            next = waiters.iter_mut().position(|waiter| waiter.try_answer().is_some());
            next.is_some()
        });
        served.push(waiters.swap_remove(next.expect("one is")));
        served.last_mut().expect("there is one").must("drop\ts");
    }
    test.assert_permits(1, 0, "all had it");
}

#[test]
fn waiter_for_many_passes_wake_up_to_waiter_for_few() {
    let test = TestSemaphore::new(0);
    let (mut much, mut little) = (Actor::with(&test), Actor::with(&test));
    much.fall_asleep("acquire\ts\t3", &test);
    little.fall_asleep("acquire\ts\t1", &test);
    test.semaphore.add_permits(1).expect("there is room");
    assert_eq!(little.answer(), Ok(String::new()));
    test.semaphore.add_permits(3).expect("there is room");
    assert_eq!(much.answer(), Ok(String::new()));
    test.assert_permits(0, 4, "each has what it needs");
}

/// In these tests fairness lasts longer, so that it can be seen.
#[test]
fn waiter_woken_in_vain_is_not_overtaken_again() {
    let test = TestSemaphore::new(0);
    let (mut waiter, mut overtaker) = (Actor::with(&test), Actor::with(&test));
    waiter.must("halt\tWoken");
    waiter.fall_asleep("acquire\ts\t1", &test);
    let begin = Instant::now();
    wait_until("it has waited for long", || begin.elapsed() > FAIRNESS_DELAY);
    test.semaphore.add_permits(1).expect("there is room");
    waiter.assert_halts(Failpoint::Woken);
    overtaker.must("acquire\ts\t1");
    waiter.send("go\tWoken");
    let mapped = test.open_mapped();
    wait_until("the waiter asks for fairness", || is_fair_now(mapped.layout()));
    waiter.wait_until_asleep();
    overtaker.must("drop\ts");
    waiter.assert_halts(Failpoint::Woken);
    assert_eq!(mapped.layout().state().count(), 1);
    overtaker.block_on("acquire\ts\t1", &test);
    test.close(&mapped);
    waiter.must("go");
    let mapped = test.open_mapped();
    assert!(!is_fair_now(mapped.layout()), "it has what it asked for");
    test.close(&mapped);
    waiter.must("drop\ts");
    assert_eq!(overtaker.answer(), Ok(String::new()));
    test.assert_permits(0, 1, "each had its turn");
}

/// Though some who died waiting were woken in vain for long.
#[test]
fn acquire_without_wait_takes_free_permits_despite_fairness() {
    let test = TestSemaphore::new(3);
    let mapped = test.open_mapped();
    fairness::begin(mapped.layout());
    announce_and_wake(&mapped);
    assert!(is_fair_now(mapped.layout()) && mapped.layout().state().waiters());
    drop(test.semaphore.acquire_many_timeout(3, Duration::ZERO).expect("they are free"));
    assert!(is_fair_now(mapped.layout()) && mapped.layout().state().waiters());
    let error = test.semaphore.acquire_many_timeout(4, Duration::ZERO).expect_err("there are three");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    test.close(&mapped);
    test.assert_permits(3, 0, "all is given back");
}

#[test]
fn each_of_many_waiters_gets_its_permits() {
    for needs in [[1, 1, 1], [1, 2, 1], [3, 2, 2], [1, 3, 5]] {
        let test = TestSemaphore::new(0);
        let mut waiters: Vec<Actor> = needs.iter().map(|_| Actor::with(&test)).collect();
        for (waiter, need) in waiters.iter_mut().zip(needs) {
            waiter.fall_asleep(&format!("acquire\ts\t{need}"), &test);
        }
        // one by one, so that what there is may be too little for who is woken
        for _ in 0..needs.iter().sum() {
            test.semaphore.add_permits(1).expect("there is room");
        }
        // who takes little may take it from under who needs much, but all of it is enough for all
        for waiter in &mut waiters {
            assert_eq!(waiter.answer(), Ok(String::new()), "{needs:?}");
        }
        test.assert_permits(0, needs.iter().sum(), format!("{needs:?}"));
    }
}

#[test]
fn next_waiter_gets_permit_while_woken_waiter_is_stopped() {
    let test = TestSemaphore::new(0);
    let (mut first, mut second) = (Actor::with(&test), Actor::with(&test));
    first.must("halt\tWoken");
    // for good: one that got up for a moment would lie down behind the other, who would be woken instead
    first.fall_asleep("acquire\ts\t1", &test);
    second.block_on("acquire\ts\t1", &test);
    test.semaphore.add_permits(1).expect("there is room");
    first.assert_halts(Failpoint::Woken);
    first.stop();
    assert_eq!(second.answer(), Ok(String::new()));
    second.must("drop\ts");
    first.resume();
    first.must("go");
    test.assert_permits(0, 1, "the first has it");
}

#[test]
fn wait_with_watch_ends_in_forked_child_and_leaves_no_thread() {
    let test = TestSemaphore::new(0);
    let mut actor = Actor::with(&test);
    actor.must("fork-in-wait\ts");
}
