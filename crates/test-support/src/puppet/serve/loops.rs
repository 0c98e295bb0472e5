//! What is done many times: so often, so long, or for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Error, ErrorKind, Key, SystemSemaphore};

use super::{Answer, Puppet, count, done, number, parse_key, say_began, say_error, text};
use crate::free;
use crate::puppet::random_ops;
use crate::unsafe_calls::shared_counter;

impl Puppet {
    pub(super) fn obey_loops(self: &Arc<Self>, fields: &[&str]) -> Option<Answer> {
        Some(match *fields {
            ["pass", from, to, items] => {
                let (from, to) = (self.semaphore(from), self.semaphore(to));
                let mut items = 0..number(items);
                done(items.try_for_each(|_| from.acquire()?.forget().and_then(|()| to.add_permits(1))))
            }
            ["produce", handle, items] => {
                let semaphore = self.semaphore(handle);
                say_began();
                done((0..number(items)).try_for_each(|_| semaphore.add_permits(1)))
            }
            ["consume", handle, items] => {
                let semaphore = self.semaphore(handle);
                say_began();
                done((0..number(items)).try_for_each(|_| semaphore.acquire()?.forget()))
            }
            ["count-concurrent", handle, times, counters] => {
                count(count_concurrent(&self.semaphore(handle), number(times), counters))
            }
            ["spin-pairs", handle] => done(spin_pairs(&self.semaphore(handle))),
            ["repeat", handle, times] => {
                let semaphore = self.semaphore(handle);
                done((0..number(times)).try_for_each(|_| semaphore.acquire()?.release()))
            }
            ["short-waits", handle, times] => done(short_waits(&self.semaphore(handle), number(times))),
            ["work", handle, counter] => done(work(&self.semaphore(handle), counter)),
            ["visit", key, counter] => done(visit(&parse_key(key), counter)),
            ["random-ops", handle, operations, ms] => {
                let mut ops = random_ops::RandomOps::new(self.semaphore(handle), operations);
                count(repeat_for(ms, || ops.step()))
            }
            ["open-close-loop", key, ms] => count(repeat_for(ms, || open_close(&parse_key(key)))),
            ["exclusive-visit", key, ms, counter] => {
                let inside = shared_counter::counter(counter);
                repeat_for(ms, || exclusive_visit(&parse_key(key), inside)).map(text)
            }
            ["exclusive-create", key, ms] => repeat_for(ms, || exclusive_create(&parse_key(key))).map(text),
            _ => return None,
        })
    }
}

/// Returns only by an error.
fn spin_pairs(semaphore: &SystemSemaphore) -> Result<(), Error> {
    loop {
        drop(semaphore.acquire()?);
    }
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
fn count_concurrent(semaphore: &SystemSemaphore, times: u32, counters: &str) -> Result<u32, Error> {
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

/// Does something over and over, for so many milliseconds; tells how often.
fn repeat_for<E>(ms: &str, mut what: impl FnMut() -> Result<(), E>) -> Result<u32, E> {
    let end = Instant::now() + Duration::from_millis(u64::from(number(ms)));
    let mut times = 0;
    while Instant::now() < end {
        what()?;
        times += 1;
    }
    Ok(times)
}

/// One short visit of a process that knows of no other. Its maker may remove the semaphore under it.
fn open_close(key: &Key) -> Result<(), Error> {
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
fn exclusive_visit(key: &Key, inside: &AtomicU32) -> Result<(), String> {
    let semaphore = SystemSemaphore::open(key.clone(), 1).map_err(say_error)?;
    let permit = semaphore.acquire().map_err(say_error)?;
    let others = inside.fetch_add(1, Ordering::SeqCst);
    thread::yield_now();
    inside.fetch_sub(1, Ordering::SeqCst);
    permit.release().map_err(say_error)?;
    if others == 0 { Ok(()) } else { Err(format!("error\tNotAlone\t{others} others are inside")) }
}

/// One short life of a semaphore of which nobody else knows.
fn exclusive_create(key: &Key) -> Result<(), String> {
    let semaphore = SystemSemaphore::new(key.clone(), 5, AccessMode::CreateNew).map_err(say_error)?;
    for _ in 0..20 {
        match free(&semaphore).map_err(say_error)? {
            5 => thread::yield_now(),
            other => return Err(format!("error\tNotAlone\t{other} of 5 permits are free")),
        }
    }
    Ok(())
}
