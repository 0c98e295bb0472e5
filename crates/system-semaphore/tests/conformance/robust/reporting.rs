//! Who holds, who waits, who has died.

use std::time::{Duration, SystemTime};

use system_semaphore::Holder;
use test_support::{Puppet, process, wait_until};

use super::wait_for_waiters;
use crate::case;
use crate::tested_type::{TestedType, assert_permits};

case!(Robust, holders_are_reported_with_count_and_time);

fn holders_are_reported_with_count_and_time(tested: &TestedType) {
    let semaphore = tested.create("s", 5);
    assert_eq!(semaphore.holders().expect("they are told"), []);
    let mut holder = tested.puppet("s");
    let of = |pid: u32| -> Holder {
        let holders = semaphore.holders().expect("they are told");
        holders.into_iter().find(|holder| holder.pid == Some(pid)).expect("it holds")
    };

    // taken at once: since when, would cost too much
    // the clock of full seconds may be some behind
    let begin = SystemTime::now() - Duration::from_secs(10);
    holder.must("acquire\ts\t1");
    holder.must("acquire\ts\t2");
    let told = of(holder.pid());
    assert_eq!((told.permits, told.since), (3, None));
    assert_eq!(told.command, Some(process::command(holder.pid())));

    let is_recent = |since: Option<SystemTime>| since.is_some_and(|at| begin < at && at <= SystemTime::now());
    holder.must("hold\ts");
    let told = of(holder.pid());
    assert_eq!(told.permits, 3);
    assert!(is_recent(told.since), "{told:?}");

    // what is told of one's own process
    let permit = semaphore.acquire().expect("two are free");
    let told = of(std::process::id());
    assert_eq!((told.permits, told.since), (1, None));
    assert_eq!(semaphore.holders().expect("they are told").len(), 2);
    assert_permits(&semaphore, 1, 4);
    drop(permit);
    assert_eq!(semaphore.holders().expect("they are told").len(), 1);

    // after a wait it is known
    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t3");
    assert_eq!(semaphore.holders().expect("they are told").len(), 1, "who waits does not hold");
    holder.must("release\ts\t2");
    waiter.answer().expect("three are free");
    let told = of(waiter.pid());
    assert_eq!(told.permits, 3);
    assert!(is_recent(told.since), "{told:?}");
    // and counts no more after another operation
    waiter.must("try\ts\t1");
    assert_eq!(of(waiter.pid()).since, None);

    holder.kill();
    waiter.kill();
    assert_eq!(semaphore.holders().expect("they are told"), []);
    assert_permits(&semaphore, 5, 0);
}

case!(Robust, waiting_counts_threads);

fn waiting_counts_threads(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let (mut one, mut other) = (tested.puppet("s"), tested.puppet("s"));
    one.must("start\ta\tacquire\ts\t1");
    one.must("start\tb\tacquire\ts\t2");
    other.must("start\tc\tacquire\ts\t1");
    wait_for_waiters(&semaphore, 3);
    assert_eq!(other.must("waiting\ts"), "3");
    // nor does one count that gives up,
    let failure = other.ask("acquire\ts\t1\t20").expect_err("none comes");
    assert_eq!(failure.kind, "TimedOut");
    wait_for_waiters(&semaphore, 3);
    // or is killed,
    one.kill();
    wait_for_waiters(&semaphore, 1);
    // or has got what it waited for
    semaphore.add_permits(1).expect("there is room");
    other.must("finish\tc");
    wait_for_waiters(&semaphore, 0);
    assert_permits(&semaphore, 0, 1);
}

case!(Robust, recoveries_count_dead_holders);

fn recoveries_count_dead_holders(tested: &TestedType) {
    let semaphore = tested.create("s", 5);
    let recoveries = || semaphore.recoveries().expect("they are told");
    assert_eq!(recoveries(), 0);
    // several permits are one death
    for dead in 1..=3 {
        let mut holder = tested.puppet("s");
        holder.must("acquire\ts\t2");
        holder.must("acquire\ts\t1");
        holder.kill();
        assert_eq!(recoveries(), dead);
        assert_eq!(recoveries(), dead);
    }
    // who held nothing does not count: who never did, who gave back, who forgot, who waited
    tested.puppet("s").kill();
    let mut gave_back = tested.puppet("s");
    gave_back.must("acquire\ts\t1");
    gave_back.must("drop\ts");
    gave_back.kill();
    let mut forgot = tested.puppet("s");
    forgot.must("acquire\ts\t1");
    forgot.must("forget\ts");
    forgot.kill();
    let mut waited = tested.puppet("s");
    waited.block("acquire\ts\t5");
    waited.kill();
    // nor who leaves in order
    let mut closed = tested.puppet("s");
    closed.must("acquire\ts\t1");
    closed.must("close\ts");
    closed.exit();
    assert_permits(&semaphore, 4, 0);
    assert_eq!(recoveries(), 3);
    // but who leaves without giving back
    let mut left = tested.puppet("s");
    left.must("acquire\ts\t1");
    left.exit();
    wait_until("it is noticed", || recoveries() == 4);
    // the count is everybody's
    let mut other = Puppet::of_this_program();
    other.must(&format!("open\ts\t{}\t0\tOpenExisting", tested.key("s")));
    assert_eq!(recoveries(), 4);
    assert_permits(&semaphore, 4, 0);
}
