//! Processes that die.

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};
use test_support::{Puppet, wait_until};

use crate::tested_type::{Subject, assert_books, exists, free};

pub(crate) fn a_killed_holders_permits_come_back_where_promised(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let mut holder = subject.puppet("s");
    holder.must("acquire\ts\t1");
    holder.must("acquire\ts\t1");
    holder.must("hold\ts");
    assert_eq!(free(&semaphore), 1);
    holder.kill();
    let expected = if semaphore.capabilities().returns_on_death { 3 } else { 1 };
    // a process that was waited for has had everything undone
    assert_books(&semaphore, expected, 0);
}

pub(crate) fn a_waiter_wakes_when_the_holder_is_killed_where_promised(subject: &Subject) {
    let semaphore = subject.create("s", 1);
    let (mut holder, mut waiter) = (subject.puppet("s"), subject.puppet("s"));
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
    assert_books(&semaphore, 1, 0);
}

pub(crate) fn an_exit_is_a_death(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let mut holder = subject.puppet("s");
    holder.must("acquire\ts\t1");
    holder.must("leak\ts");
    holder.must("acquire\ts\t1");
    holder.exit();
    let expected = if semaphore.capabilities().returns_on_death { 3 } else { 1 };
    assert_books(&semaphore, expected, 0);
}

pub(crate) fn what_was_created_stays_when_its_creator_dies(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    let mut creator = subject.puppet("s");
    creator.must("release\ts\t2");
    creator.must("add\ts\t3");
    creator.kill();
    assert_books(&semaphore, 5, 0);
}

#[cfg(unix)]
pub(crate) fn what_a_killed_maker_made_stays_or_ends_as_promised(subject: &Subject) {
    let key = subject.key("s");
    let ends_with_last_user = subject.capabilities().ends_with_last_user;
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
        return subject.remove(&key);
    }
    assert!(!exists(&key), "its last user has gone");
    make_and_die();
    let error = SystemSemaphore::remove(&key).expect_err("its last user has gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
        make_and_die();
        let semaphore = SystemSemaphore::new(&key, 9, mode).expect("nobody has the name");
        assert_books(&semaphore, 9, 0);
        assert_eq!(semaphore.waiting().expect("it is told"), 0);
        assert_eq!(semaphore.recoveries().expect("it is told"), 0);
    }
}

pub(crate) fn what_was_forgotten_stays_taken_when_its_taker_dies(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let mut taker = subject.puppet("s");
    taker.must("acquire\ts\t1");
    taker.must("forget\ts");
    taker.kill();
    assert_books(&semaphore, 2, 0);
}

pub(crate) fn a_killed_waiter_takes_nothing_along(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    let (mut first, mut second) = (subject.puppet("s"), subject.puppet("s"));
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
    assert_books(&semaphore, 0, 1);
    second.must("forget\ts");
    assert_books(&semaphore, 0, 0);
}

/// Signalling between short-lived processes. On Qt with System V the posts vanish with the producer.
pub(crate) fn a_producer_that_has_gone_leaves_its_posts(subject: &Subject) {
    let used = subject.create("used", 0);
    let mut producer = subject.puppet("used");
    producer.must("produce\ts\t100");
    producer.exit();
    assert_eq!(free(&used), 100);
    let mut consumer = subject.puppet("used");
    consumer.must("consume\ts\t100");
    consumer.exit();
    // and what was consumed does not come back
    assert_books(&used, 0, 0);
}
