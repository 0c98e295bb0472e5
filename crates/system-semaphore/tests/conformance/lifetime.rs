//! Opening, closing, removing, forking.

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};
use test_support::Puppet;

use crate::case;
use crate::tested_type::{TestedType, assert_permits, exists, free};

case!(Unix, access_modes_do_what_they_say);

#[cfg(unix)]
fn access_modes_do_what_they_say(tested: &TestedType) {
    let key = tested.key("s");
    assert!(!exists(&key));
    let one = SystemSemaphore::open(&key, 3).expect("open creates");
    assert_eq!(free(&one), 3);
    let two = SystemSemaphore::open(&key, 9).expect("open opens");
    assert_eq!(free(&two), 3, "the initial value is ignored");
    let error = SystemSemaphore::new(&key, 9, AccessMode::CreateNew).expect_err("it is there");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains(key.native_key()), "{error}");
    assert_eq!(free(&one), 3, "a refused one changes nothing");
    let three = SystemSemaphore::create(&key, 5).expect("create resets");
    assert_eq!(free(&three), 5);
    let four = SystemSemaphore::new(&key, 0, AccessMode::OpenExisting).expect("it is there");
    assert_eq!(free(&four), 5);
}

case!(EveryType, last_handle_of_creator_removes_semaphore);

fn last_handle_of_creator_removes_semaphore(tested: &TestedType) {
    let one = tested.create("s", 1);
    let (two, three) = (one.clone(), SystemSemaphore::open(tested.key("s"), 0).expect("it is there"));
    drop(one);
    assert!(exists(&tested.key("s")));
    drop(two);
    assert!(exists(&tested.key("s")), "any handle of the process keeps it");
    drop(three);
    assert!(!exists(&tested.key("s")));
}

case!(EveryType, last_handle_of_other_process_removes_nothing);

fn last_handle_of_other_process_removes_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    tested.puppet("s").exit();
    let mut puppet = tested.puppet("s");
    puppet.must("close\ts");
    puppet.exit();
    assert!(exists(&tested.key("s")));
    assert_eq!(free(&semaphore), 1);
}

case!(Unix, persistent_semaphore_stays_until_removed);

#[cfg(unix)]
fn persistent_semaphore_stays_until_removed(tested: &TestedType) {
    let key = tested.key("s");
    let builder = SystemSemaphore::builder(&key).initial_value(2).persistent(true);
    drop(builder.build().expect("nobody has the name"));
    let again = SystemSemaphore::open(&key, 0).expect("it is there");
    assert_eq!(free(&again), 2);
    drop(again);
    assert!(exists(&key));
    tested.remove(&key);
    assert!(!exists(&key));
    assert_eq!(SystemSemaphore::remove(&key).expect_err("it is gone").kind(), ErrorKind::NotFound);
}

case!(EveryType, set_key_of_one_clone_leaves_other_clones);

fn set_key_of_one_clone_leaves_other_clones(tested: &TestedType) {
    let one = tested.create("one", 1);
    let mut two = one.clone();
    two.set_key(tested.key("two"), 2, AccessMode::Open).expect("it can be made");
    assert_eq!((free(&one), free(&two)), (1, 2));
    assert_eq!(two.native_key(), &tested.key("two"));
    drop(two);
    assert!(!exists(&tested.key("two")), "the old handle was the only one of the new semaphore");
    assert_eq!(free(&one), 1);
}

case!(Unix, refused_value_changes_nothing);

#[cfg(unix)]
fn refused_value_changes_nothing(tested: &TestedType) {
    let mut semaphore = tested.create("s", 1);
    let too_many = semaphore.capabilities().max_permits + 1;
    let error = semaphore.set_key(tested.key("other"), too_many, AccessMode::Create).expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::OutOfResources);
    assert_eq!(semaphore.native_key(), &tested.key("s"));
    semaphore.set_native_key(tested.key("s"), 9, AccessMode::Open).expect("it is the same");
    assert_eq!(free(&semaphore), 1);
    semaphore.set_key(tested.key("s"), 9, AccessMode::Create).expect("it can be reset");
    assert_eq!(free(&semaphore), 9);
}

case!(Unix, own_maximum_is_kept_or_refused);

#[cfg(unix)]
fn own_maximum_is_kept_or_refused(tested: &TestedType) {
    let capabilities = tested.capabilities();
    let with_max = |max| SystemSemaphore::builder(tested.key("s")).max_permits(max);
    if capabilities.own_maximum {
        return maximum_is_kept(tested);
    }
    let error = with_max(10).build().expect_err("it has none");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(!exists(&tested.key("s")));
    drop(with_max(capabilities.max_permits).build().expect("that is what it has"));
}

#[cfg(unix)]
fn maximum_is_kept(tested: &TestedType) {
    let key = tested.key("s");
    let type_max = tested.capabilities().max_permits;
    let with_max = |max| SystemSemaphore::builder(&key).max_permits(max);
    for impossible in [0, type_max + 1] {
        let error = with_max(impossible).build().expect_err("no maximum can be that");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
        let error = with_max(5).mode(mode).initial_value(6).build().expect_err("6 are more than 5");
        assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
        assert!(!exists(&key));
    }

    let semaphore = with_max(5).initial_value(5).build().expect("nobody has the name");
    assert_eq!(semaphore.capabilities().max_permits, 5);
    // another process that knows nothing of it keeps it, too
    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t1");
    holder.must("acquire\ts\t2");
    for refused in [
        semaphore.release(4).expect_err("there is room for three"),
        semaphore.add_permits(4).expect_err("there is room for three"),
        semaphore.add_permits(6).expect_err("there is never so much room"),
        semaphore.acquire_many(6).expect_err("there are never so many"),
        semaphore.try_acquire_many(6).expect_err("there are never so many"),
    ] {
        assert_eq!(refused.kind(), ErrorKind::OutOfResources, "{refused}");
    }
    for count in [4, 6] {
        let failure = holder.ask(&format!("add\ts\t{count}")).expect_err("there is no room");
        assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
    }
    let failure = holder.ask("acquire\ts\t6").expect_err("there are never so many");
    assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
    assert_permits(&semaphore, 2, 3);
    semaphore.add_permits(2).expect("there is room for three");
    // what is given back fills the count up
    let failure = holder.ask("drop\ts").expect_err("there is room for one of two");
    assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
    assert_permits(&semaphore, 5, 1);
    holder.kill();
    assert_permits(&semaphore, 5, 0);

    // who has it open says no other maximum; a reset does
    for mode in [AccessMode::Open, AccessMode::OpenExisting] {
        let other = with_max(9).mode(mode).build().expect("it is there");
        assert_eq!(other.capabilities().max_permits, 5);
    }
    let reset = SystemSemaphore::create(&key, 2).expect("it can be reset");
    assert_eq!(reset.capabilities().max_permits, 5, "a reset that says nothing of it keeps it");
    let error = SystemSemaphore::create(&key, 6).expect_err("6 are more than 5");
    assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
    assert_permits(&semaphore, 2, 0);
    let mut user = tested.puppet("s");
    let reset = with_max(3).mode(AccessMode::Create).initial_value(3).build().expect("it can be reset");
    assert_eq!((reset.capabilities().max_permits, semaphore.capabilities().max_permits), (3, 3));
    let failure = user.ask("add\ts\t1").expect_err("there is no room");
    assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
    let error = with_max(3).mode(AccessMode::Create).initial_value(4).build().expect_err("4 are more than 3");
    assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
    let larger = with_max(4).mode(AccessMode::Create).initial_value(4).build().expect("it can be reset");
    assert_permits(&larger, 4, 0);
    drop(semaphore.acquire_many(4).expect("all are free"));
    user.must("acquire\ts\t4");
    assert_permits(&larger, 0, 4);
}

case!(Unix, forked_child_owns_nothing);

#[cfg(unix)]
fn forked_child_owns_nothing(tested: &TestedType) {
    // the puppet made it, so its end must not remove it in the child's name
    let mut puppet = Puppet::of_this_program();
    puppet.must(&format!("open\tfirst\t{}\t1\tCreateNew", tested.key("s")));
    // and has reset it, so that what the child opens itself knows less than what it inherits
    puppet.must(&format!("open\ts\t{}\t4\tCreate", tested.key("s")));
    puppet.must("close\tfirst");
    puppet.must("acquire\ts\t1");
    puppet.must("hold\ts");
    puppet.must("acquire\ts\t1");
    puppet.must("acquire\ts\t1");
    puppet.must("forked\ts");
    assert_eq!(puppet.must("available\ts"), "1");
    puppet.must("drop\ts");
    puppet.must("drop\ts");
    puppet.must("release\ts\t1");
    assert_eq!(puppet.must("available\ts"), "4");
    puppet.must("close\ts");
}

case!(EveryType, concurrent_open_and_close_do_not_hang);

/// Four processes that each make or open, take, give back and close, over and over. Qt's hang within seconds: an open
/// can make a semaphore that nobody gives a value. Ours may be told that the semaphore was removed under them (that
/// is Qt's rule: its maker takes it along), but nothing else.
fn concurrent_open_and_close_do_not_hang(tested: &TestedType) {
    let key = tested.key("s");
    let mut puppets: Vec<Puppet> = (0..4).map(|_| Puppet::of_this_program()).collect();
    for puppet in &mut puppets {
        puppet.send(&format!("open-close-loop\t{key}\t1500"));
    }
    for puppet in &mut puppets {
        let times = puppet.answer().unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_ne!(times, "0");
    }
    assert!(!exists(&key), "the last one has removed it");
    tested.forget_key_file(&key);
}
