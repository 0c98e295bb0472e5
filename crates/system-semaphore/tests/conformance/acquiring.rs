//! Taking permits: at once, after a wait, several, or not at all.

use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{ErrorKind, KeyType, SystemSemaphore};
use test_support::wait_until;

use crate::tested_type::{Subject, assert_books, free};

pub(crate) fn the_example_of_the_documentation_counts_as_it_says(subject: &Subject) {
    let market = subject.create("market", 3);
    assert_eq!(free(&market), 3);
    let permit = market.acquire().expect("three are free");
    assert_eq!(free(&market), 2);
    if market.capabilities().several_at_once {
        let two = market.acquire_many(2).expect("two are free");
        assert_eq!(free(&market), 0);
        assert_eq!(market.try_acquire().expect_err("none is free").kind(), ErrorKind::NoPermits);
        drop(permit);
        assert_eq!(free(&market), 1);
        drop(two);
    } else {
        drop(permit);
    }
    assert_eq!(free(&market), 3);
    market.release(10).expect("there is room");
    assert_books(&market, 13, 0);
}

pub(crate) fn none_at_all_come_at_once(subject: &Subject) {
    let empty = subject.create("s", 0);
    for permit in [empty.acquire_many(0), empty.try_acquire_many(0)] {
        assert_eq!(permit.expect("none is always to be had").num_permits(), 0);
    }
    empty.release(0).expect("nothing is to do");
    empty.add_permits(0).expect("nothing is to do");
    assert_books(&empty, 0, 0);
}

pub(crate) fn what_is_tried_at_once_is_done_or_not(subject: &Subject) {
    let semaphore = subject.create("s", 2);
    let is_quick = semaphore.native_key().key_type() == KeyType::Robust;
    // the first operation after somebody else's is never quick
    drop(semaphore.acquire().expect("free"));
    let permits = semaphore.acquire_at_once(2);
    assert_eq!(permits.is_some(), is_quick);
    if let Some(mut permits) = permits {
        assert_eq!((free(&semaphore), permits.num_permits()), (0, 2));
        assert!(semaphore.acquire_at_once(1).is_none(), "there is none");
        assert!(permits.release_at_once());
        assert_eq!((free(&semaphore), permits.num_permits()), (2, 0));
        assert!(permits.release_at_once(), "none at all are given back at once");
    }
    let mut permit = semaphore.acquire().expect("free");
    assert_eq!(permit.release_at_once(), is_quick);
    assert_eq!((free(&semaphore), permit.num_permits()), if is_quick { (2, 0) } else { (1, 1) });
    drop(permit);
    semaphore.acquire().expect("free").hold();
    assert!(!semaphore.release_at_once(2), "one of them would be created");
    assert_eq!((free(&semaphore), semaphore.held_permits()), (1, 1));
    assert_eq!(semaphore.release_at_once(1), is_quick);
    if !is_quick {
        semaphore.release(1).expect("it is held");
    }
    assert_eq!((free(&semaphore), semaphore.held_permits()), (2, 0));
    assert!(semaphore.release_at_once(0), "nothing is to do");

    // whoever waits has to be woken, which takes a system call
    let mut permit = semaphore.acquire_many(1).expect("free");
    semaphore.acquire().expect("free").hold();
    let mut waiter = subject.puppet("s");
    waiter.block("acquire\ts\t1");
    assert!(!semaphore.release_at_once(1) && !permit.release_at_once());
    assert_eq!((semaphore.held_permits(), permit.num_permits()), (1, 1));
    semaphore.release(1).expect("it is held");
    waiter.answer().expect("there is one");
    drop(permit);
    assert_books(&semaphore, 1, 1);
}

pub(crate) fn more_than_there_can_be_is_refused(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let max = semaphore.capabilities().max_permits;
    for count in [max + 1, u32::MAX] {
        let error = semaphore.acquire_many(count).expect_err("it would wait for ever");
        assert_eq!(error.kind(), ErrorKind::OutOfResources);
        assert!(error.to_string().contains(&max.to_string()), "{error}");
    }
    assert_books(&semaphore, 3, 0);
}

pub(crate) fn several_are_taken_all_or_none(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    if !semaphore.capabilities().several_at_once {
        for refused in [
            semaphore.acquire_many(2),
            semaphore.try_acquire_many(2),
            semaphore.acquire_many_timeout(2, Duration::ZERO),
        ] {
            assert_eq!(refused.expect_err("it must not be imitated").kind(), ErrorKind::Unsupported);
        }
        assert_eq!(free(&semaphore), 3);
        return;
    }
    assert_eq!(semaphore.try_acquire_many(4).expect_err("three are free").kind(), ErrorKind::NoPermits);
    assert_eq!(free(&semaphore), 3);
    let mut waiter = subject.puppet("s");
    waiter.block("acquire\ts\t5");
    assert_eq!(free(&semaphore), 3, "who waits for five keeps none of three");
    semaphore.add_permits(1).expect("there is room");
    assert_eq!(free(&semaphore), 4, "nor of four");
    semaphore.add_permits(2).expect("there is room");
    waiter.answer().expect("five are free");
    assert_eq!(free(&semaphore), 1);
    waiter.must("drop\ts");
    assert_books(&semaphore, 6, 0);
}

pub(crate) fn trying_takes_nothing_when_there_is_too_little(subject: &Subject) {
    let semaphore = subject.create("s", 1);
    let permit = semaphore.try_acquire().expect("one is free");
    let error = semaphore.try_acquire().expect_err("none is free");
    assert_eq!(error.kind(), ErrorKind::NoPermits);
    assert!(error.to_string().contains(subject.key("s").native_key()), "{error}");
    drop(permit);
    assert_books(&semaphore, 1, 0);
}

pub(crate) fn a_timeout_passes_and_takes_nothing(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    let timeout = Duration::from_millis(30);
    let start = Instant::now();
    let error = semaphore.acquire_timeout(timeout).expect_err("none comes");
    assert!(start.elapsed() >= timeout, "it waited only {:?}", start.elapsed());
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let deadline = Instant::now() + timeout;
    let error = semaphore.acquire_deadline(deadline).expect_err("none comes");
    assert!(Instant::now() >= deadline);
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    semaphore.add_permits(1).expect("there is room");
    assert_eq!(free(&semaphore), 1, "no wait is left that could take it");
}

pub(crate) fn a_deadline_in_the_past_still_takes_what_is_free(subject: &Subject) {
    let semaphore = subject.create("s", 1);
    let past = Instant::now();
    let permit = semaphore.acquire_deadline(past).expect("one is free");
    assert_eq!(semaphore.acquire_deadline(past).expect_err("none is").kind(), ErrorKind::TimedOut);
    drop(permit);
    drop(semaphore.acquire_timeout(Duration::MAX).expect("one is free, and no timeout is too long"));
}

pub(crate) fn a_wait_with_a_deadline_ends_when_a_permit_comes(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    let mut waiter = subject.puppet("s");
    waiter.block(&format!("acquire\ts\t1\t{}", test_support::TEST_TIMEOUT.as_millis()));
    semaphore.add_permits(1).expect("there is room");
    waiter.answer().expect("one came long before the deadline");
    waiter.must("drop\ts");
    assert_books(&semaphore, 1, 0);
}

#[cfg(unix)]
pub(crate) fn a_wait_can_be_ended_from_outside(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    // the puppet ends its wait at the second signal
    let mut waiter = subject.puppet("s");
    waiter.block("interruptible\ts\t1");
    waiter.signal();
    let failure = waiter.signal_until_answer().expect_err("it was ended");
    assert_eq!(failure.kind, "Interrupted", "{failure:?}");
    semaphore.add_permits(1).expect("there is room");
    assert_eq!(free(&semaphore), 1, "no wait is left that could take it");

    // one that is to end before it begins to wait does, but takes what is free without asking
    let permit = semaphore.acquire_interruptible(1, None, &mut || true).expect("one is free");
    let error = semaphore.acquire_interruptible(1, None, &mut || true).expect_err("it would have to wait");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    drop(permit);

    // one that nobody ends goes on over a signal
    let mut waiter = subject.puppet("s");
    semaphore.acquire().expect("one is free").forget().expect("it is there");
    waiter.block("interruptible\ts\t1");
    let naps = waiter.sleep_count();
    waiter.signal();
    wait_until("the signal has woken it and it waits again", || {
        waiter.sleep_count() > naps && waiter.is_asleep()
    });
    semaphore.add_permits(1).expect("there is room");
    assert_eq!(waiter.answer().expect("one came"), "1", "it was asked once and went on");
}

pub(crate) fn a_waiting_thread_is_woken_by_another(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| semaphore.acquire().map(|permit| permit.num_permits()));
        if semaphore.capabilities().waiting {
            wait_until("the thread waits", || semaphore.waiting().is_ok_and(|waiting| waiting == 1));
        }
        semaphore.add_permits(1).expect("there is room");
        assert_eq!(waiter.join().expect("it did not panic").expect("one came"), 1);
    });
    assert_eq!(free(&semaphore), 1, "the thread gave it back");
    assert_told(&semaphore);
}

/// What cannot be told is `Unsupported`, what can be is told.
fn assert_told(semaphore: &SystemSemaphore) {
    let capabilities = semaphore.capabilities();
    let agrees = |is_told: bool, error: Option<system_semaphore::Error>| {
        assert_eq!(error.map(|error| error.kind()), (!is_told).then_some(ErrorKind::Unsupported));
    };
    agrees(capabilities.waiting, semaphore.waiting().err());
    agrees(capabilities.holders, semaphore.holders().err());
    agrees(capabilities.available_permits, semaphore.available_permits().err());
}
