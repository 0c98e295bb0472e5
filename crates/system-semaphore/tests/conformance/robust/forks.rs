//! Children, other programs, and descriptors that somebody else closes.

use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};
use test_support::{Puppet, kill_stray, process, wait_until};

use super::{WATCHER_THREADS, wait_for_watch};
use crate::case;
use crate::tested_type::{TestedType, assert_permits, exists};

case!(Robust, forked_child_opens_semaphore_anew_after_parent_has_ended);

/// The parent closes the semaphore and leaves. What the child does with what it inherited is as if it opened it first.
fn forked_child_opens_semaphore_anew_after_parent_has_ended(tested: &TestedType) {
    let (key, file) = (tested.key("s"), tested.file("s"));
    for how in ["close", "die"] {
        let mut puppet = Puppet::of_this_program();
        puppet.must(&format!("open\ts\t{key}\t4\tCreateNew"));
        puppet.must("acquire\ts\t1");
        puppet.must("acquire\ts\t1");
        puppet.must("hold\ts");
        puppet.must("add\ts\t5");
        if how == "close" {
            // while it holds some it would be a user to its end
            puppet.must("release\ts\t1");
        }
        let child: u32 = puppet.must(&format!("hand-over\t{how}")).parse().expect("a pid");
        assert_eq!(file.exists(), how == "die", "the child keeps nothing");
        // a semaphore of its own, from the handle's initial value
        assert_eq!(puppet.must("available\ts"), "4", "{how}");
        assert_eq!((puppet.must("held\ts"), puppet.must("guards\ts")), ("0".into(), "0".into()));
        let other = SystemSemaphore::new(&key, 0, AccessMode::OpenExisting).expect("it is there");
        assert_permits(&other, 4, 0);
        assert_eq!(puppet.ask("split\ts\t1").expect_err("it is void").kind, "TooFew");
        puppet.must("drop\ts");
        assert_permits(&other, 4, 0);
        puppet.must("acquire\ts\t3");
        assert_permits(&other, 1, 3);
        let holders = other.holders().expect("they are told");
        assert_eq!(holders[0].pid, Some(child));
        drop(other);
        puppet.must("drop\ts");
        assert!(file.exists());
        puppet.must("close\ts");
        assert!(!file.exists(), "its last user removes it");
        puppet.send("exit");
        wait_until("the child ends", || process::is_gone(child));
    }
}

case!(Robust, forked_child_finds_semaphore_that_others_use_after_parent_has_ended);

/// One that somebody else keeps is the same for the child; one that somebody else has made since, is that one.
fn forked_child_finds_semaphore_that_others_use_after_parent_has_ended(tested: &TestedType) {
    let key = tested.key("s");
    let semaphore = tested.create("s", 4);
    for how in ["close", "die"] {
        let mut puppet = tested.puppet("s");
        puppet.must("acquire\ts\t1");
        let child: u32 = puppet.must(&format!("hand-over\t{how}")).parse().expect("a pid");
        assert_permits(&semaphore, 4, 0);
        puppet.must("acquire\ts\t3");
        assert_permits(&semaphore, 1, 3);
        kill_stray(child);
        assert_permits(&semaphore, 4, 0);
    }
    let mut puppet = tested.puppet("s");
    let child: u32 = puppet.must("hand-over\tclose").parse().expect("a pid");
    drop(semaphore);
    assert!(!exists(&key));
    let successor = tested.create("s", 7);
    puppet.must("acquire\ts\t2");
    assert_permits(&successor, 5, 2);
    puppet.must("drop\ts");
    puppet.must("close\ts");
    assert_permits(&successor, 7, 0);
    kill_stray(child);
}

case!(Robust, forked_child_can_wait_for_a_death);

/// Its parent has waited, and had deaths watched; the child has them watched for itself.
fn forked_child_can_wait_for_a_death(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let (mut holder, mut puppet) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t1");
    // a thread of the parent's, not of the child's
    puppet.must("start\tt\tacquire\ts\t1");
    wait_until("deaths are watched", || process::threads(puppet.pid()) == 2 + WATCHER_THREADS);
    let child: u32 = puppet.must("hand-over\tdie").parse().expect("a pid");
    assert_eq!(process::threads(child), 1);
    puppet.must("start\tt\tacquire\ts\t1");
    wait_until("deaths are watched", || {
        process::threads(child) == 2 + WATCHER_THREADS && process::is_all_asleep(child)
    });
    assert_eq!(semaphore.waiting().expect("it is told"), 1);
    holder.kill();
    puppet.must("finish\tt");
    assert_permits(&semaphore, 0, 1);
    kill_stray(child);
    assert_permits(&semaphore, 1, 0);
}

case!(Robust, forked_child_inherits_no_watch);

/// A child of a process that waits, and so has deaths watched.
fn forked_child_inherits_no_watch(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t1");
    waiter.must("start\tt\tacquire\ts\t1");
    let is_watched =
        || process::threads(waiter.pid()) == 2 + WATCHER_THREADS && process::is_all_asleep(waiter.pid());
    wait_until("it waits and watches", is_watched);
    let child: u32 = waiter.must("fork\ts\t0").parse().expect("a pid");
    let mut other = tested.puppet("s");
    other.block("acquire\ts\t1");
    wait_for_watch(&other);
    waiter.kill_and_wait();
    holder.kill();
    other.answer().expect("the one it waits for is dead");
    assert!(!process::is_gone(child));
    let data = std::fs::metadata(tested.file("s")).expect("it is there");
    assert_eq!(process::descriptors_of(child, &data), 0);
    drop(waiter);
    wait_until("the child ends", || process::is_gone(child));
    assert_permits(&semaphore, 0, 1);
}

case!(Robust, forked_child_of_process_with_many_semaphores_keeps_nothing);

/// Where a process has hundreds open, their files are mapped in two parts, and this slot is in the second one.
fn forked_child_of_process_with_many_semaphores_keeps_nothing(tested: &TestedType) {
    const SLOTS_OF_FIRST_PART: u32 = 54;
    let others: Vec<_> = (0..300).map(|number| tested.key(&format!("other-{number}"))).collect();
    let semaphore = tested.create("s", SLOTS_OF_FIRST_PART + 4);
    // (not here: another case's puppet, started at this moment, would inherit them)
    let mut holder = tested.puppet("s");
    (0..SLOTS_OF_FIRST_PART).for_each(|_| drop(holder.must("inheritable\ts\t1")));
    let mut parent = Puppet::of_this_program();
    for (number, key) in others.iter().enumerate() {
        parent.must(&format!("open\tother-{number}\t{key}\t1\tCreateNew"));
    }
    parent.must(&format!("open\ts\t{}\t0\tOpenExisting", tested.key("s")));
    parent.must("acquire\ts\t3");
    let data = std::fs::metadata(tested.file("s")).expect("it is there");
    let parts = if cfg!(target_pointer_width = "64") { 2 } else { 1 };
    assert_eq!(process::mappings_of(parent.pid(), &data), parts);
    let child: u32 = parent.must("fork\ts\t0").parse().expect("a pid");
    assert_eq!(process::mappings_of(child, &data), 0);
    assert_permits(&semaphore, 1, SLOTS_OF_FIRST_PART + 3);
    parent.kill_and_wait();
    assert_permits(&semaphore, 4, SLOTS_OF_FIRST_PART);
    assert!(!process::is_gone(child));
    for (number, key) in others.iter().enumerate() {
        let made = SystemSemaphore::new(key, 2, AccessMode::CreateNew);
        let made = made.unwrap_or_else(|error| panic!("{number} has a user: {error}"));
        assert_permits(&made, 2, 0);
    }
    kill_stray(child);
    holder.kill();
    assert_permits(&semaphore, SLOTS_OF_FIRST_PART + 4, 0);
}

case!(Robust, fork_during_open_keeps_nothing);

/// One thread forks while others open. Whatever they were doing at that moment, no child keeps their parent's semaphores.
fn fork_during_open_keeps_nothing(tested: &TestedType) {
    const OPENS: u32 = 100;
    let idle = tested.create("idle", 1);
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let mut parent = tested.puppet("idle");
        for thread in ["a", "b"] {
            let key = tested.key(thread);
            parent.must(&format!("start\t{thread}\topen-many\t{key}\t{OPENS}"));
        }
        let children: Vec<u32> = (0..20).map(|_| parent.must("fork\ts\t0").parse().expect("a pid")).collect();
        for thread in ["a", "b"] {
            parent.must(&format!("finish\t{thread}"));
        }
        parent.kill_and_wait();
        for thread in ["a", "b"] {
            for number in 0..OPENS {
                let key = tested.key(&format!("{thread}{number}"));
                assert!(!exists(&key), "a child keeps {key}");
            }
        }
        drop(parent);
        for child in children {
            wait_until("the child ends", || process::is_gone(child));
        }
    }
    assert_permits(&idle, 1, 0);
}

case!(Robust, permits_end_with_exec);

fn permits_end_with_exec(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t2");
    holder.must("acquire\ts\t1");
    holder.must("hold\ts");
    waiter.block("acquire\ts\t3");
    holder.send("exec\tcat");
    waiter.answer().expect("they came back");
    wait_until("it is another program", || process::command(holder.pid()) == "cat");
    assert_permits(&semaphore, 0, 3);
    waiter.must("drop\ts");
    // nor do programs that it starts inherit them
    let mut parent = tested.puppet("s");
    parent.must("acquire\ts\t1");
    let child: u32 = parent.must("spawn").parse().expect("a pid");
    assert_permits(&semaphore, 2, 1);
    parent.kill_and_wait();
    assert_permits(&semaphore, 3, 0);
    assert!(!process::is_gone(child));
    kill_stray(child);
}

case!(Robust, inheritable_permits_survive_exec);

fn inheritable_permits_survive_exec(tested: &TestedType) {
    let semaphore = tested.create("s", 5);
    let mut holder = tested.puppet("s");
    holder.must("inheritable\ts\t2");
    holder.must("acquire\ts\t1");
    assert_permits(&semaphore, 2, 3);
    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t3");
    holder.send("exec\tcat");
    waiter.answer().expect("the ordinary one came back");
    assert_permits(&semaphore, 0, 5);
    wait_until("it is another program", || process::command(holder.pid()) == "cat");
    let holders = semaphore.holders().expect("they are told");
    let told = holders.iter().find(|told| told.pid == Some(holder.pid())).expect("it still holds two");
    assert_eq!((told.permits, told.command.as_deref()), (2, Some("cat")));
    assert!(told.since.is_some());
    waiter.must("drop\ts");
    waiter.block("acquire\ts\t5");
    holder.kill();
    waiter.answer().expect("they came back with the program");
    waiter.must("drop\ts");
    assert_permits(&semaphore, 5, 0);
}

case!(Robust, inheritable_permits_stay_until_last_process_with_them_ends);

fn inheritable_permits_stay_until_last_process_with_them_ends(tested: &TestedType) {
    let semaphore = tested.create("s", 4);
    let mut parent = tested.puppet("s");
    parent.must("inheritable\ts\t2");
    parent.must("acquire\ts\t1");
    let programs: Vec<u32> = (0..2).map(|_| parent.must("spawn").parse().expect("a pid")).collect();
    let child: u32 = parent.must("fork\ts\t0").parse().expect("a pid");
    // neither giving it up nor dying ends it
    parent.must("drop-inheritable\ts");
    assert_permits(&semaphore, 1, 3);
    parent.kill_and_wait();
    assert_permits(&semaphore, 2, 2);
    kill_stray(programs[0]);
    assert_permits(&semaphore, 2, 2);
    kill_stray(child);
    assert_permits(&semaphore, 2, 2);
    let mut waiter = tested.puppet("s");
    waiter.block("acquire\ts\t4");
    kill_stray(programs[1]);
    waiter.answer().expect("the last that had them is gone");
    assert_permits(&semaphore, 0, 4);
    waiter.kill();

    // without children they end like others: by giving up, in order, by death
    let mut holder = tested.puppet("s");
    for _ in 0..2 {
        holder.must("inheritable\ts\t1");
        assert_permits(&semaphore, 3, 1);
        holder.must("drop-inheritable\ts");
        assert_permits(&semaphore, 4, 0);
    }
    holder.must("inheritable\ts\t1");
    holder.must("close\ts");
    assert_permits(&semaphore, 4, 0);
    holder.must(&format!("open\ts\t{}\t0\tOpenExisting", tested.key("s")));
    holder.must("inheritable\ts\t1");
    holder.must("inheritable\ts\t2");
    assert_permits(&semaphore, 1, 3);
    holder.kill();
    assert_permits(&semaphore, 4, 0);
    // (none here: another case's puppet, started at this moment, would inherit it)
    let error = semaphore.acquire_inheritable(5, Some(Instant::now())).expect_err("there are only four");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert_permits(&semaphore, 4, 0);
}

case!(Robust, inheritable_permit_keeps_semaphore);

/// The file stays as long as an inheritable permit keeps somebody in it, and not longer.
fn inheritable_permit_keeps_semaphore(tested: &TestedType) {
    let (key, file) = (tested.key("s"), tested.file("s"));
    let mut parent = Puppet::of_this_program();
    parent.must(&format!("open\ts\t{key}\t3\tCreateNew"));
    parent.must("inheritable\ts\t1");
    let program: u32 = parent.must("spawn").parse().expect("a pid");
    parent.must("close\ts");
    assert!(file.exists(), "a program holds one");
    let other = SystemSemaphore::open(&key, 9).expect("it is there");
    assert_permits(&other, 2, 1);
    drop(other);
    assert!(file.exists(), "a program still holds one");
    parent.kill_and_wait();
    kill_stray(program);
    assert!(!exists(&key));
}

case!(Robust, close_of_foreign_descriptors_releases_nothing);

/// Code that closes what it does not know: a holder keeps what it has until it dies.
fn close_of_foreign_descriptors_releases_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", 5);
    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t2");
    holder.must("acquire\ts\t1");
    holder.must("hold\ts");
    holder.must("close-descriptors");
    assert_permits(&semaphore, 2, 3);
    let mut other = tested.puppet("s");
    assert_eq!(other.ask("try\ts\t3").expect_err("two are free").kind, "NoPermits");
    assert_permits(&semaphore, 2, 3);
    // it can go on, and the number of its descriptor may be another's by now
    holder.must("acquire\ts\t1");
    holder.must("drop\ts");
    holder.must(&format!("open\tt\t{}\t1\tCreateNew", tested.key("t")));
    holder.must("acquire\tt\t1");
    holder.must("release\ts\t1");
    assert_permits(&semaphore, 3, 2);
    other.block("acquire\ts\t5");
    holder.kill();
    other.answer().expect("they came back");
    assert_permits(&semaphore, 0, 5);
    other.kill();
    assert!(!exists(&tested.key("t")));

    // a waiter is still woken, if not by the death itself
    let (mut holder, mut waiter) = (tested.puppet("s"), tested.puppet("s"));
    holder.must("acquire\ts\t5");
    waiter.must("start\tt\tacquire\ts\t1");
    // a thread that is between the open of a descriptor and its next use would lose it there
    let is_at_rest =
        || process::threads(waiter.pid()) == 2 + WATCHER_THREADS && process::is_all_asleep(waiter.pid());
    wait_until("deaths are watched, and all threads sleep", is_at_rest);
    waiter.must("close-descriptors");
    holder.kill();
    waiter.must("finish\tt");
    assert_permits(&semaphore, 4, 1);
    waiter.kill();

    // one that closes the semaphore then, leaves in order
    let mut holder = tested.puppet("s");
    holder.must("acquire\ts\t2");
    holder.must("close-descriptors");
    holder.must(&format!("open\tt\t{}\t1\tCreateNew", tested.key("t")));
    holder.must("close\ts");
    assert_permits(&semaphore, 5, 0);
    holder.must("acquire\tt\t1");
    holder.must("drop\tt");
    holder.must("close\tt");
    assert_permits(&semaphore, 5, 0);
}
