//! The puppet's side.

#[cfg(unix)]
mod unix;

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[cfg(unix)]
use system_semaphore::InheritablePermit;
use system_semaphore::{
    AccessMode, Error, ErrorKind, Key, NativeIpcKey, OwnedPermit, Permit, SystemSemaphore,
};

use crate::free;
use crate::puppet::{random_ops, wait_for};
use crate::unsafe_calls::shared_counter;

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
    threads: Mutex<HashMap<String, JoinHandle<Result<String, String>>>>,
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
    /// Does one command. The error is the whole answer.
    fn obey(self: &Arc<Self>, fields: &[&str]) -> Result<String, String> {
        #[cfg(unix)]
        if let Some(answer) = self.obey_unix(fields) {
            return answer;
        }
        match *fields {
            ["open", handle, key, initial, mode] => {
                let semaphore = SystemSemaphore::new(parse_key(key), number(initial), parse_mode(mode));
                self.add(handle, semaphore.map_err(say_error)?);
            }
            ["build", handle, key, ref options @ ..] => {
                self.add(handle, build(key, options).map_err(say_error)?);
            }
            ["clone", handle, new] => self.add(new, self.semaphore(handle)),
            ["close", handle] => drop(self.take(handle)),
            ["start", thread, ref command @ ..] => self.start(thread, command),
            ["finish", thread] => {
                let thread = lock(&self.threads).remove(thread).expect("the thread was started");
                return thread.join().expect("it does not panic");
            }
            ["idle"] => loop {
                thread::park();
            },
            ["pass", from, to, items] => {
                let (from, to) = (self.semaphore(from), self.semaphore(to));
                let mut items = 0..number(items);
                items
                    .try_for_each(|_| from.acquire()?.forget().and_then(|()| to.add_permits(1)))
                    .map_err(say_error)?;
            }
            ["reset-under-a-waiter", handle, count, key] => {
                let permit = reset_under_a_waiter(&self.semaphore(handle), number(count), parse_key(key));
                self.keep(handle, permit.map_err(say_error)?);
            }
            ["remove", key] => SystemSemaphore::remove(parse_key(key)).map_err(say_error)?,
            ["crowd", handle, times, counters] => {
                let most = crowd(&self.semaphore(handle), number(times), counters);
                return most.map(text).map_err(say_error);
            }
            ["hammer", handle] => {
                let semaphore = self.semaphore(handle);
                loop {
                    drop(semaphore.acquire().map_err(say_error)?);
                }
            }
            ["repeat", handle, times] => {
                let semaphore = self.semaphore(handle);
                (0..number(times)).try_for_each(|_| semaphore.acquire()?.release()).map_err(say_error)?;
            }
            ["short-waits", handle, times] => {
                short_waits(&self.semaphore(handle), number(times)).map_err(say_error)?;
            }
            ["open-many", key, count] => open_many(key, number(count)).map_err(say_error)?,
            ["work", handle, counter] => work(&self.semaphore(handle), counter).map_err(say_error)?,
            ["visit", key, counter] => visit(&parse_key(key), counter).map_err(say_error)?,
            ["wild", handle, operations, ms] => {
                let mut wild = random_ops::Wild::new(self.semaphore(handle), operations);
                return again_and_again(ms, || wild.step()).map(text).map_err(say_error);
            }
            ["come-and-go", key, ms] => {
                return again_and_again(ms, || come_and_go(&parse_key(key))).map(text).map_err(say_error);
            }
            ["visit-alone", key, ms, counter] => {
                let inside = shared_counter::counter(counter);
                return again_and_again(ms, || visit_alone(&parse_key(key), inside)).map(text);
            }
            ["alone", key, ms] => return again_and_again(ms, || alone(&parse_key(key))).map(text),
            ["exit"] => exit(),
            [command, handle, ref rest @ ..] => {
                let argument = rest.first().copied().map_or(0, number);
                let timeout = rest.get(1).map(|ms| Duration::from_millis(u64::from(number(ms))));
                return self.operate(command, handle, argument, timeout);
            }
            _ => panic!("no command of the protocol: {fields:?}"),
        }
        Ok(String::new())
    }

    fn start(self: &Arc<Self>, name: &str, command: &[&str]) {
        let puppet = Arc::clone(self);
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let thread = thread::spawn(move || {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            puppet.obey(&command)
        });
        lock(&self.threads).insert(name.to_owned(), thread);
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

    fn operate(
        &self,
        command: &str,
        handle: &str,
        argument: u32,
        timeout: Option<Duration>,
    ) -> Result<String, String> {
        let semaphore = self.semaphore(handle);
        match command {
            "acquire" => {
                say_began();
                let permit = match timeout {
                    None => semaphore.acquire_many(argument),
                    Some(timeout) => semaphore.acquire_many_timeout(argument, timeout),
                };
                self.keep(handle, permit.map_err(say_error)?.into_owned());
            }
            "try" => {
                let permit = semaphore.try_acquire_many(argument).map_err(say_error)?;
                self.keep(handle, permit.into_owned());
            }
            "drop" => self.latest(handle).release().map_err(say_error)?,
            "hold" => self.latest(handle).hold(),
            "forget" => self.latest(handle).forget().map_err(say_error)?,
            "leak" => std::mem::forget(self.latest(handle)),
            "leak-borrowed" => {
                semaphore.try_acquire_many(argument).map(std::mem::forget).map_err(say_error)?;
            }
            "split" => {
                let mut permit = self.latest(handle);
                let split = permit.split(argument);
                self.keep(handle, permit);
                match split {
                    Some(split) => self.keep(handle, split),
                    None => return Err("error\tTooFew\tthe guard has not so many".to_owned()),
                }
            }
            "merge" => {
                let (other, mut permit) = (self.latest(handle), self.latest(handle));
                let outcome = permit.merge(other);
                self.keep(handle, permit);
                if let Err(error) = outcome {
                    let message = format!("error\tNotMerged\t{error}");
                    self.keep(handle, error.into_permit());
                    return Err(message);
                }
            }
            "guards" => {
                let handles = lock(&self.handles);
                let guards = &handles.get(handle).expect("the handle is open").guards;
                return Ok(text(guards.iter().map(OwnedPermit::num_permits).sum()));
            }
            "release" => semaphore.release(argument).map_err(say_error)?,
            "add" => semaphore.add_permits(argument).map_err(say_error)?,
            "forget-held" => return semaphore.forget_held(argument).map(text).map_err(say_error),
            "available" => return free(&semaphore).map(text).map_err(say_error),
            "holders" => {
                let holders = semaphore.holders().map_err(say_error)?;
                return Ok(text(holders.iter().map(|holder| holder.permits).sum()));
            }
            "recoveries" => {
                return semaphore.recoveries().map(|count| count.to_string()).map_err(say_error);
            }
            "waiting" => return semaphore.waiting().map(text).map_err(say_error),
            "held" => return Ok(text(semaphore.held_permits())),
            "produce" => {
                say_began();
                (0..argument).try_for_each(|_| semaphore.add_permits(1)).map_err(say_error)?;
            }
            "consume" => {
                say_began();
                let mut items = 0..argument;
                items.try_for_each(|_| semaphore.acquire()?.forget()).map_err(say_error)?;
            }
            other => panic!("no command of the protocol: {other:?}"),
        }
        Ok(String::new())
    }
}

/// No code that could panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics under it")
}

fn build(key: &str, options: &[&str]) -> Result<SystemSemaphore, Error> {
    let mut builder = SystemSemaphore::builder(parse_key(key));
    for option in options {
        builder = match option.split_once('=').unwrap_or((option, "")) {
            ("initial", value) => builder.initial_value(number(value)),
            ("mode", value) => builder.mode(parse_mode(value)),
            ("max", value) => builder.max_permits(number(value)),
            ("permissions", value) => builder.permissions(u32::from_str_radix(value, 8).expect("octal")),
            ("persistent", "") => builder.persistent(true),
            _ => panic!("no option: {option:?}"),
        };
    }
    builder.build()
}

fn short_waits(semaphore: &SystemSemaphore, times: u32) -> Result<(), Error> {
    for _ in 0..times {
        match semaphore.acquire_timeout(Duration::from_millis(1)) {
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => return Err(error),
            Ok(_) => panic!("a permit was free"),
        }
    }
    Ok(())
}

/// Opens semaphores of this key with a number behind it, and never closes them.
fn open_many(key: &str, count: u32) -> Result<(), Error> {
    for number in 0..count {
        let semaphore = SystemSemaphore::open(parse_key(&format!("{key}{number}")), 1)?;
        std::mem::forget(semaphore);
    }
    Ok(())
}

fn work(semaphore: &SystemSemaphore, counter: &str) -> Result<(), Error> {
    let counter = shared_counter::counter(counter);
    loop {
        let permit = semaphore.acquire()?;
        // on a machine of one core, too, others get in while we are inside
        thread::yield_now();
        permit.release()?;
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

fn visit(key: &Key, counter: &str) -> Result<(), Error> {
    let counter = shared_counter::counter(counter);
    loop {
        match SystemSemaphore::new(key.clone(), 0, AccessMode::OpenExisting) {
            Ok(semaphore) => semaphore.acquire()?.release()?,
            // one that is stopped while it opens or closes holds up others that do, and they say so
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => return Err(error),
        }
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Goes in and out again and again; tells how many were inside at once, at most, as far as this one saw.
fn crowd(semaphore: &SystemSemaphore, times: u32, counters: &str) -> Result<u32, Error> {
    let inside = shared_counter::counter(counters);
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

/// A visit to what has one permit, whoever makes it. Nobody else may be inside meanwhile.
fn visit_alone(key: &Key, inside: &AtomicU32) -> Result<(), String> {
    let semaphore = SystemSemaphore::open(key.clone(), 1).map_err(say_error)?;
    let permit = semaphore.acquire().map_err(say_error)?;
    let others = inside.fetch_add(1, Ordering::SeqCst);
    thread::yield_now();
    inside.fetch_sub(1, Ordering::SeqCst);
    permit.release().map_err(say_error)?;
    if others == 0 { Ok(()) } else { Err(format!("error\tNotAlone\t{others} others are inside")) }
}

/// One short life of a semaphore of which nobody else knows.
fn alone(key: &Key) -> Result<(), String> {
    let semaphore = SystemSemaphore::new(key.clone(), 5, AccessMode::CreateNew).map_err(say_error)?;
    for _ in 0..20 {
        match free(&semaphore).map_err(say_error)? {
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
