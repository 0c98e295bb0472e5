//! Processes that die.

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};
use test_support::{Puppet, wait_until};

use crate::case;
use crate::tested_type::{TestedType, assert_permits, exists, free};

case!(EveryType, permits_of_killed_holder_come_back_where_promised);

fn permits_of_killed_holder_come_back_where_promised(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t1");
    holder.must("acquire\ts\t1");
    holder.must("hold\ts");
    assert_eq!(free(&semaphore), 1);
    holder.kill();
    let expected = if semaphore.capabilities().returns_on_death { 3 } else { 1 };
    // a process that was waited for has had everything undone
    assert_permits(&semaphore, expected, 0);
}

case!(EveryType, death_of_holder_wakes_waiter_where_promised);

fn death_of_holder_wakes_waiter_where_promised(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t1");
    waiter.block("acquire\ts\t1");
    holder.kill();
    if semaphore.capabilities().returns_on_death {
        waiter.answer().expect("the permit came back");
        assert_eq!(free(&semaphore), 0);
        waiter.must("drop\ts");
    } else {
        // it is lost, and somebody who knows must put one in its place
        semaphore.add_permits(1).expect("there is room");
        waiter.answer().expect("one was created");
        waiter.must("drop\ts");
    }
    assert_permits(&semaphore, 1, 0);
}

case!(EveryType, exit_counts_as_death);

fn exit_counts_as_death(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t1");
    holder.must("leak\ts");
    holder.must("acquire\ts\t1");
    holder.exit();
    let expected = if semaphore.capabilities().returns_on_death { 3 } else { 1 };
    assert_permits(&semaphore, expected, 0);
}

case!(EveryType, created_permits_survive_their_creator);

fn created_permits_survive_their_creator(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let mut creator = tested.puppet("s");
    creator.must("release\ts\t2");
    creator.must("add\ts\t3");
    creator.kill();
    assert_permits(&semaphore, 5, 0);
}

case!(Unix, semaphore_of_killed_creator_stays_or_ends_as_promised);

#[cfg(unix)]
fn semaphore_of_killed_creator_stays_or_ends_as_promised(tested: &TestedType) {
    let key = tested.key("s");
    let ends_with_last_user = tested.capabilities().ends_with_last_user;
    let make_and_die = || {
        let mut maker = Puppet::of_this_program();
        maker.must(&format!("open\ts\t{key}\t3\tCreateNew"));
        maker.must("acquire\ts\t1");
        maker.must("forget\ts");
        maker.kill();
    };
    make_and_die();
    if !ends_with_last_user {
        let semaphore = SystemSemaphore::open(&key, 9).expect("it is there");
        assert_eq!(free(&semaphore), 2);
        drop(semaphore);
        return tested.remove(&key);
    }
    assert!(!exists(&key), "its last user has gone");
    make_and_die();
    let error = SystemSemaphore::remove(&key).expect_err("its last user has gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
        make_and_die();
        let semaphore = SystemSemaphore::new(&key, 9, mode).expect("nobody has the name");
        assert_permits(&semaphore, 9, 0);
        assert_eq!(semaphore.waiting().expect("it is told"), 0);
        assert_eq!(semaphore.recoveries().expect("it is told"), 0);
    }
}

case!(EveryType, forgotten_permits_stay_taken_after_death);

fn forgotten_permits_stay_taken_after_death(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut taker = tested.puppet("s");
    taker.must("acquire\ts\t1");
    taker.must("forget\ts");
    taker.kill();
    assert_permits(&semaphore, 2, 0);
}

case!(EveryType, killed_waiter_takes_nothing);

fn killed_waiter_takes_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let (mut first, mut second) = (tested.puppet("s"), tested.puppet("s"));
    first.block("acquire\ts\t1");
    second.block("acquire\ts\t1");
    if semaphore.capabilities().waiting {
        assert_eq!(semaphore.waiting().expect("it is told"), 2);
    }
    first.kill();
    if semaphore.capabilities().waiting {
        wait_until("the dead one waits no longer", || semaphore.waiting().is_ok_and(|waiting| waiting == 1));
    }
    semaphore.add_permits(1).expect("there is room");
    second.answer().expect("the one permit is the survivor's");
    assert_permits(&semaphore, 0, 1);
    second.must("forget\ts");
    assert_permits(&semaphore, 0, 0);
}

case!(EveryType, permits_added_by_ended_producer_stay);

/// Signalling between short-lived processes. On Qt with System V the posts vanish with the producer.
fn permits_added_by_ended_producer_stay(tested: &TestedType) {
    let used = tested.create("used", 0);
    let mut producer = tested.puppet("used");
    producer.must("produce\ts\t100");
    producer.exit();
    assert_eq!(free(&used), 100);
    let mut consumer = tested.puppet("used");
    consumer.must("consume\ts\t100");
    consumer.exit();
    // and what was consumed does not come back
    assert_permits(&used, 0, 0);
}
