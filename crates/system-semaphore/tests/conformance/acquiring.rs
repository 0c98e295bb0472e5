//! Taking permits: at once, after a wait, several, or not at all.

use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{ErrorKind, KeyType, SystemSemaphore};
use test_support::wait_until;

use crate::case;
use crate::tested_type::{TestedType, assert_permits, free};

case!(EveryType, documentation_example_counts_as_it_says);

fn documentation_example_counts_as_it_says(tested: &TestedType) {
    let market = tested.create("market", 3);
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
    assert_permits(&market, 13, 0);
}

case!(EveryType, acquire_of_zero_returns_at_once);

fn acquire_of_zero_returns_at_once(tested: &TestedType) {
    let empty = tested.create("s", 0);
    for permit in [empty.acquire_many(0), empty.try_acquire_many(0)] {
        assert_eq!(permit.expect("none is always to be had").num_permits(), 0);
    }
    empty.release(0).expect("nothing is to do");
    empty.add_permits(0).expect("nothing is to do");
    assert_permits(&empty, 0, 0);
}

case!(EveryType, uncontended_call_is_done_or_not);

fn uncontended_call_is_done_or_not(tested: &TestedType) {
    let semaphore = tested.create("s", 2);
    let is_quick = semaphore.native_key().key_type() == KeyType::Robust;
    // the first operation after somebody else's is never quick
    drop(semaphore.acquire().expect("free"));
    let permits = semaphore.try_acquire_uncontended(2);
    assert_eq!(permits.is_some(), is_quick);
    if let Some(mut permits) = permits {
        assert_eq!((free(&semaphore), permits.num_permits()), (0, 2));
        assert!(semaphore.try_acquire_uncontended(1).is_none(), "there is none");
        assert!(permits.release_uncontended());
        assert_eq!((free(&semaphore), permits.num_permits()), (2, 0));
        assert!(permits.release_uncontended(), "none at all are given back at once");
    }
    let mut permit = semaphore.acquire().expect("free");
    assert_eq!(permit.release_uncontended(), is_quick);
    assert_eq!((free(&semaphore), permit.num_permits()), if is_quick { (2, 0) } else { (1, 1) });
    drop(permit);
    semaphore.acquire().expect("free").detach();
    assert!(!semaphore.release_uncontended(2), "one of them would be created");
    assert_eq!((free(&semaphore), semaphore.detached_permits()), (1, 1));
    assert_eq!(semaphore.release_uncontended(1), is_quick);
    if !is_quick {
        semaphore.release(1).expect("it is held");
    }
    assert_eq!((free(&semaphore), semaphore.detached_permits()), (2, 0));
    assert!(semaphore.release_uncontended(0), "nothing is to do");

    // whoever waits has to be woken, which takes a system call
    let mut permit = semaphore.acquire_many(1).expect("free");
    semaphore.acquire().expect("free").detach();
    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t1");
    assert!(!semaphore.release_uncontended(1) && !permit.release_uncontended());
    assert_eq!((semaphore.detached_permits(), permit.num_permits()), (1, 1));
    semaphore.release(1).expect("it is held");
    waiter.answer().expect("there is one");
    drop(permit);
    assert_permits(&semaphore, 1, 1);
}

case!(EveryType, acquire_of_more_than_the_maximum_is_refused);

fn acquire_of_more_than_the_maximum_is_refused(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let max = semaphore.capabilities().max_permits;
    for count in [max + 1, u32::MAX] {
        let error = semaphore.acquire_many(count).expect_err("it would wait for ever");
        assert_eq!(error.kind(), ErrorKind::OutOfResources);
        assert!(error.to_string().contains(&max.to_string()), "{error}");
    }
    assert_permits(&semaphore, 3, 0);
}

case!(EveryType, several_permits_are_taken_all_or_none);

fn several_permits_are_taken_all_or_none(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
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
    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t5");
    assert_eq!(free(&semaphore), 3, "who waits for five keeps none of three");
    semaphore.add_permits(1).expect("there is room");
    assert_eq!(free(&semaphore), 4, "nor of four");
    semaphore.add_permits(2).expect("there is room");
    waiter.answer().expect("five are free");
    assert_eq!(free(&semaphore), 1);
    waiter.must("drop\ts");
    assert_permits(&semaphore, 6, 0);
}

case!(EveryType, try_acquire_takes_nothing_if_too_few_are_free);

fn try_acquire_takes_nothing_if_too_few_are_free(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let permit = semaphore.try_acquire().expect("one is free");
    let error = semaphore.try_acquire().expect_err("none is free");
    assert_eq!(error.kind(), ErrorKind::NoPermits);
    assert!(error.to_string().contains(tested.key("s").native_key()), "{error}");
    drop(permit);
    assert_permits(&semaphore, 1, 0);
}

case!(EveryType, timed_out_wait_takes_nothing);

fn timed_out_wait_takes_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
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

case!(EveryType, deadline_in_the_past_still_takes_free_permits);

fn deadline_in_the_past_still_takes_free_permits(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let past = Instant::now();
    let permit = semaphore.acquire_deadline(past).expect("one is free");
    assert_eq!(semaphore.acquire_deadline(past).expect_err("none is").kind(), ErrorKind::TimedOut);
    drop(permit);
    drop(semaphore.acquire_timeout(Duration::MAX).expect("one is free, and no timeout is too long"));
}

case!(EveryType, wait_with_deadline_ends_when_a_permit_comes);

fn wait_with_deadline_ends_when_a_permit_comes(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let mut waiter = tested.puppet("s");
    waiter.block(&format!("acquire\ts\t1\t{}", test_support::TEST_TIMEOUT.as_millis()));
    semaphore.add_permits(1).expect("there is room");
    waiter.answer().expect("one came long before the deadline");
    waiter.must("drop\ts");
    assert_permits(&semaphore, 1, 0);
}

case!(Unix, hook_ends_wait);

#[cfg(unix)]
fn hook_ends_wait(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    // the puppet ends its wait at the second signal
    let mut waiter = tested.puppet("s");
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
    let mut waiter = tested.puppet("s");
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

case!(EveryType, release_by_another_thread_wakes_waiting_thread);

fn release_by_another_thread_wakes_waiting_thread(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
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
