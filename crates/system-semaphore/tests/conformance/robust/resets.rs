//! `Create` of one that lives.

use system_semaphore::{AccessMode, SystemSemaphore};
use test_support::Puppet;

use super::wait_for_waiters;
use crate::tested_type::{Subject, assert_books, free};

pub(crate) fn a_reset_feeds_waiters_and_voids_what_was_taken(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let mut own = semaphore.acquire().expect("free");
    let (mut holder, mut one, mut many) = (subject.puppet("s"), subject.puppet("s"), subject.puppet("s"));
    for _ in 0..2 {
        holder.must("acquire\ts\t1");
    }
    holder.must("hold\ts");
    one.block("acquire\ts\t1");
    many.block("acquire\ts\t3\t60000");
    wait_for_waiters(&semaphore, 2);
    assert_books(&semaphore, 0, 3);

    let mut resetter = Puppet::of_this_program();
    resetter.must(&format!("open\ts\t{}\t5\tCreate", subject.key("s")));
    one.answer().expect("there are new ones");
    many.answer().expect("there are new ones");
    assert_books(&semaphore, 1, 4);

    // what was taken before is void, whatever is done to it
    assert_eq!(holder.must("held\ts"), "0");
    assert_eq!(holder.must("forget-held\ts\t1"), "0");
    holder.must("split\ts\t1");
    holder.must("merge\ts");
    assert_books(&semaphore, 1, 4);
    holder.must("try\ts\t1");
    assert_eq!(holder.ask("merge\ts").expect_err("they are not worth the same").kind, "NotMerged");
    assert_books(&semaphore, 0, 5);
    holder.must("drop\ts");
    assert_books(&semaphore, 1, 4);
    holder.must("drop\ts");
    assert_books(&semaphore, 1, 4);
    let split = own.split(1).expect("there is one");
    split.forget().expect("that does nothing");
    drop(own);
    assert_books(&semaphore, 1, 4);
    // there is nothing to give back, so this creates
    holder.must("release\ts\t1");
    assert_books(&semaphore, 2, 4);
    // deaths give back what is of the new epoch
    many.kill();
    assert_books(&semaphore, 5, 1);
    holder.kill();
    resetter.kill();
    assert_books(&semaphore, 5, 1);
    one.must("drop\ts");
    assert_books(&semaphore, 6, 0);
    assert_eq!(semaphore.recoveries().expect("it is told"), 1);
}

/// One that has not done anything since the reset dies with nothing.
pub(crate) fn who_dies_after_a_reset_gives_nothing_back(subject: &Subject) {
    let semaphore = subject.create("s", 3);
    let mut holders: Vec<Puppet> = (0..2).map(|_| subject.puppet("s")).collect();
    for holder in &mut holders {
        holder.must("acquire\ts\t1");
        holder.must("hold\ts");
        holder.must("add\ts\t1");
    }
    let again = SystemSemaphore::create(subject.key("s"), 7).expect("it can be reset");
    let late = holders.pop().expect("there are two");
    late.kill();
    assert_books(&semaphore, 7, 0);
    let mut active = holders.pop().expect("there was another");
    active.must("try\ts\t2");
    assert_books(&again, 5, 2);
    // nor after several
    SystemSemaphore::create(subject.key("s"), 1).expect("it can be reset");
    SystemSemaphore::create(subject.key("s"), 2).expect("it can be reset");
    active.must("drop\ts");
    assert_books(&semaphore, 2, 0);
    active.must("try\ts\t1");
    active.kill();
    assert_books(&semaphore, 2, 0);
    assert_eq!(semaphore.recoveries().expect("it is told"), 1);
}

/// Whatever is done to void permits does nothing to those that the same process has of the new epoch.
pub(crate) fn void_permits_and_new_ones_are_kept_apart(subject: &Subject) {
    let semaphore = subject.create("s", 4);
    let mut holder = subject.puppet("s");
    for _ in 0..2 {
        holder.must("acquire\ts\t1");
    }
    SystemSemaphore::create(subject.key("s"), 4).expect("it can be reset");
    holder.must("acquire\ts\t3");
    holder.must("hold\ts");
    assert_eq!(holder.must("held\ts"), "3");
    holder.must("forget\ts");
    assert_books(&semaphore, 1, 3);
    holder.must("hold\ts");
    assert_eq!(holder.must("held\ts"), "3");
    holder.must("release\ts\t1");
    assert_books(&semaphore, 2, 2);
    holder.kill();
    assert_books(&semaphore, 4, 0);
}

/// What a thread gets of the new epoch, while its own process resets, is owned like any other.
pub(crate) fn a_thread_woken_by_its_own_process_s_reset_owns_its_permit(subject: &Subject) {
    let semaphore = subject.create("s", 0);
    let mut puppet = subject.puppet("s");
    puppet.must(&format!("reset-under-a-waiter\ts\t1\t{}", subject.key("s")));
    assert_books(&semaphore, 0, 1);
    puppet.must("drop\ts");
    assert_books(&semaphore, 1, 0);
    puppet.must("try\ts\t1");
    puppet.kill();
    assert_books(&semaphore, 1, 0);
}

/// A reset to 0 leaves waiters waiting; and a stopped holder changes nothing.
pub(crate) fn a_reset_to_nothing_leaves_waiters_waiting(subject: &Subject) {
    let semaphore = subject.create("s", 1);
    let (mut holder, mut waiter) = (subject.puppet("s"), subject.puppet("s"));
    holder.must("acquire\ts\t1");
    waiter.block("acquire\ts\t1");
    holder.stop();
    drop(SystemSemaphore::create(subject.key("s"), 0).expect("it can be reset"));
    assert_books(&semaphore, 0, 0);
    assert_eq!(semaphore.waiting().expect("it is told"), 1);
    holder.resume();
    holder.must("drop\ts");
    assert_eq!((free(&semaphore), semaphore.waiting().expect("it is told")), (0, 1));
    holder.must("add\ts\t1");
    waiter.answer().expect("one was created");
    let other = SystemSemaphore::new(subject.key("s"), 0, AccessMode::OpenExisting).expect("it is there");
    assert_books(&other, 0, 1);
}
