//! Waiters are woken by what happens, not by the clock.

use std::time::{Duration, Instant};

use system_semaphore::SystemSemaphore;
use test_support::{Puppet, process, wait_until};

use super::WATCHER_THREADS;
use crate::case;
use crate::tested_type::{TestedType, assert_permits};

/// Before this much time after [`wait_until_check_is_far`], only a wake-up can have ended the sleep of a waiter.
const AT_ONCE: Duration = Duration::from_millis(600);
/// A busy machine may be slow once, but not each time.
const ATTEMPTS: usize = 5;

/// Waits until the next full second of the monotonic clock is at least 700 ms away. At each full second, and at no other
/// time, a waiter checks for itself what nobody has woken it for.
pub(super) fn wait_until_check_is_far() {
    wait_until("a second has begun", || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // those who have checked are to sleep again
        (50_000_000..300_000_000).contains(&now.tv_nsec)
    });
}

/// Does something that is to take no longer than [`AT_ONCE`], until it once does not. Without the wake-up, no attempt does.
pub(super) fn assert_one_attempt_is_fast(what: &str, mut attempt: impl FnMut() -> Duration) {
    let mut times = Vec::new();
    while times.len() < ATTEMPTS {
        let time = attempt();
        if time < AT_ONCE {
            return;
        }
        eprintln!("{what} took {time:?}, which a busy machine may need: it is done again");
        times.push(time);
    }
    panic!("{what} took {times:?}");
}

/// Lets threads of another process wait for so many permits each, of a semaphore that has none. Then something happens
/// that is to wake them all, after which so many permits are left.
fn assert_wakes(tested: &TestedType, what: &str, waiters: &[u32], left: u32, act: impl Fn(&SystemSemaphore)) {
    assert_one_attempt_is_fast(what, || {
        let semaphore = tested.create("s", 0);
        let mut puppet = tested.puppet("s");
        for (thread, count) in waiters.iter().enumerate() {
            puppet.must(&format!("start\t{thread}\tacquire\ts\t{count}"));
        }
        let pid = puppet.pid();
        let is_asleep =
            || process::threads(pid) == waiters.len() + 1 + WATCHER_THREADS && process::is_all_asleep(pid);
        wait_until("all sleep for long", is_asleep);
        wait_until_check_is_far();
        let begin = Instant::now();
        act(&semaphore);
        for thread in 0..waiters.len() {
            puppet.must(&format!("finish\t{thread}"));
        }
        let time = begin.elapsed();
        assert_permits(&semaphore, left, waiters.iter().sum());
        time
    });
}

fn add_one_by_one(semaphore: &SystemSemaphore, count: u32) {
    for _ in 0..count {
        semaphore.add_permits(1).expect("there is room");
    }
}

case!(Robust, release_wakes_at_once);

fn release_wakes_at_once(tested: &TestedType) {
    let add = |count| move |semaphore: &SystemSemaphore| semaphore.add_permits(count).expect("there is room");
    assert_wakes(tested, "a wake for each", &[1, 1, 1], 0, add(3));
    assert_wakes(tested, "a wake for one of several", &[3], 1, add(4));
    assert_wakes(tested, "a wake for both sorts", &[2, 1, 1, 2], 0, add(6));
    // who was woken first has taken its permit before the next one comes
    assert_wakes(tested, "one wake after another", &[1, 1, 1], 0, |semaphore| {
        for waiting in (0..3).rev() {
            semaphore.add_permits(1).expect("there is room");
            wait_until("one more has got it", || semaphore.waiting().is_ok_and(|now| now == waiting));
        }
    });
    assert_wakes(tested, "several that come one by one", &[3], 0, |semaphore| add_one_by_one(semaphore, 3));
    assert_wakes(tested, "both sorts one by one", &[2, 1, 3], 0, |semaphore| add_one_by_one(semaphore, 6));
}

case!(Robust, reset_wakes_at_once);

fn reset_wakes_at_once(tested: &TestedType) {
    let reset = |_: &SystemSemaphore| {
        drop(SystemSemaphore::create(tested.key("s"), 7).expect("it can be reset"));
    };
    assert_wakes(tested, "a wake for all", &[1, 1, 3, 1], 1, reset);
}

case!(Robust, one_death_wakes_many_at_once);

/// One death wakes many, though who finds it wakes only the first of them.
fn one_death_wakes_many_at_once(tested: &TestedType) {
    assert_one_attempt_is_fast("waking", || {
        let semaphore = tested.create("s", 4);
        let (mut holder, mut waiters) = (tested.puppet("s"), tested.puppet("s"));
        holder.must("acquire\ts\t4");
        for (thread, count) in [1, 2, 1].into_iter().enumerate() {
            waiters.must(&format!("start\t{thread}\tacquire\ts\t{count}"));
        }
        let pid = waiters.pid();
        wait_until("all sleep for long", || {
            process::threads(pid) == 4 + WATCHER_THREADS && process::is_all_asleep(pid)
        });
        wait_until_check_is_far();
        holder.kill();
        let begin = Instant::now();
        for thread in 0..3 {
            waiters.must(&format!("finish\t{thread}"));
        }
        let time = begin.elapsed();
        assert_permits(&semaphore, 0, 4);
        time
    });
}

case!(Robust, removal_wakes_at_once);

fn removal_wakes_at_once(tested: &TestedType) {
    assert_one_attempt_is_fast("waking", || {
        let semaphore = tested.create("s", 0);
        let mut waiters = [tested.puppet("s"), tested.puppet("s"), tested.puppet("s")];
        for (count, waiter) in (1..).zip(&mut waiters) {
            waiter.block(&format!("acquire\ts\t{count}"));
            super::wait_for_watch(waiter);
        }
        wait_until_check_is_far();
        let begin = Instant::now();
        SystemSemaphore::remove(tested.key("s")).expect("it is there");
        for waiter in &mut waiters {
            assert_eq!(waiter.answer().expect_err("it was removed").kind, "NotFound");
        }
        let time = begin.elapsed();
        waiters.into_iter().for_each(Puppet::kill);
        drop(semaphore);
        time
    });
}
