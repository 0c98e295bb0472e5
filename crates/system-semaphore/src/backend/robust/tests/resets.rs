//! Resets that are not finished by the process that began them.

use super::super::failpoint::Failpoint;
use super::actor::Actor;
use super::{Meanwhile, TestSemaphore};

#[test]
fn others_complete_reset_of_dead_resetter() {
    for meanwhile in Meanwhile::ALL {
        let test = TestSemaphore::new(10);
        let mut holder = Actor::with(&test);
        holder.must("acquire\ts\t4");
        let old = test.semaphore.acquire_many(3).expect("there are enough");
        let mut resetter = Actor::start();
        resetter.halt_in(&test.opening(20, "Create"), Failpoint::ResetSwapped);
        if meanwhile == Meanwhile::Reset {
            // another one has to wait for the lock until the first is dead
            resetter.kill();
            meanwhile.happen(&test);
        } else {
            meanwhile.happen(&test);
            resetter.kill();
        }
        let context = format!("meanwhile {meanwhile:?}");
        test.assert_permits(meanwhile.free(20), 0, &context);
        drop(test.semaphore.acquire().expect("there are enough"));
        drop(old);
        holder.must("acquire\ts\t1");
        holder.must("drop\ts");
        holder.must("drop\ts");
        test.assert_permits(meanwhile.free(20), 0, format!("{context}, old permits dropped"));
    }
}

#[test]
fn reset_killed_before_its_swap_changes_nothing() {
    let test = TestSemaphore::new(10);
    let mut holder = Actor::with(&test);
    holder.must("acquire\ts\t4");
    let resetter = Actor::start();
    resetter.die_in(&test.opening(20, "Create"), Failpoint::ResetPrepared);
    test.assert_permits(6, 4, "as before");
    holder.must("drop\ts");
    test.assert_permits(10, 0, "the permits were good");
}

/// A semaphore of at most so many permits, of which three are free.
fn with_maximum(max: &str) -> TestSemaphore {
    let test = TestSemaphore::new(3);
    Actor::start().must(&format!("reset\t{}\t{max}", test.key));
    test
}

#[test]
fn reset_killed_before_its_swap_keeps_the_maximum() {
    let test = with_maximum("3");
    let resetter = Actor::start();
    resetter.die_in(&format!("reset\t{}\t20", test.key), Failpoint::ResetPrepared);
    test.assert_permits(3, 0, "as before");
    assert_eq!(test.semaphore.capabilities().max_permits, 3);
}

#[test]
fn reset_killed_after_its_swap_has_set_the_maximum() {
    let test = with_maximum("20");
    let resetter = Actor::start();
    resetter.die_in(&format!("reset\t{}\t3", test.key), Failpoint::ResetSwapped);
    drop(test.semaphore.acquire().expect("there are enough"));
    assert_eq!(test.semaphore.capabilities().max_permits, 3);
}

#[test]
fn add_during_reset_respects_new_maximum() {
    let test = with_maximum("20");
    let mut resetter = Actor::start();
    resetter.halt_in(&format!("reset\t{}\t3", test.key), Failpoint::ResetSwapped);
    // the reset has happened: it would be void otherwise
    let added = test.semaphore.add_permits(1).is_ok();
    resetter.send("go on");
    assert_eq!(resetter.answer(), Ok(String::new()));
    let free = test.semaphore.available_permits().expect("it is told");
    assert_eq!((added, free, test.semaphore.capabilities().max_permits), (false, 3, 3));
}
