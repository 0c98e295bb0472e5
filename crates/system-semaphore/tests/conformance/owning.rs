//! Who owns what: guards, permits held without one, forgotten and created ones.

use std::thread;

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};

use crate::case;
use crate::tested_type::{TestedType, assert_permits, free};

case!(EveryType, drop_and_release_return_permits);

fn drop_and_release_return_permits(tested: &TestedType) {
    let semaphore = tested.create("s", 2);
    let (one, two) = (semaphore.acquire().expect("free"), semaphore.acquire().expect("free"));
    assert_eq!(free(&semaphore), 0);
    drop(one);
    assert_eq!(free(&semaphore), 1);
    two.release().expect("there is room");
    assert_permits(&semaphore, 2, 0);
}

case!(EveryType, forgotten_permits_stay_taken);

fn forgotten_permits_stay_taken(tested: &TestedType) {
    let semaphore = tested.create("s", 2);
    semaphore.acquire().expect("free").forget().expect("it is there");
    assert_eq!(free(&semaphore), 1);
    semaphore.acquire().expect("free").forget().expect("it is there");
    assert_permits(&semaphore, 0, 0);
    assert_eq!(semaphore.detached_permits(), 0);
}

case!(EveryType, detached_permits_stay_until_released_through_any_handle);

fn detached_permits_stay_until_released_through_any_handle(tested: &TestedType) {
    let one = tested.create("s", 3);
    let other = SystemSemaphore::open(tested.key("s"), 0).expect("it is there");
    one.acquire().expect("free").detach();
    other.acquire().expect("free").detach();
    assert_eq!((free(&one), one.detached_permits(), other.detached_permits()), (1, 2, 2));
    other.release(2).expect("they are held");
    assert_eq!((free(&one), one.detached_permits()), (3, 0));

    // the same over handles that come and go
    let mut puppet = tested.puppet("s");
    puppet.must("acquire\ts\t1");
    puppet.must("hold\ts");
    puppet.must("close\ts");
    assert_eq!(free(&one), 2, "what is held is not given back with the handle");
    puppet.must(&format!("open\ts\t{}\t0\tOpenExisting", tested.key("s")));
    assert_eq!(puppet.must("held\ts"), "1");
    puppet.must("release\ts\t1");
    assert_eq!(puppet.must("held\ts"), "0");
    assert_eq!(free(&one), 3);
    puppet.exit();
    // a debt that was settled is not paid again
    assert_permits(&one, 3, 0);
}

case!(Unix, detached_permits_after_reset_outlast_last_handle);

#[cfg(unix)]
fn detached_permits_after_reset_outlast_last_handle(tested: &TestedType) {
    let key = tested.key("s");
    let create = || SystemSemaphore::builder(&key).mode(AccessMode::Create).initial_value(3).persistent(true);
    let made = create().build().expect("nobody has the name");
    let reset = create().build().expect("it is there");
    reset.acquire().expect("free").detach();
    drop((made, reset));
    let again = SystemSemaphore::new(&key, 0, AccessMode::OpenExisting).expect("it is persistent");
    assert_eq!((free(&again), again.detached_permits()), (2, 1));
    again.release(1).expect("it is held");
    assert_permits(&again, 3, 0);
    assert_eq!(again.detached_permits(), 0);
    tested.remove(&key);
}

case!(EveryType, release_of_more_than_detached_creates_permits);

fn release_of_more_than_detached_creates_permits(tested: &TestedType) {
    let semaphore = tested.create("s", 2);
    let mut puppet = tested.puppet("s");
    puppet.must("acquire\ts\t1");
    puppet.must("hold\ts");
    assert_eq!(free(&semaphore), 1);
    puppet.must("release\ts\t4");
    assert_eq!(free(&semaphore), 5, "one given back, three created");
    puppet.exit();
    // created permits stay
    assert_permits(&semaphore, 5, 0);
}

case!(EveryType, add_leaves_detached_permits_detached);

fn add_leaves_detached_permits_detached(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    semaphore.acquire().expect("free").detach();
    semaphore.add_permits(1).expect("there is room");
    assert_eq!((free(&semaphore), semaphore.detached_permits()), (1, 1));
    assert_permits(&semaphore, 1, 1);
    semaphore.release(1).expect("it is held");
    assert_permits(&semaphore, 2, 0);
    assert_eq!(semaphore.detached_permits(), 0);
}

case!(EveryType, guards_split_and_merge);

fn guards_split_and_merge(tested: &TestedType) {
    let semaphore = tested.create("s", 5);
    let mut permits = semaphore.acquire().expect("free");
    for _ in 0..3 {
        permits.merge(semaphore.acquire().expect("free")).expect("they are of one semaphore");
    }
    assert_eq!((permits.num_permits(), free(&semaphore)), (4, 1));
    assert!(permits.split(5).is_none());
    let three = permits.split(3).expect("there are four");
    assert_eq!((permits.num_permits(), three.num_permits()), (1, 3));
    drop(three);
    assert_eq!(free(&semaphore), 4);
    let nothing = permits.split(0).expect("none is always to be had");
    permits.merge(nothing.into_owned()).expect("owned and borrowed guards merge");
    assert_eq!(permits.num_permits(), 1);
    let all = permits.split(1).expect("there is one");
    drop(permits);
    assert_eq!(free(&semaphore), 4, "an emptied guard gives nothing back");
    drop(all);
    assert_permits(&semaphore, 5, 0);
}

case!(EveryType, guards_of_two_semaphores_do_not_merge);

fn guards_of_two_semaphores_do_not_merge(tested: &TestedType) {
    let (one, other) = (tested.create("one", 1), tested.create("other", 1));
    let mut permit = one.acquire().expect("free");
    let refused = permit.merge(other.acquire().expect("free")).expect_err("they are not of one semaphore");
    assert!(refused.to_string().contains(tested.key("other").native_key()), "{refused}");
    assert_eq!(free(&other), 0, "the refused guard is whole");
    drop(refused.into_permit());
    assert_eq!(free(&other), 1);
    drop(permit);
    assert_eq!(free(&one), 1);
}

case!(EveryType, another_thread_can_release_a_permit);

fn another_thread_can_release_a_permit(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let permit = semaphore.acquire().expect("free").into_owned();
    thread::spawn(move || drop(permit)).join().expect("it does not panic");
    assert_eq!(free(&semaphore), 1);
}

case!(EveryType, owned_permit_keeps_semaphore_open);

fn owned_permit_keeps_semaphore_open(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let mut watcher = tested.puppet("s");
    let permit = semaphore.acquire().expect("free").into_owned();
    drop(semaphore);
    assert_eq!(watcher.must("available\ts"), "0");
    let again = SystemSemaphore::open(tested.key("s"), 7).expect("it is there");
    drop(permit);
    assert_eq!(free(&again), 1, "it is still the same semaphore");
    watcher.exit();
}

case!(EveryType, detached_permits_can_be_forgotten);

fn detached_permits_can_be_forgotten(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut puppet = tested.puppet("s");
    for _ in 0..2 {
        puppet.must("acquire\ts\t1");
        puppet.must("hold\ts");
    }
    assert_eq!(puppet.must("forget-held\ts\t9"), "2");
    assert_eq!(puppet.must("held\ts"), "0");
    puppet.exit();
    assert_permits(&semaphore, 1, 0);
}

case!(Unix, release_above_the_maximum_changes_nothing);

#[cfg(unix)]
fn release_above_the_maximum_changes_nothing(tested: &TestedType) {
    let max = tested.capabilities().max_permits;
    let semaphore = tested.create("s", max - 2);
    semaphore.acquire().expect("free").detach();
    for count in [4, max, max + 1, u32::MAX] {
        let error = semaphore.release(count).expect_err("there is no room");
        assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
        let error = semaphore.add_permits(count).expect_err("there is no room");
        assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
        assert_eq!((free(&semaphore), semaphore.detached_permits()), (max - 3, 1));
    }
    semaphore.release(3).expect("there is room for three");
    assert_permits(&semaphore, max, 0);
    assert_eq!(semaphore.detached_permits(), 0);
}

case!(Unix, release_to_full_count_stops_at_the_maximum);

#[cfg(unix)]
fn release_to_full_count_stops_at_the_maximum(tested: &TestedType) {
    let max = tested.capabilities().max_permits;
    let semaphore = tested.create("s", max);
    let mut holder = tested.puppet("s");
    for _ in 0..3 {
        holder.must("acquire\ts\t1");
    }
    semaphore.add_permits(3).expect("there is room for three");
    semaphore.acquire().expect("free").forget().expect("it is there");
    assert_eq!(free(&semaphore), max - 1);
    holder.must("drop\ts");
    assert_eq!(free(&semaphore), max);
    let failure = holder.ask("drop\ts").expect_err("there is no room");
    assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
    holder.must("close\ts");
    assert_eq!(free(&semaphore), max);
    semaphore.acquire().expect("free").forget().expect("it is there");
    holder.exit();
    // what was given back is not given back again
    assert_permits(&semaphore, max - 1, 0);
}
