//! The puppet's side.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{
    AccessMode, Error, ErrorKind, Key, NativeIpcKey, OwnedPermit, Permit, SystemSemaphore,
};

use crate::{forked, shared, signal, wait_for};

/// The variable that makes a program a puppet.
pub(crate) const ROLE: &str = "SYSTEM_SEMAPHORE_TEST_ROLE";

/// Serves as a puppet, if this process was started as one, and does not return then.
pub fn serve() {
    if std::env::var_os(ROLE).is_none_or(|role| role != "puppet") {
        return;
    }
    let mut puppet = Puppet::default();
    for line in io::stdin().lock().lines() {
        let line = line.expect("commands are UTF-8");
        let fields: Vec<&str> = line.split('\t').collect();
        match puppet.obey(&fields) {
            Ok(value) if value.is_empty() => say("ok"),
            Ok(value) => say(&format!("ok\t{value}")),
            Err(failure) => say(&failure),
        }
    }
    signal::exit()
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    // a driver that has gone does not listen any more, and the end of its commands ends us
    let _ = writeln!(out, "{}", line.replace('\n', " ")).and_then(|()| out.flush());
}

#[derive(Default)]
struct Puppet {
    handles: HashMap<String, Handle>,
}

struct Handle {
    semaphore: SystemSemaphore,
    guards: Vec<OwnedPermit>,
}

impl Puppet {
    /// Does one command. The error is the whole answer.
    fn obey(&mut self, fields: &[&str]) -> Result<String, String> {
        match *fields {
            ["open", handle, key, initial, mode] => {
                let semaphore = SystemSemaphore::new(parse_key(key), number(initial), parse_mode(mode));
                self.add(handle, semaphore.map_err(say_error)?);
                Ok(String::new())
            }
            ["clone", handle, new] => {
                let semaphore = self.handle(handle).semaphore.clone();
                self.add(new, semaphore);
                Ok(String::new())
            }
            ["close", handle] => {
                self.handles.remove(handle).expect("the handle is open");
                Ok(String::new())
            }
            ["pass", from, to, items] => {
                let (from, to) = (self.semaphore(from), self.semaphore(to));
                let mut items = 0..number(items);
                items
                    .try_for_each(|_| from.acquire()?.forget().and_then(|()| to.add_permits(1)))
                    .map_err(say_error)?;
                Ok(String::new())
            }
            ["reset-under-a-waiter", handle, count, key] => {
                let permit = reset_under_a_waiter(&self.semaphore(handle), number(count), parse_key(key));
                self.handle(handle).guards.push(permit.map_err(say_error)?);
                Ok(String::new())
            }
            ["forked", name] => {
                let Handle { semaphore, mut guards } = self.handles.remove(name).expect("the handle is open");
                let mut semaphore = Some(semaphore);
                let outcome = forked::check(&mut semaphore, &mut guards);
                let semaphore = semaphore.expect("a child takes nothing from its parent");
                self.handles.insert(name.to_owned(), Handle { semaphore, guards });
                outcome.map(|()| String::new()).map_err(|message| format!("error\tForked\t{message}"))
            }
            ["crowd", handle, times, counters] => {
                crowd(&self.semaphore(handle), number(times), counters).map(text).map_err(say_error)
            }
            ["come-and-go", key, ms] => {
                again_and_again(ms, || come_and_go(&parse_key(key))).map(text).map_err(say_error)
            }
            ["alone", key, ms] => again_and_again(ms, || alone(&parse_key(key))).map(text),
            ["exit"] => signal::exit(),
            [command, handle, ref rest @ ..] => {
                let argument = rest.first().copied().map_or(0, number);
                let timeout = rest.get(1).map(|ms| Duration::from_millis(u64::from(number(ms))));
                self.handle(handle).obey(command, argument, timeout)
            }
            _ => panic!("no command of the protocol: {fields:?}"),
        }
    }

    fn add(&mut self, handle: &str, semaphore: SystemSemaphore) {
        self.handles.insert(handle.to_owned(), Handle { semaphore, guards: Vec::new() });
    }

    fn semaphore(&mut self, name: &str) -> SystemSemaphore {
        self.handle(name).semaphore.clone()
    }

    fn handle(&mut self, name: &str) -> &mut Handle {
        self.handles.get_mut(name).expect("the handle is open")
    }
}

impl Handle {
    fn obey(&mut self, command: &str, argument: u32, timeout: Option<Duration>) -> Result<String, String> {
        let semaphore = &self.semaphore;
        match command {
            "acquire" => {
                say("began");
                let permit = match timeout {
                    None => semaphore.acquire_many(argument),
                    Some(timeout) => semaphore.acquire_many_timeout(argument, timeout),
                };
                self.guards.push(permit.map_err(say_error)?.into_owned());
            }
            "interruptible" => {
                signal::count_user_signals();
                say("began");
                let deadline = timeout.map(|timeout| Instant::now() + timeout);
                let mut ends = || signal::user_signals() >= 2;
                let permit = semaphore.acquire_interruptible(argument, deadline, &mut ends);
                self.guards.push(permit.map_err(say_error)?.into_owned());
                return Ok(signal::user_signals().to_string());
            }
            "try" => {
                let permit = semaphore.try_acquire_many(argument).map_err(say_error)?;
                self.guards.push(permit.into_owned());
            }
            "drop" => self.latest().release().map_err(say_error)?,
            "hold" => self.latest().hold(),
            "forget" => self.latest().forget().map_err(say_error)?,
            "leak" => std::mem::forget(self.latest()),
            "release" => semaphore.release(argument).map_err(say_error)?,
            "add" => semaphore.add_permits(argument).map_err(say_error)?,
            "forget-held" => return semaphore.forget_held(argument).map(text).map_err(say_error),
            "available" => return semaphore.available_permits().map(text).map_err(say_error),
            "waiting" => return semaphore.waiting().map(text).map_err(say_error),
            "held" => return Ok(text(semaphore.held_permits())),
            "produce" => {
                say("began");
                (0..argument).try_for_each(|_| semaphore.add_permits(1)).map_err(say_error)?;
            }
            "consume" => {
                say("began");
                let mut items = 0..argument;
                items.try_for_each(|_| semaphore.acquire()?.forget()).map_err(say_error)?;
            }
            other => panic!("no command of the protocol: {other:?}"),
        }
        Ok(String::new())
    }

    fn latest(&mut self) -> OwnedPermit {
        self.guards.pop().expect("the handle has a guard")
    }
}

/// Goes in and out again and again; tells how many were inside at once, at most, as far as this one saw.
fn crowd(semaphore: &SystemSemaphore, times: u32, counters: &str) -> Result<u32, Error> {
    let inside = shared::counter(counters);
    let mut most = 0;
    for round in 0..times {
        let permit = semaphore.acquire()?;
        most = most.max(inside.fetch_add(1, Ordering::SeqCst) + 1);
        // so that others get in while we are inside, on a machine of one core too; not each time, which would take
        // very long on a busy machine
        if round % 8 == 0 {
            thread::yield_now();
        }
        inside.fetch_sub(1, Ordering::SeqCst);
        permit.release()?;
    }
    Ok(most)
}

/// Lets a thread wait for a permit, and resets the count meanwhile. What the thread got.
fn reset_under_a_waiter(semaphore: &SystemSemaphore, count: u32, key: Key) -> Result<OwnedPermit, Error> {
    thread::scope(|scope| {
        let waiter = scope.spawn(|| semaphore.acquire().map(Permit::into_owned));
        wait_for("the thread waits", || semaphore.waiting().is_ok_and(|waiting| waiting == 1));
        // this handle must not be the owner's last, so it is kept until the process ends
        std::mem::forget(SystemSemaphore::new(key, count, AccessMode::Create)?);
        waiter.join().expect("it does not panic")
    })
}

/// Does something over and over, for so many milliseconds; tells how often.
fn again_and_again<E>(ms: &str, mut what: impl FnMut() -> Result<(), E>) -> Result<u32, E> {
    let end = Instant::now() + Duration::from_millis(u64::from(number(ms)));
    let mut times = 0;
    while Instant::now() < end {
        what()?;
        times += 1;
    }
    Ok(times)
}

/// One short visit of a process that knows of no other. Its maker may remove the semaphore under it.
fn come_and_go(key: &Key) -> Result<(), Error> {
    let visit = || {
        let semaphore = SystemSemaphore::open(key.clone(), 1)?;
        semaphore.acquire()?.release()
    };
    match visit() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// One short life of a semaphore of which nobody else knows.
fn alone(key: &Key) -> Result<(), String> {
    let semaphore = SystemSemaphore::new(key.clone(), 5, AccessMode::CreateNew).map_err(say_error)?;
    for _ in 0..20 {
        match semaphore.available_permits().map_err(say_error)? {
            5 => thread::yield_now(),
            other => return Err(format!("error\tNotAlone\t{other} of 5 permits are free")),
        }
    }
    Ok(())
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
