//! Opening, closing, removing, forking.

use puppet::Puppet;
use system_semaphore::{AccessMode, ErrorKind, NativeIpcKey, SystemSemaphore};

use crate::subject::{Subject, free};

fn exists(key: &NativeIpcKey) -> bool {
    match SystemSemaphore::new(key, 0, AccessMode::OpenExisting) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            false
        }
    }
}

pub(crate) fn modes_do_what_they_say(subject: &Subject) {
    let key = subject.key("s");
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

pub(crate) fn the_last_handle_of_the_maker_removes_it(subject: &Subject) {
    let one = subject.create("s", 1);
    let (two, three) = (one.clone(), SystemSemaphore::open(subject.key("s"), 0).expect("it is there"));
    drop(one);
    assert!(exists(&subject.key("s")));
    drop(two);
    assert!(exists(&subject.key("s")), "any handle of the process keeps it");
    drop(three);
    assert!(!exists(&subject.key("s")));
}

pub(crate) fn who_did_not_make_it_removes_nothing(subject: &Subject) {
    let semaphore = subject.create("s", 1);
    subject.puppet("s").exit();
    let mut puppet = subject.puppet("s");
    puppet.must("close\ts");
    puppet.exit();
    assert!(exists(&subject.key("s")));
    assert_eq!(free(&semaphore), 1);
}

pub(crate) fn a_persistent_one_stays_until_removed(subject: &Subject) {
    let key = subject.key("s");
    let builder = SystemSemaphore::builder(&key).initial_value(2).persistent(true);
    drop(builder.build().expect("nobody has the name"));
    let again = SystemSemaphore::open(&key, 0).expect("it is there");
    assert_eq!(free(&again), 2);
    drop(again);
    assert!(exists(&key));
    subject.remove(&key);
    assert!(!exists(&key));
    assert_eq!(SystemSemaphore::remove(&key).expect_err("it is gone").kind(), ErrorKind::NotFound);
}

pub(crate) fn setting_the_key_of_one_clone_leaves_the_others(subject: &Subject) {
    let one = subject.create("one", 1);
    let mut two = one.clone();
    two.set_key(subject.key("two"), 2, AccessMode::Open).expect("it can be made");
    assert_eq!((free(&one), free(&two)), (1, 2));
    assert_eq!(two.native_key(), &subject.key("two"));
    drop(two);
    assert!(!exists(&subject.key("two")), "the old handle was the only one of the new semaphore");
    assert_eq!(free(&one), 1);
}

pub(crate) fn what_cannot_be_set_changes_nothing(subject: &Subject) {
    let mut semaphore = subject.create("s", 1);
    let too_many = semaphore.capabilities().max_permits + 1;
    let error = semaphore.set_key(subject.key("other"), too_many, AccessMode::Create).expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::OutOfResources);
    assert_eq!(semaphore.native_key(), &subject.key("s"));
    semaphore.set_native_key(subject.key("s"), 9, AccessMode::Open).expect("it is the same");
    assert_eq!(free(&semaphore), 1);
    semaphore.set_key(subject.key("s"), 9, AccessMode::Create).expect("it can be reset");
    assert_eq!(free(&semaphore), 9);
}

pub(crate) fn a_maximum_of_its_own_is_refused(subject: &Subject) {
    let capabilities = subject.capabilities();
    let with_max = |max| SystemSemaphore::builder(subject.key("s")).max_permits(max).build();
    let error = with_max(10).expect_err("neither type has one");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(!exists(&subject.key("s")));
    drop(with_max(capabilities.max_permits).expect("that is what it has"));
}

pub(crate) fn a_forked_child_owns_nothing(subject: &Subject) {
    // the puppet made it, so its end must not remove it in the child's name
    let mut puppet = Puppet::of_this_program();
    puppet.must(&format!("open\tfirst\t{}\t1\tCreateNew", subject.key("s")));
    // and has reset it, so that what the child opens itself knows less than what it inherits
    puppet.must(&format!("open\ts\t{}\t4\tCreate", subject.key("s")));
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

/// Four processes that each make or open, take, give back and close, over and over. Qt's hang within seconds: an open
/// can make a semaphore that nobody gives a value. Ours may be told that the semaphore was removed under them (that
/// is Qt's rule: its maker takes it along), but nothing else.
pub(crate) fn users_come_and_go_at_once_without_hanging(subject: &Subject) {
    let key = subject.key("s");
    let mut puppets: Vec<Puppet> = (0..4).map(|_| Puppet::of_this_program()).collect();
    for puppet in &mut puppets {
        puppet.tell(&format!("come-and-go\t{key}\t1500"));
    }
    for puppet in &mut puppets {
        let times = puppet.answer().unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_ne!(times, "0");
    }
    assert!(!exists(&key), "the last one has removed it");
}
