//! Observing semaphores without using them.

use system_semaphore::{ErrorKind, Listed, Observer, Owners, SystemSemaphore, list};
use test_support::{TestLock, wait_until};

use crate::case;
use crate::robust::WATCHER_THREADS;
use crate::tested_type::{TestedType, free};

case!(Unix, observer_sees_the_same_as_users);

fn observer_sees_the_same_as_users(tested: &TestedType) {
    let error = Observer::new(tested.key("s")).expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let semaphore = tested.create("s", 3);
    let observer = Observer::new(semaphore.native_key()).expect("it is there");
    let capabilities = semaphore.capabilities();
    let mut user = tested.puppet("s");
    user.must("try\ts\t1");
    let snapshot = observer.snapshot().expect("it can be observed");
    assert_eq!(snapshot.available, 2);
    assert_eq!(snapshot.max_permits, capabilities.max_permits);
    assert_eq!((snapshot.permissions, snapshot.waiting), (0o600, Some(0)));
    assert_eq!(snapshot.holders.is_some(), capabilities.holders);
    if let Some(holders) = snapshot.holders {
        assert_eq!(holders, semaphore.holders().expect("they are told"));
        assert_eq!((holders[0].pid, holders[0].permits), (Some(user.pid()), 1));
        assert_eq!(
            (snapshot.initial_value, snapshot.users, snapshot.held_by_dead),
            (Some(3), Some(2), Some(0))
        );
        assert_eq!(snapshot.persistent, Some(false));
    }
    if capabilities.last_pid {
        assert_eq!(snapshot.last_pid, Some(user.pid()));
    }
    user.must("try\ts\t1");
    user.must("try\ts\t1");
    user.block("acquire\ts\t1");
    wait_until("it is seen to wait", || {
        observer.snapshot().is_ok_and(|snapshot| (snapshot.available, snapshot.waiting) == (0, Some(1)))
    });
    if let Some(waiters) = observer.snapshot().expect("it can be observed").waiters {
        assert_eq!((waiters[0].pid, waiters[0].threads, waiters.len()), (Some(user.pid()), 1, 1));
    }
    user.kill();
    SystemSemaphore::remove(semaphore.native_key()).expect("it is there");
    let error = observer.snapshot().expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

case!(Unix, observer_sees_that_semaphore_is_removed);

fn observer_sees_that_semaphore_is_removed(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let observer = Observer::new(semaphore.native_key()).expect("it is there");
    drop(semaphore);
    let error = observer.snapshot().expect_err("its maker and last user took it along");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// Who lists all closes the files of all, and that wakes watchers: who counts on their sleep takes turns with it.
pub(crate) static LISTING: TestLock = TestLock::new();

fn listed(semaphore: &SystemSemaphore) -> Option<Listed> {
    let _lock = LISTING.lock();
    let told = |owners| list(owners).expect("they are told").into_iter();
    told(Owners::User)
        .chain(told(Owners::All))
        .find(|listed| listed.native_key.as_ref() == Some(semaphore.native_key()))
}

case!(Unix, list_has_each_semaphore);

fn list_has_each_semaphore(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let permit = semaphore.acquire().expect("three are free");
    let found = match listed(&semaphore) {
        Some(listed) => listed,
        // its key file is in a place where nobody looks
        None => {
            let sets = list(Owners::User).expect("they are told").into_iter();
            let is_it = |listed: &Listed| {
                let snapshot = listed.snapshot.as_ref();
                snapshot.is_ok_and(|snapshot| {
                    snapshot.last_pid == Some(std::process::id()) && snapshot.available == 2
                })
            };
            let mut sets = sets.filter(|listed| listed.key_type == system_semaphore::KeyType::SYSTEM_V);
            sets.find(is_it).expect("it is listed")
        }
    };
    assert_eq!(found.key_type.to_string().split('-').next(), tested.key_type.to_string().split('-').next());
    if found.native_key.is_some() {
        assert_eq!(found.snapshot.expect("it can be observed").available, 2);
    }
    drop(permit);
}

case!(Robust, observer_sees_permits_of_dead_holders_and_leaves_them);

/// For robust ones alone, as is what follows.
fn observer_sees_permits_of_dead_holders_and_leaves_them(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t2");
    holder.kill();
    let observer = Observer::new(tested.key("s")).expect("it is there");
    for _ in 0..3 {
        let snapshot = observer.snapshot().expect("it can be observed");
        assert_eq!((snapshot.available, snapshot.held_by_dead, snapshot.recoveries), (1, Some(2), Some(0)));
        assert_eq!((snapshot.holders, snapshot.users), (Some(Vec::new()), Some(1)));
    }
    assert_eq!(free(&semaphore), 3);
    let snapshot = observer.snapshot().expect("it can be observed");
    assert_eq!((snapshot.available, snapshot.held_by_dead, snapshot.recoveries), (3, Some(0), Some(1)));
}

case!(Robust, observation_wakes_nobody);

fn observation_wakes_nobody(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t1");
    let observer = Observer::new(tested.key("s")).expect("it is there");
    wait_until("it has deaths watched", || {
        test_support::process::threads(waiter.pid()) == 1 + WATCHER_THREADS
    });
    wait_until("it sleeps", || test_support::process::is_all_asleep(waiter.pid()));
    // the waiter looks by itself, more often in the beginning, and then about once a second
    let is_undisturbed = || {
        let before = test_support::process::sleep_count_of_all_threads(waiter.pid());
        for _ in 0..10 {
            observer.snapshot().expect("it can be observed");
        }
        // who was woken is asleep again
        wait_until("it sleeps", || test_support::process::is_all_asleep(waiter.pid()));
        test_support::process::sleep_count_of_all_threads(waiter.pid()) == before
    };
    assert!((0..50).any(|_| is_undisturbed()), "it was woken each time");
    semaphore.release(1).expect("there is room");
    waiter.answer().expect("there is one");
}

case!(Robust, awkward_names_are_listed_unchanged);

fn awkward_names_are_listed_unchanged(tested: &TestedType) {
    let mark = format!("system-semaphore-test-{}-listed", std::process::id());
    let long = format!("{mark}-{}", "x".repeat(300));
    let names = [format!("{mark} ä/ö %"), format!("Local\\Global\\{mark}"), format!("Global\\{mark}"), long];
    for name in names {
        let key = system_semaphore::NativeIpcKey::new(name.as_str(), tested.key_type);
        let semaphore = SystemSemaphore::create(&key, 4).expect("any text is a name");
        let found = listed(&semaphore).unwrap_or_else(|| panic!("{name:?} is listed"));
        assert_eq!(found.snapshot.expect("it can be observed").available, 4, "{name:?}");
        assert!(name.ends_with(&found.name), "{name:?} {:?}", found.name);
    }
}
