//! Another process that does what a [puppet](test_support::Puppet) cannot. It speaks the same protocol:
//!
//! | command | does |
//! |---|---|
//! | `lock PATH FROM TO` | takes the locks on these bytes of a file, until it ends |
//! | `everything KEY SEED` | uses a semaphore in every way, if it can be opened |
//! | `random KEY SEED MS` | the same, over and over, for so long; answers how often it could |

use std::env;
use std::fs::{File, OpenOptions};
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use fastrand::Rng;
use system_semaphore::{AccessMode, NativeIpcKey, SystemSemaphore};
use test_support::{Puppet, byte_lock};

use super::test_file::{MODES, PROMPT};

const ROLE: &str = "SYSTEM_SEMAPHORE_HOSTILE_ROLE";

pub(crate) fn start() -> Puppet {
    let mut command = Command::new(env::current_exe().expect("the program knows itself"));
    Puppet::spawn(command.env(ROLE, "helper"))
}

/// Serves as a helper, if this process was started as one, and does not return then.
pub(crate) fn serve() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let mut locked = Vec::new();
    for line in io::stdin().lines() {
        let line = line.expect("commands are UTF-8");
        match *line.split('\t').collect::<Vec<_>>() {
            ["lock", path, from, to] => locked.push(lock(path, from, to)),
            ["everything", key, seed] => drop(Session::new(key, seed).everything()),
            ["random", key, seed, ms] => {
                let end = Instant::now() + Duration::from_millis(number(ms));
                let mut session = Session::new(key, seed);
                let mut count = 0;
                while Instant::now() < end {
                    count += u32::from(session.everything().is_some());
                }
                println!("ok\t{count}");
                continue;
            }
            ["exit"] => break,
            _ => panic!("no command of the protocol: {line:?}"),
        }
        println!("ok");
    }
    std::process::exit(0)
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn lock(path: &str, from: &str, to: &str) -> File {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the file is there");
    let bytes = number(from) as u16..number(to) as u16;
    byte_lock::try_lock(&file, bytes).expect("nobody else has the locks");
    file
}

/// The use of a semaphore whose file may contain anything: whatever is called may fail, but must return.
struct Session {
    key: NativeIpcKey,
    random: Rng,
}

impl Session {
    fn new(key: &str, seed: &str) -> Self {
        let key = key.parse().expect("the text of a native key");
        Self { key, random: Rng::with_seed(number(seed)) }
    }

    /// `None` if it cannot be opened.
    fn everything(&mut self) -> Option<()> {
        let mode = if self.random.u8(..) < 200 { AccessMode::Open } else { MODES[self.random.usize(..4)] };
        let key = &self.key;
        let builder = SystemSemaphore::builder(key).mode(mode).initial_value(3);
        let mut semaphore = timed("open", || builder.build()).ok()?;
        let mut steps: Vec<usize> = (0..STEPS.len()).collect();
        self.random.shuffle(&mut steps);
        for step in steps {
            let (name, action) = STEPS[step];
            timed(name, || action(&semaphore));
        }
        if self.random.u8(..) < 20 {
            let _ = timed("set_key", || semaphore.set_key(key, 2, AccessMode::Create));
        }
        if self.random.u8(..) < 20 {
            let _ = timed("remove", || SystemSemaphore::remove(key));
        }
        timed("close", || drop(semaphore));
        Some(())
    }
}

type Step = (&'static str, fn(&SystemSemaphore));

const BRIEF: Duration = Duration::from_millis(3);

const STEPS: &[Step] = &[
    ("available_permits", |semaphore| drop(semaphore.available_permits())),
    ("waiting", |semaphore| drop(semaphore.waiting())),
    ("holders", |semaphore| drop(semaphore.holders())),
    ("recoveries", |semaphore| drop(semaphore.recoveries())),
    ("capabilities", |semaphore| assert!(semaphore.capabilities().timeout)),
    ("try_acquire", |semaphore| drop(semaphore.try_acquire())),
    ("acquire_timeout", |semaphore| drop(semaphore.acquire_timeout(BRIEF))),
    ("acquire_many_timeout", |semaphore| drop(semaphore.acquire_many_timeout(3, BRIEF))),
    ("acquire_interruptible", |semaphore| {
        let mut questions = 0;
        let mut ends = || {
            questions += 1;
            questions > 2
        };
        let deadline = Instant::now() + BRIEF;
        drop(semaphore.acquire_interruptible(1, Some(deadline), &mut ends));
    }),
    ("two at once", |semaphore| {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(semaphore.acquire_timeout(BRIEF)));
            drop(semaphore.acquire_timeout(BRIEF));
        });
    }),
    ("hold and release", |semaphore| {
        if let Ok(permit) = semaphore.try_acquire_many(2) {
            permit.detach();
        }
        let _ = semaphore.detached_permits();
        let _ = semaphore.release(1);
        let _ = semaphore.release(2);
    }),
    ("forget", |semaphore| {
        if let Ok(permit) = semaphore.try_acquire() {
            let _ = permit.forget();
        }
        if let Ok(permit) = semaphore.try_acquire() {
            permit.detach();
        }
        let _ = semaphore.forget_detached(1);
    }),
    ("split and merge", |semaphore| {
        if let Ok(mut permit) = semaphore.try_acquire_many(2)
            && let Some(other) = permit.split(1)
        {
            let _ = permit.merge(other);
            let _ = permit.release();
        }
    }),
    ("add_permits", |semaphore| drop(semaphore.add_permits(1))),
    ("add many", |semaphore| drop(semaphore.add_permits(i32::MAX as u32))),
    ("acquire_inheritable", |semaphore| {
        drop(semaphore.acquire_inheritable(1, Some(Instant::now() + BRIEF)));
    }),
];

fn timed<T>(what: &str, action: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let outcome = action();
    let elapsed = begin.elapsed();
    assert!(elapsed < PROMPT, "{what} took {elapsed:?}");
    outcome
}
