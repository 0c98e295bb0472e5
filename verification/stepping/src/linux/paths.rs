//! What is stepped through: each path is what a process does between two marks, and how its outcome can be told.

use system_semaphore::{KeyType, NativeIpcKey, Result, SystemSemaphore};

use super::stage::{LATER, View};
use test_support::ptrace::mark;

/// Who else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Somebody who has the semaphore open.
    Plain,
    /// Besides, somebody who is halted in an operation that is not written down: who comes next has to help.
    Helping,
    /// Besides, a waiter.
    Waking,
    /// It has to sleep itself, and a waiter sleeps behind it, when a permit comes.
    Sleeping,
    /// The same, but when it has slept for a while: it then listens for deaths.
    SleepingLong,
    /// Besides, a waiter, and a dead process that holds the one permit.
    Recovering,
    /// The same, but the dead process has not lived to write down that it took it.
    Settling,
    /// Nobody.
    Alone,
    /// Nobody who lives.
    Leftover,
}

impl Scene {
    /// Whether a process has died with the permit.
    pub(crate) fn has_dead(self) -> bool {
        matches!(self, Self::Recovering | Self::Settling)
    }

    /// Whether a waiter is there from the beginning.
    pub(crate) fn begins_with_waiter(self) -> bool {
        self == Self::Waking || self.has_dead()
    }

    pub(crate) fn has_waiter(self) -> bool {
        matches!(self, Self::Sleeping | Self::SleepingLong) || self.begins_with_waiter()
    }

    /// How many of its sleeps end without anybody's doing.
    pub(crate) fn timed_sleeps(self) -> usize {
        if self == Self::SleepingLong { 1 } else { 0 }
    }

    pub(crate) fn is_deserted(self) -> bool {
        matches!(self, Self::Alone | Self::Leftover)
    }
}

/// What is left when all is settled: the permits that are free, or that the waiter has; and how often a dead holder's
/// came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) free: u32,
    pub(crate) recoveries: u64,
}

const fn books(free: u32, recoveries: u64) -> Outcome {
    Outcome { free, recoveries }
}

pub(crate) struct Path {
    pub(crate) name: &'static str,
    pub(crate) scene: Scene,
    pub(crate) initial: u32,
    /// What the process does.
    pub(crate) act: fn(&str) -> Result<()>,
    /// What others see of it while it stands: whether it is done. Else only the books tell.
    pub(crate) shows: Option<fn(&View) -> bool>,
    pub(crate) undone: Outcome,
    pub(crate) done: Outcome,
}

impl Path {
    /// Whether there is anything to be done or not.
    pub(crate) fn flips(&self) -> bool {
        self.shows.is_some() || self.undone != self.done
    }
}

/// What most have in common.
const PLAIN: Path = Path {
    name: "",
    scene: Scene::Plain,
    initial: 10,
    act: |_| Ok(()),
    shows: None,
    undone: books(10, 0),
    done: books(10, 0),
};

pub(crate) const PATHS: [Path; 23] = [
    Path {
        name: "acquire",
        act: |name| {
            let semaphore = warm(name)?;
            mark();
            let permit = semaphore.acquire()?;
            mark();
            permit.release()
        },
        shows: Some(|view| view.count == 9),
        done: books(10, 1),
        ..PLAIN
    },
    Path {
        name: "drop",
        act: |name| {
            let semaphore = warm(name)?;
            let permit = semaphore.acquire()?;
            mark();
            drop(permit);
            mark();
            Ok(())
        },
        shows: Some(|view| view.count == 10),
        undone: books(10, 1),
        ..PLAIN
    },
    Path {
        name: "acquire-many",
        act: |name| {
            let semaphore = warm(name)?;
            mark();
            let permit = semaphore.acquire_many(3)?;
            mark();
            permit.release()
        },
        shows: Some(|view| view.count == 7),
        done: books(10, 1),
        ..PLAIN
    },
    // the first operation of a process is never a quick one
    Path {
        name: "first-acquire",
        act: |name| {
            let semaphore = open(name, 10)?;
            mark();
            let permit = semaphore.acquire()?;
            mark();
            permit.release()
        },
        shows: Some(|view| view.count == 9),
        done: books(10, 1),
        ..PLAIN
    },
    Path {
        name: "helping-acquire",
        scene: Scene::Helping,
        initial: 10,
        act: |name| {
            let semaphore = open(name, 10)?;
            mark();
            let permit = semaphore.acquire()?;
            mark();
            permit.release()
        },
        // the other one has one
        shows: Some(|view| view.count == 8),
        undone: books(10, 1),
        done: books(10, 2),
    },
    Path {
        name: "drop-on-another-thread",
        act: |name| {
            let semaphore = open(name, 10)?;
            let (sender, permits) = std::sync::mpsc::channel();
            let owner = semaphore.clone();
            std::thread::spawn(move || {
                let _ = sender.send(owner.acquire_many(3).map(|permit| permit.into_owned()));
                // it lives on, with what it has open
                loop {
                    std::thread::park();
                }
            });
            let permit = permits.recv().expect("it is sent")?;
            mark();
            drop(permit);
            mark();
            Ok(())
        },
        shows: Some(|view| view.count == 10),
        undone: books(10, 1),
        ..PLAIN
    },
    Path {
        name: "release-of-created",
        act: |name| {
            let semaphore = warm(name)?;
            mark();
            semaphore.release(2)?;
            mark();
            Ok(())
        },
        shows: Some(|view| view.count == 12),
        done: books(12, 0),
        ..PLAIN
    },
    Path {
        name: "release-of-held-and-created",
        act: |name| {
            let semaphore = warm(name)?;
            semaphore.acquire_many(3)?.detach();
            mark();
            semaphore.release(5)?;
            mark();
            Ok(())
        },
        shows: Some(|view| view.count == 12),
        undone: books(10, 1),
        done: books(12, 0),
        ..PLAIN
    },
    Path {
        name: "forget",
        act: |name| {
            let semaphore = warm(name)?;
            let permit = semaphore.acquire_many(3)?;
            mark();
            permit.forget()?;
            mark();
            Ok(())
        },
        undone: books(10, 1),
        done: books(7, 0),
        ..PLAIN
    },
    Path {
        name: "hold",
        act: |name| {
            let semaphore = warm(name)?;
            let permit = semaphore.acquire_many(3)?;
            mark();
            permit.detach();
            mark();
            Ok(())
        },
        undone: books(10, 1),
        done: books(10, 1),
        ..PLAIN
    },
    Path {
        name: "acquire-asleep",
        scene: Scene::Sleeping,
        initial: 0,
        act: |name| {
            let semaphore = open(name, 0)?;
            mark();
            let permit = semaphore.acquire()?;
            mark();
            permit.release()
        },
        shows: None,
        undone: books(0, 0),
        done: books(0, 1),
    },
    Path {
        name: "acquire-long-asleep",
        scene: Scene::SleepingLong,
        initial: 0,
        act: |name| {
            let semaphore = open(name, 0)?;
            mark();
            let permit = semaphore.acquire()?;
            mark();
            permit.release()
        },
        shows: None,
        undone: books(0, 0),
        done: books(0, 1),
    },
    Path {
        name: "drop-that-wakes",
        scene: Scene::Waking,
        initial: 1,
        act: |name| {
            let semaphore = warm(name)?;
            let permit = semaphore.acquire()?;
            mark();
            drop(permit);
            mark();
            Ok(())
        },
        shows: Some(|view| view.count == 1),
        undone: books(1, 1),
        done: books(1, 0),
    },
    Path {
        name: "release-that-wakes",
        scene: Scene::Waking,
        initial: 0,
        act: |name| {
            let semaphore = open(name, 0)?;
            mark();
            semaphore.release(1)?;
            mark();
            Ok(())
        },
        shows: Some(|view| view.count == 1),
        undone: books(0, 0),
        done: books(1, 0),
    },
    Path {
        name: "recovery",
        scene: Scene::Recovering,
        initial: 1,
        act: |name| {
            let semaphore = open(name, 0)?;
            mark();
            semaphore.available_permits()?;
            mark();
            Ok(())
        },
        shows: Some(|view| view.count == 1),
        undone: books(1, 1),
        done: books(1, 1),
    },
    Path {
        name: "recovery-of-a-half-done",
        scene: Scene::Settling,
        initial: 1,
        act: |name| {
            let semaphore = open(name, 0)?;
            mark();
            semaphore.available_permits()?;
            mark();
            Ok(())
        },
        shows: Some(|view| view.count == 1),
        undone: books(1, 1),
        done: books(1, 1),
    },
    Path {
        name: "open-that-recovers",
        scene: Scene::Recovering,
        initial: 1,
        act: |name| {
            mark();
            let semaphore = open(name, 0)?;
            mark();
            drop(semaphore);
            Ok(())
        },
        shows: Some(|view| view.count == 1),
        undone: books(1, 1),
        done: books(1, 1),
    },
    Path {
        name: "open",
        act: |name| {
            mark();
            let semaphore = open(name, 10)?;
            mark();
            drop(semaphore);
            Ok(())
        },
        shows: Some(|view| view.is_user),
        ..PLAIN
    },
    Path {
        name: "close",
        act: |name| {
            let semaphore = warm(name)?;
            mark();
            drop(semaphore);
            mark();
            Ok(())
        },
        shows: Some(|view| !view.is_user),
        ..PLAIN
    },
    Path {
        name: "reset",
        act: |name| {
            mark();
            let semaphore = SystemSemaphore::create(key(name), 4)?;
            mark();
            drop(semaphore);
            Ok(())
        },
        shows: Some(|view| view.count == 4),
        done: books(4, 0),
        ..PLAIN
    },
    Path {
        name: "open-that-makes",
        scene: Scene::Alone,
        initial: 0,
        act: |name| {
            mark();
            let semaphore = open(name, 10)?;
            mark();
            drop(semaphore);
            Ok(())
        },
        shows: Some(|view| view.is_there),
        undone: books(LATER, 0),
        done: books(10, 0),
    },
    Path {
        name: "last-close",
        scene: Scene::Alone,
        initial: 0,
        act: |name| {
            let semaphore = warm(name)?;
            mark();
            drop(semaphore);
            mark();
            Ok(())
        },
        shows: Some(|view| !view.is_there),
        undone: books(10, 0),
        done: books(LATER, 0),
    },
    Path {
        name: "open-of-a-leftover",
        scene: Scene::Leftover,
        initial: 0,
        act: |name| {
            mark();
            let semaphore = open(name, 4)?;
            mark();
            drop(semaphore);
            Ok(())
        },
        // the dead one has left 7
        shows: Some(|view| view.count == 4),
        undone: books(LATER, 0),
        done: books(4, 0),
    },
];

pub(crate) fn find(name: &str) -> Option<&'static Path> {
    const { &PATHS }.iter().find(|path| path.name == name)
}

/// Who waits for a permit.
pub(crate) fn wait(name: &str) -> Result<()> {
    let semaphore = open(name, 0)?;
    mark();
    let permit = semaphore.acquire()?;
    mark();
    permit.release()
}

/// Who holds permits when it dies: the one there is, or three of ten.
pub(crate) fn hold(name: &str) -> Result<()> {
    let semaphore = open(name, 10)?;
    let count = semaphore.available_permits()?.min(3);
    let permit = semaphore.acquire_many(count)?;
    mark();
    permit.release()
}

pub(crate) fn key(name: &str) -> NativeIpcKey {
    NativeIpcKey::new(name, KeyType::Robust)
}

fn open(name: &str, initial: u32) -> Result<SystemSemaphore> {
    SystemSemaphore::open(key(name), initial)
}

/// Opens it, and makes the last operation one of this process: then the next is a quick one.
fn warm(name: &str) -> Result<SystemSemaphore> {
    let semaphore = open(name, 10)?;
    semaphore.try_acquire()?.release()?;
    Ok(semaphore)
}
