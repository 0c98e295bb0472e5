//! The lives of a semaphore in which its calls are made to fail.
//!
//! In each the *subject* does what is traced; others, here or in other processes, do their part without faults. As an
//! operation that fails has done nothing and is done again, what must hold in the end is the same whatever has failed.

use std::thread;
use std::time::Duration;

use system_semaphore::AccessMode::{Create, CreateNew, Open};
use test_support::{Puppet, process, wait_until};

use super::call::{Call, Role};
use super::stage::{Played, Stage, is_anything_left, is_watcher};

pub(super) struct Scene {
    pub(super) name: &'static str,
    /// What its semaphore is called.
    pub(super) key: &'static str,
    pub(super) play: fn(Stage) -> Played,
    /// Which of its calls are made to fail: of a scene that takes long, not those of others.
    pub(super) is_about: fn(&Call) -> bool,
}

pub(super) const SCENES: &[Scene] = &[
    Scene { is_about: is_end_of_thread, ..scene("thread-ends", thread_ends) },
    scene("create", create),
    scene("open", open),
    scene("wait-for-release", wait_for_release),
    scene("wait-for-death", wait_for_death),
    scene("wait-for-watcher", wait_for_watcher),
    scene("wait-in-vain", wait_in_vain),
    scene("wake", wake),
    scene("recover", recover),
    scene("reset", reset),
    scene("remove", remove),
    scene("half-removed", half_removed),
    scene("leftover", leftover),
    Scene { key: LONG, ..scene("long-name", long_name) },
    scene("persistent", persistent),
    Scene { key: "Global\\faults", ..scene("global", create) },
    scene("inheritable", inheritable),
    scene("fork", fork),
    scene("ask", ask),
    scene("crowd", crowd),
    scene("descriptor-lost", descriptor_lost),
    Scene { is_about: |call| call.name == "membarrier", ..scene("two-threads", two_threads) },
];

const fn scene(name: &'static str, play: fn(Stage) -> Played) -> Scene {
    Scene { name, key: "faults", play, is_about: |_| true }
}

/// Too long for a file's name: the file is called by its hash.
const LONG: &str = "a name that is longer than what a file can be called, with the room for what is encoded in it, and \
    so is not to be found in the directory, where only its hash stands; to be sure that it is the right one, the whole \
    of it is in the file, and is read by who opens it";

fn create(mut stage: Stage) -> Played {
    let build = format!("build\ts\t{}\tinitial=3\tmode=CreateNew\tpermissions=666", stage.key);
    stage.ask(&build);
    stage.ask("acquire\ts\t2");
    stage.check(1);
    stage.ask("drop\ts");
    stage.end(3)
}

fn open(mut stage: Stage) -> Played {
    let maker = stage.open(3, CreateNew);
    let open = stage.opening("s", 7, "OpenExisting");
    stage.ask(&open);
    stage.ask("acquire\ts\t2");
    stage.check(1);
    stage.ask("drop\ts");
    // others stay
    stage.works(3);
    stage.ask("close\ts");
    stage.check(3);
    stage.ask(&open);
    // the subject is the last
    drop(maker);
    stage.end(3)
}

fn wait_for_release(mut stage: Stage) -> Played {
    let semaphore = stage.open(1, CreateNew);
    let permit = semaphore.acquire().expect("it is free");
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.begin("acquire\ts\t1");
    drop(permit);
    stage.answer("acquire\ts\t1");
    stage.check(0);
    stage.ask("drop\ts");
    drop(semaphore);
    stage.end(1)
}

fn wait_for_death(mut stage: Stage) -> Played {
    let semaphore = stage.open(1, CreateNew);
    let holder = holder(&stage, 1);
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.begin("acquire\ts\t1");
    holder.kill();
    stage.answer("acquire\ts\t1");
    stage.rest();
    stage.check(0);
    stage.ask("drop\ts");
    drop(semaphore);
    stage.end(1)
}

/// The watcher dies together with the holder.
fn wait_for_watcher(mut stage: Stage) -> Played {
    let semaphore = stage.open(1, CreateNew);
    let mut holder = holder(&stage, 1);
    let mut watcher = stage.puppet();
    watcher.block("acquire\ts\t1");
    wait_until("the watcher watches", || is_watcher(watcher.pid()));
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.begin("acquire\ts\t1");
    watcher.start_kill();
    holder.start_kill();
    stage.answer("acquire\ts\t1");
    stage.rest();
    stage.check(0);
    stage.ask("drop\ts");
    drop((semaphore, watcher, holder));
    stage.end(1)
}

fn wait_in_vain(mut stage: Stage) -> Played {
    let semaphore = stage.open(1, CreateNew);
    let permit = semaphore.acquire().expect("it is free");
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.refused("try\ts\t1", "NoPermits");
    // long enough for its thread to come to rest
    stage.refused("acquire\ts\t1\t100", "TimedOut");
    assert_eq!(semaphore.waiting().expect("it can be told"), 0);
    drop(permit);
    drop(semaphore);
    stage.end(1)
}

/// Some seconds after the last wait the thread ends.
fn thread_ends(mut stage: Stage) -> Played {
    let semaphore = stage.open(1, CreateNew);
    let permit = semaphore.acquire().expect("it is free");
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.refused("acquire\ts\t1\t30", "TimedOut");
    wait_until("the thread ends", || {
        thread::sleep(Duration::from_millis(20));
        process::threads(stage.subject.pid()) == 1
    });
    drop(permit);
    drop(semaphore);
    stage.end(1)
}

fn is_end_of_thread(call: &Call) -> bool {
    // after the answers to "open", and to "acquire", which says that it begins
    call.role == Role::Thread && call.step >= 3
}

fn wake(mut stage: Stage) -> Played {
    stage.ask(&stage.opening("s", 1, "Create"));
    stage.ask("acquire\ts\t1");
    let mut waiter = stage.puppet();
    waiter.block("acquire\ts\t1");
    stage.ask("drop\ts");
    waiter.answer().expect("it was woken");
    stage.check(0);
    waiter.must("drop\ts");
    // one that needs several
    waiter.block("acquire\ts\t3");
    stage.ask("add\ts\t2");
    waiter.answer().expect("it was woken");
    stage.check(0);
    waiter.must("drop\ts");
    drop(waiter);
    stage.end(3)
}

fn recover(mut stage: Stage) -> Played {
    let semaphore = stage.open(3, CreateNew);
    // by an open
    holder(&stage, 2).kill();
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.check(3);
    // by an attempt
    holder(&stage, 3).kill();
    stage.ask("acquire\ts\t3");
    stage.check(0);
    stage.ask("drop\ts");
    // by a question
    holder(&stage, 3).kill();
    let free = stage.ask("available\ts");
    assert!(free == "3" || stage.lets_others_recover(), "{free} of 3 are free");
    drop(semaphore);
    stage.end(3)
}

fn reset(mut stage: Stage) -> Played {
    let semaphore = stage.open(1, CreateNew);
    let mut holder = holder(&stage, 1);
    let mut waiter = stage.puppet();
    waiter.block("acquire\ts\t1");
    stage.ask(&stage.opening("s", 2, "Create"));
    waiter.answer().expect("the reset gives it one");
    stage.check(1);
    // of before the reset
    holder.must("drop\ts");
    stage.check(1);
    waiter.must("drop\ts");
    drop((semaphore, holder, waiter));
    stage.end(2)
}

fn remove(mut stage: Stage) -> Played {
    let mut user = stage.puppet();
    user.must("acquire\ts\t7");
    let remove = format!("remove\t{}", stage.key);
    stage.ask(&remove);
    let told = user.ask("available\ts").expect_err("it is gone");
    assert_eq!(told.kind, "NotFound", "{told:?}");
    stage.refused(&remove, "NotFound");
    // another one of that name is another one
    stage.ask(&stage.opening("s", 2, "CreateNew"));
    stage.check(2);
    user.must("close\ts");
    drop(user);
    stage.end(2)
}

/// A remover was killed before it was done, and there are users: who opens it does the rest.
fn half_removed(mut stage: Stage) -> Played {
    let mut user = stage.puppet();
    user.must("acquire\ts\t7");
    stage.ask(&stage.opening("t", 7, "Open"));
    stage.half_remove();
    stage.ask(&stage.opening("s", 2, "Open"));
    // it is another one, and stays so whatever its users do
    let told = user.ask("available\ts").expect_err("it is gone");
    assert_eq!(told.kind, "NotFound", "{told:?}");
    user.kill();
    stage.ask("close\tt");
    stage.end(2)
}

fn leftover(mut stage: Stage) -> Played {
    let leave = |stage: &Stage| {
        holder(stage, 2).kill();
        assert!(is_anything_left());
    };
    leave(&stage);
    stage.refused(&stage.opening("s", 3, "OpenExisting"), "NotFound");
    leave(&stage);
    stage.ask(&stage.opening("s", 3, "CreateNew"));
    stage.check(3);
    stage.ask("close\ts");
    leave(&stage);
    stage.ask(&stage.opening("s", 4, "Open"));
    stage.end(4)
}

fn long_name(mut stage: Stage) -> Played {
    stage.ask(&stage.opening("s", 3, "CreateNew"));
    stage.ask("close\ts");
    let semaphore = stage.open(2, Open);
    stage.ask(&stage.opening("s", 3, "OpenExisting"));
    stage.check(2);
    drop(semaphore);
    stage.end(2)
}

fn persistent(mut stage: Stage) -> Played {
    let build = format!("build\ts\t{}\tinitial=2\tpersistent", stage.key);
    stage.ask(&build);
    stage.ask("acquire\ts\t1");
    stage.ask("forget\ts");
    stage.ask("close\ts");
    assert!(is_anything_left(), "it is to stay");
    stage.ask(&stage.opening("s", 7, "OpenExisting"));
    stage.works(1);
    stage.ask("close\ts");
    stage.ask(&format!("remove\t{}", stage.key));
    stage.leave()
}

fn inheritable(mut stage: Stage) -> Played {
    stage.ask(&stage.opening("s", 2, "CreateNew"));
    stage.ask("inheritable\ts\t1");
    stage.check(1);
    stage.ask("drop-inheritable\ts");
    stage.check(2);
    stage.end(2)
}

fn fork(mut stage: Stage) -> Played {
    stage.ask(&stage.opening("s", 3, "CreateNew"));
    stage.ask("acquire\ts\t1");
    stage.ask("child");
    // what it inherited
    stage.ask("acquire\ts\t1");
    stage.check(1);
    stage.ask("drop\ts");
    stage.check(2);
    stage.ask("child-exit");
    stage.check(2);
    stage.ask("drop\ts");
    stage.end(3)
}

fn ask(mut stage: Stage) -> Played {
    let semaphore = stage.open(3, CreateNew);
    let holder = holder(&stage, 1);
    stage.ask(&stage.opening("s", 7, "Open"));
    assert_eq!(stage.ask("holders\ts"), "1");
    assert_eq!(stage.ask("waiting\ts"), "0");
    assert_eq!(stage.ask("available\ts"), "2");
    holder.kill();
    assert!(["0", "1"].contains(&&*stage.ask("recoveries\ts")));
    stage.check(3);
    drop(semaphore);
    stage.end(3)
}

/// So many users that the subject's slot is not in the file's first page, and looking for the dead is rationed.
fn crowd(mut stage: Stage) -> Played {
    let semaphore = stage.open(100, Create);
    let take = |_| semaphore.acquire_inheritable(1, None).expect("there are enough");
    let permits: Vec<_> = (0..60).map(take).collect();
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.ask("available\ts");
    stage.check(40);
    drop(permits);
    // among so many the dead are not looked for each time
    wait_until("all come back", || semaphore.available_permits().is_ok_and(|free| free == 100));
    drop(semaphore);
    stage.end(100)
}

/// Other code of the process has closed the descriptor.
fn descriptor_lost(mut stage: Stage) -> Played {
    let semaphore = stage.open(3, CreateNew);
    let holder = holder(&stage, 1);
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.ask("acquire\ts\t1");
    stage.lose_descriptors();
    assert_eq!(stage.ask("available\ts"), "1");
    holder.kill();
    stage.ask("acquire\ts\t2");
    stage.check(0);
    stage.ask("drop\ts");
    stage.ask("drop\ts");
    drop(semaphore);
    stage.end(3)
}

/// A process that holds so many.
fn holder(stage: &Stage, permits: u32) -> Puppet {
    let mut holder = stage.puppet();
    holder.must(&format!("acquire\ts\t{permits}"));
    holder
}

/// A thread that comes again and again, and then another.
fn two_threads(mut stage: Stage) -> Played {
    let semaphore = stage.open(1, CreateNew);
    stage.ask(&stage.opening("s", 7, "Open"));
    stage.ask("start\tother\trepeat\ts\t100");
    stage.ask("finish\tother");
    stage.ask("repeat\ts\t1");
    stage.works(1);
    drop(semaphore);
    stage.end(1)
}
