//! Threads of the puppet.

use std::sync::Arc;
use std::thread;

use system_semaphore::{AccessMode, Error, Key, OwnedPermit, Permit, SystemSemaphore};

use super::{Answer, Puppet, done, lock, number, parse_key};
use crate::wait_until;

impl Puppet {
    pub(super) fn obey_threads(self: &Arc<Self>, fields: &[&str]) -> Option<Answer> {
        Some(match *fields {
            ["start", thread, ref command @ ..] => {
                self.start(thread, command);
                Ok(String::new())
            }
            ["finish", thread] => {
                let thread = lock(&self.threads).remove(thread).expect("the thread was started");
                thread.join().expect("it does not panic")
            }
            ["idle"] => loop {
                thread::park();
            },
            ["reset-under-a-waiter", handle, count, key] => {
                let permit = reset_under_a_waiter(&self.semaphore(handle), number(count), parse_key(key));
                done(permit.map(|permit| self.keep(handle, permit)))
            }
            ["exit"] => super::exit(),
            _ => return None,
        })
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
}

/// Lets a thread wait for a permit, and resets the count meanwhile. What the thread got.
fn reset_under_a_waiter(semaphore: &SystemSemaphore, count: u32, key: Key) -> Result<OwnedPermit, Error> {
    thread::scope(|scope| {
        let waiter = scope.spawn(|| semaphore.acquire().map(Permit::into_owned));
        wait_until("the thread waits", || semaphore.waiting().is_ok_and(|waiting| waiting == 1));
        // this handle must not be the owner's last, so it is kept until the process ends
        std::mem::forget(SystemSemaphore::new(key, count, AccessMode::Create)?);
        waiter.join().expect("it does not panic")
    })
}
