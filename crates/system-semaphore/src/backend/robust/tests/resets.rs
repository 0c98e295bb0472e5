//! Resets that are not finished by the process that began them.

use super::super::failpoint::Step;
use super::actor::Actor;
use super::{Meanwhile, Stage};

#[test]
fn others_complete_reset_of_dead_resetter() {
    for meanwhile in Meanwhile::ALL {
        let stage = Stage::new(10);
        let mut holder = Actor::with(&stage);
        holder.must("acquire\ts\t4");
        let old = stage.semaphore.acquire_many(3).expect("there are enough");
        let mut resetter = Actor::start();
        resetter.halt_in(&stage.opening(20, "Create"), Step::ResetSwapped);
        if meanwhile == Meanwhile::Reset {
            // another one has to wait for the lock until the first is dead
            resetter.kill();
            meanwhile.happen(&stage);
        } else {
            meanwhile.happen(&stage);
            resetter.kill();
        }
        let context = format!("meanwhile {meanwhile:?}");
        stage.assert_books(meanwhile.free(20), 0, &context);
        drop(stage.semaphore.acquire().expect("there are enough"));
        drop(old);
        holder.must("acquire\ts\t1");
        holder.must("drop\ts");
        holder.must("drop\ts");
        stage.assert_books(meanwhile.free(20), 0, format!("{context}, old permits dropped"));
    }
}

#[test]
fn reset_killed_before_its_swap_changes_nothing() {
    let stage = Stage::new(10);
    let mut holder = Actor::with(&stage);
    holder.must("acquire\ts\t4");
    let resetter = Actor::start();
    resetter.die_in(&stage.opening(20, "Create"), Step::ResetBegins);
    stage.assert_books(6, 4, "as before");
    holder.must("drop\ts");
    stage.assert_books(10, 0, "the permits were good");
}

/// A semaphore of at most so many permits, of which three are free.
fn with_maximum(max: &str) -> Stage {
    let stage = Stage::new(3);
    Actor::start().must(&format!("reset\t{}\t{max}", stage.key));
    stage
}

#[test]
fn reset_killed_before_its_swap_keeps_the_maximum() {
    let stage = with_maximum("3");
    let resetter = Actor::start();
    resetter.die_in(&format!("reset\t{}\t20", stage.key), Step::ResetBegins);
    stage.assert_books(3, 0, "as before");
    assert_eq!(stage.semaphore.capabilities().max_permits, 3);
}

#[test]
fn reset_killed_after_its_swap_has_set_the_maximum() {
    let stage = with_maximum("20");
    let resetter = Actor::start();
    resetter.die_in(&format!("reset\t{}\t3", stage.key), Step::ResetSwapped);
    drop(stage.semaphore.acquire().expect("there are enough"));
    assert_eq!(stage.semaphore.capabilities().max_permits, 3);
}

#[test]
fn add_during_reset_respects_new_maximum() {
    let stage = with_maximum("20");
    let mut resetter = Actor::start();
    resetter.halt_in(&format!("reset\t{}\t3", stage.key), Step::ResetSwapped);
    // the reset has happened: it would be void otherwise
    let added = stage.semaphore.add_permits(1).is_ok();
    resetter.send("go on");
    assert_eq!(resetter.answer(), Ok(String::new()));
    let free = stage.semaphore.available_permits().expect("it is told");
    assert_eq!((added, free, stage.semaphore.capabilities().max_permits), (false, 3, 3));
}
