//! Everything at once.

use std::time::{Duration, Instant};

use system_semaphore::SystemSemaphore;
use test_support::Puppet;

use super::{Counter, wait_for_waiters};
use crate::case;
use crate::tested_type::{TestedType, assert_permits, exists};

const PERMITS: u32 = 5;
const TIME: Duration = Duration::from_secs(3);
/// Longer than any case takes: these are killed.
const FOR_EVER: u32 = 600_000;

/// A puppet that does at random what it may, in so many threads.
fn random_user(tested: &TestedType, operations: &str, threads: usize) -> Puppet {
    let mut puppet = tested.puppet("s");
    for thread in 1..threads {
        puppet.must(&format!("start\t{thread}\trandom-ops\ts\t{operations}\t{FOR_EVER}"));
    }
    puppet.send(&format!("random-ops\ts\t{operations}\t{FOR_EVER}"));
    puppet
}

/// Kills one at random, or stops one for a moment, and puts another in its place.
fn shake(tested: &TestedType, puppets: &mut [Puppet], operations: &str) {
    let index = fastrand::usize(..puppets.len());
    let puppet = &mut puppets[index];
    if fastrand::u8(..4) == 0 {
        puppet.stop();
        (0..fastrand::u32(..200_000)).for_each(|_| std::hint::spin_loop());
        if fastrand::bool() {
            puppet.resume();
            return;
        }
    }
    puppet.assert_busy();
    puppet.start_kill();
    *puppet = random_user(tested, operations, 1 + index % 3);
}

fn end_all(semaphore: &SystemSemaphore, puppets: Vec<Puppet>) {
    puppets.iter().for_each(Puppet::assert_busy);
    puppets.into_iter().for_each(Puppet::kill);
    wait_for_waiters(semaphore, 0);
    assert_permits(semaphore, PERMITS, 0);
    drop(semaphore.try_acquire_many(PERMITS).expect("all are free"));
    assert_permits(semaphore, PERMITS, 0);
}

case!(Robust, deaths_stops_and_threads_at_random_lose_nothing);

/// Who may be killed creates and forgets nothing, so what there is does not change; two that are left alone forget and
/// create as much as they like.
fn deaths_stops_and_threads_at_random_lose_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", PERMITS);
    let mut tame: Vec<Puppet> = (0..2).map(|_| tested.puppet("s")).collect();
    for puppet in &mut tame {
        puppet.send(&format!("random-ops\ts\thold,forget\t{}", TIME.as_millis()));
    }
    let mut puppets: Vec<Puppet> = (0..6).map(|index| random_user(tested, "hold", 1 + index % 3)).collect();
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        shake(tested, &mut puppets, "hold");
    }
    for puppet in &mut tame {
        assert_ne!(puppet.answer().expect("all goes well"), "0");
    }
    end_all(&semaphore, puppets);
}

case!(Robust, deaths_and_resets_at_random_lose_nothing);

/// The same with resets. (What is held without a guard, and forgotten permits, would be created anew after one.)
fn deaths_and_resets_at_random_lose_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", PERMITS);
    let mut puppets: Vec<Puppet> = (0..6).map(|index| random_user(tested, "guards", 1 + index % 3)).collect();
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        shake(tested, &mut puppets, "guards");
        drop(SystemSemaphore::create(tested.key("s"), PERMITS).expect("nobody is stopped now"));
    }
    // what was taken before the last reset must not come back
    end_all(&semaphore, puppets);
}

case!(Robust, killed_openers_and_closers_leave_nothing);

/// Processes that open, use and close, each time the first or the last or neither, and are killed at any moment of that.
fn killed_openers_and_closers_leave_nothing(tested: &TestedType) {
    let key = tested.key("s");
    let visitor = || {
        let mut puppet = Puppet::of_this_program();
        let open_close = format!("open-close-loop\t{key}\t{FOR_EVER}");
        puppet.must(&format!("start\tt\t{open_close}"));
        puppet.send(&open_close);
        puppet
    };
    let mut visitors: Vec<Puppet> = (0..4).map(|_| visitor()).collect();
    let end = Instant::now() + TIME / 2;
    while Instant::now() < end {
        let index = fastrand::usize(..visitors.len());
        visitors[index].assert_busy();
        visitors[index].start_kill();
        visitors[index] = visitor();
    }
    visitors.iter().for_each(Puppet::assert_busy);
    visitors.iter_mut().for_each(Puppet::start_kill);
    visitors.into_iter().for_each(Puppet::kill);
    let semaphore = SystemSemaphore::open(&key, PERMITS).expect("nobody is in the way");
    assert_permits(&semaphore, PERMITS, 0);
}

case!(Robust, one_name_is_never_two_semaphores);

/// Whoever opens while the last user closes, gets either the old one or a new one, but the same as all others.
fn one_name_is_never_two_semaphores(tested: &TestedType) {
    let (key, inside) = (tested.key("s"), Counter::new(tested));
    let mut visitors: Vec<Puppet> = (0..4).map(|_| Puppet::of_this_program()).collect();
    for visitor in &mut visitors {
        visitor.send(&format!("exclusive-visit\t{key}\t1500\t{}", inside.path()));
    }
    for visitor in &mut visitors {
        assert_ne!(visitor.answer().expect("it is never two at once"), "0");
    }
    let semaphore = tested.create("s", 1);
    assert_permits(&semaphore, 1, 0);
}

case!(Robust, threads_can_open_and_close_at_once);

/// Several threads of several processes, so that handles of one process come and go at once, too.
fn threads_can_open_and_close_at_once(tested: &TestedType) {
    let key = tested.key("s");
    let mut puppets = [Puppet::of_this_program(), Puppet::of_this_program()];
    for puppet in &mut puppets {
        for thread in ["a", "b", "c"] {
            puppet.must(&format!("start\t{thread}\topen-close-loop\t{key}\t1500"));
        }
    }
    for puppet in &mut puppets {
        for thread in ["a", "b", "c"] {
            assert_ne!(puppet.must(&format!("finish\t{thread}")), "0");
        }
    }
    assert!(!exists(&key), "the last has removed it");
    let semaphore = tested.create("s", 1);
    assert_permits(&semaphore, 1, 0);
}
