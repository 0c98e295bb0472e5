//! `Create` of one that lives.

use system_semaphore::{AccessMode, SystemSemaphore};
use test_support::Puppet;

use super::wait_for_waiters;
use crate::case;
use crate::tested_type::{TestedType, assert_permits, free};

case!(Robust, reset_serves_waiters_and_voids_old_permits);

fn reset_serves_waiters_and_voids_old_permits(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut own = semaphore.acquire().expect("free");
    let (mut holder, mut one, mut many) = (tested.puppet("s"), tested.puppet("s"), tested.puppet("s"));
    for _ in 0..2 {
        holder.must("acquire\ts\t1");
    }
    holder.must("hold\ts");
    one.block("acquire\ts\t1");
    many.block("acquire\ts\t3\t60000");
    wait_for_waiters(&semaphore, 2);
    assert_permits(&semaphore, 0, 3);

    let mut resetter = Puppet::of_this_program();
    resetter.must(&format!("open\ts\t{}\t5\tCreate", tested.key("s")));
    one.answer().expect("there are new ones");
    many.answer().expect("there are new ones");
    assert_permits(&semaphore, 1, 4);

    // what was taken before is void, whatever is done to it
    assert_eq!(holder.must("held\ts"), "0");
    assert_eq!(holder.must("forget-held\ts\t1"), "0");
    holder.must("split\ts\t1");
    holder.must("merge\ts");
    assert_permits(&semaphore, 1, 4);
    holder.must("try\ts\t1");
    assert_eq!(holder.ask("merge\ts").expect_err("they are not worth the same").kind, "NotMerged");
    assert_permits(&semaphore, 0, 5);
    holder.must("drop\ts");
    assert_permits(&semaphore, 1, 4);
    holder.must("drop\ts");
    assert_permits(&semaphore, 1, 4);
    let split = own.split(1).expect("there is one");
    split.forget().expect("that does nothing");
    drop(own);
    assert_permits(&semaphore, 1, 4);
    // there is nothing to give back, so this creates
    holder.must("release\ts\t1");
    assert_permits(&semaphore, 2, 4);
    // deaths give back what is of the new epoch
    many.kill();
    assert_permits(&semaphore, 5, 1);
    holder.kill();
    resetter.kill();
    assert_permits(&semaphore, 5, 1);
    one.must("drop\ts");
    assert_permits(&semaphore, 6, 0);
    assert_eq!(semaphore.recoveries().expect("it is told"), 1);
}

case!(Robust, death_after_reset_returns_nothing);

/// One that has not done anything since the reset dies with nothing.
fn death_after_reset_returns_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut holders: Vec<Puppet> = (0..2).map(|_| tested.puppet("s")).collect();
    for holder in &mut holders {
        holder.must("acquire\ts\t1");
        holder.must("hold\ts");
        holder.must("add\ts\t1");
    }
    let again = SystemSemaphore::create(tested.key("s"), 7).expect("it can be reset");
    let late = holders.pop().expect("there are two");
    late.kill();
    assert_permits(&semaphore, 7, 0);
    let mut active = holders.pop().expect("there was another");
    active.must("try\ts\t2");
    assert_permits(&again, 5, 2);
    // nor after several
    SystemSemaphore::create(tested.key("s"), 1).expect("it can be reset");
    SystemSemaphore::create(tested.key("s"), 2).expect("it can be reset");
    active.must("drop\ts");
    assert_permits(&semaphore, 2, 0);
    active.must("try\ts\t1");
    active.kill();
    assert_permits(&semaphore, 2, 0);
    assert_eq!(semaphore.recoveries().expect("it is told"), 1);
}

case!(Robust, void_permits_and_new_ones_are_kept_apart);

/// Whatever is done to void permits does nothing to those that the same process has of the new epoch.
fn void_permits_and_new_ones_are_kept_apart(tested: &TestedType) {
    let semaphore = tested.create("s", 4);
    let mut holder = tested.puppet("s");
    for _ in 0..2 {
        holder.must("acquire\ts\t1");
    }
    SystemSemaphore::create(tested.key("s"), 4).expect("it can be reset");
    holder.must("acquire\ts\t3");
    holder.must("hold\ts");
    assert_eq!(holder.must("held\ts"), "3");
    holder.must("forget\ts");
    assert_permits(&semaphore, 1, 3);
    holder.must("hold\ts");
    assert_eq!(holder.must("held\ts"), "3");
    holder.must("release\ts\t1");
    assert_permits(&semaphore, 2, 2);
    holder.kill();
    assert_permits(&semaphore, 4, 0);
}

case!(Robust, thread_woken_by_reset_of_own_process_owns_its_permit);

/// What a thread gets of the new epoch, while its own process resets, is owned like any other.
fn thread_woken_by_reset_of_own_process_owns_its_permit(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let mut puppet = tested.puppet("s");
    puppet.must(&format!("reset-under-a-waiter\ts\t1\t{}", tested.key("s")));
    assert_permits(&semaphore, 0, 1);
    puppet.must("drop\ts");
    assert_permits(&semaphore, 1, 0);
    puppet.must("try\ts\t1");
    puppet.kill();
    assert_permits(&semaphore, 1, 0);
}

case!(Robust, reset_to_zero_leaves_waiters_waiting);

/// A reset to 0 leaves waiters waiting; and a stopped holder changes nothing.
fn reset_to_zero_leaves_waiters_waiting(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t1");
    waiter.block("acquire\ts\t1");
    holder.stop();
    drop(SystemSemaphore::create(tested.key("s"), 0).expect("it can be reset"));
    assert_permits(&semaphore, 0, 0);
    assert_eq!(semaphore.waiting().expect("it is told"), 1);
    holder.resume();
    holder.must("drop\ts");
    assert_eq!((free(&semaphore), semaphore.waiting().expect("it is told")), (0, 1));
    holder.must("add\ts\t1");
    waiter.answer().expect("one was created");
    let other = SystemSemaphore::new(tested.key("s"), 0, AccessMode::OpenExisting).expect("it is there");
    assert_permits(&other, 0, 1);
}
