//! The puppet's side: what it does for each command, by topic.

mod counts;
mod handles;
mod loops;
mod permits;
mod threads;
#[cfg(unix)]
mod unix;

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

#[cfg(unix)]
use system_semaphore::InheritablePermit;
use system_semaphore::{AccessMode, Error, Key, NativeIpcKey, OwnedPermit, SystemSemaphore};

/// What a command answers. The error is the whole answer.
type Answer = Result<String, String>;

/// The variable that makes a program a puppet.
pub(crate) const ROLE: &str = "SYSTEM_SEMAPHORE_TEST_ROLE";

/// Serves as a puppet, if this process was started as one, and does not return then.
pub fn serve() {
    #[cfg(unix)]
    crate::process::note_threads();
    match std::env::var(ROLE).as_deref() {
        Ok("puppet") => {}
        #[cfg(unix)]
        Ok("bystander") => crate::unsafe_calls::signal::live_until_let_go(),
        _ => return,
    }
    let puppet = Arc::new(Puppet::default());
    for line in io::stdin().lock().lines() {
        let line = line.expect("commands are UTF-8");
        let fields: Vec<&str> = line.split('\t').collect();
        match puppet.obey(&fields) {
            Ok(value) if value.is_empty() => say("ok"),
            Ok(value) => say(&format!("ok\t{value}")),
            Err(failure) => say(&failure),
        }
    }
    exit()
}

/// Ends the process as C's `exit` does: nothing of Rust's is dropped.
fn exit() -> ! {
    std::process::exit(0)
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    // a driver that has gone does not listen any more, and the end of its commands ends us
    let _ = writeln!(out, "{}", line.replace('\n', " ")).and_then(|()| out.flush());
}

/// Says that what may have to wait begins. A thread of its own does not: nobody could tell who says it.
fn say_began() {
    if thread::current().name() == Some("main") {
        say("began");
    }
}

#[derive(Default)]
struct Puppet {
    handles: Mutex<HashMap<String, Handle>>,
    threads: Mutex<HashMap<String, JoinHandle<Answer>>>,
}

struct Handle {
    semaphore: SystemSemaphore,
    guards: Vec<OwnedPermit>,
    #[cfg(unix)]
    inheritable: Vec<InheritablePermit>,
}

impl Handle {
    fn new(semaphore: SystemSemaphore, guards: Vec<OwnedPermit>) -> Self {
        Self {
            semaphore,
            guards,
            #[cfg(unix)]
            inheritable: Vec::new(),
        }
    }
}

impl Puppet {
    /// Does one command.
    fn obey(self: &Arc<Self>, fields: &[&str]) -> Answer {
        let topics =
            [Self::obey_handles, Self::obey_permits, Self::obey_counts, Self::obey_loops, Self::obey_threads];
        #[cfg(unix)]
        let topics = topics.into_iter().chain([Self::obey_unix as fn(&Arc<Self>, &[&str]) -> Option<Answer>]);
        let answer = topics.into_iter().find_map(|obey| obey(self, fields));
        answer.unwrap_or_else(|| panic!("no command of the protocol: {fields:?}"))
    }

    fn add(&self, handle: &str, semaphore: SystemSemaphore) {
        let old = lock(&self.handles).insert(handle.to_owned(), Handle::new(semaphore, Vec::new()));
        drop(old);
    }

    fn take(&self, handle: &str) -> Handle {
        lock(&self.handles).remove(handle).expect("the handle is open")
    }

    fn semaphore(&self, handle: &str) -> SystemSemaphore {
        lock(&self.handles).get(handle).expect("the handle is open").semaphore.clone()
    }

    fn keep(&self, handle: &str, permit: OwnedPermit) {
        lock(&self.handles).get_mut(handle).expect("the handle is open").guards.push(permit);
    }

    fn latest(&self, handle: &str) -> OwnedPermit {
        let mut handles = lock(&self.handles);
        handles.get_mut(handle).and_then(|handle| handle.guards.pop()).expect("the handle has a guard")
    }
}

/// The answer to what has no value.
fn done(outcome: Result<(), Error>) -> Answer {
    outcome.map(|()| String::new()).map_err(say_error)
}

/// The answer that is a number.
fn count(outcome: Result<u32, Error>) -> Answer {
    outcome.map(text).map_err(say_error)
}

/// No code that could panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics under it")
}

fn text(number: u32) -> String {
    number.to_string()
}

fn say_error(error: Error) -> String {
    format!("error\t{:?}\t{error}", error.kind())
}

fn number(text: &str) -> u32 {
    text.parse().expect("a number")
}

fn parse_key(text: &str) -> Key {
    match text.strip_prefix("name=") {
        Some(name) => Key::from(name),
        None => Key::from(text.parse::<NativeIpcKey>().expect("the text of a native key")),
    }
}

fn parse_mode(text: &str) -> AccessMode {
    match text {
        "Open" => AccessMode::Open,
        "Create" => AccessMode::Create,
        "CreateNew" => AccessMode::CreateNew,
        "OpenExisting" => AccessMode::OpenExisting,
        other => panic!("no mode: {other:?}"),
    }
}
