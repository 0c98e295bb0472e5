//! Taking permits, giving them back, and what happens to a guard.

use std::sync::Arc;
use std::time::Duration;

use system_semaphore::OwnedPermit;

use super::{Answer, Puppet, count, done, lock, number, say_began, say_error, text};

impl Puppet {
    pub(super) fn obey_permits(self: &Arc<Self>, fields: &[&str]) -> Option<Answer> {
        Some(match *fields {
            ["acquire", handle, permits, ref timeout @ ..] => {
                self.acquire(handle, number(permits), timeout.first().map(|ms| number(ms)))
            }
            ["try", handle, permits] => {
                let semaphore = self.semaphore(handle);
                let permit = semaphore.try_acquire_many(number(permits));
                done(permit.map(|permit| self.keep(handle, permit.into_owned())))
            }
            ["drop", handle] => done(self.latest(handle).release()),
            ["hold", handle] => {
                self.latest(handle).detach();
                Ok(String::new())
            }
            ["forget", handle] => done(self.latest(handle).forget()),
            ["leak", handle] => {
                std::mem::forget(self.latest(handle));
                Ok(String::new())
            }
            ["leak-borrowed", handle, permits] => {
                done(self.semaphore(handle).try_acquire_many(number(permits)).map(std::mem::forget))
            }
            ["split", handle, permits] => self.split(handle, number(permits)),
            ["merge", handle] => self.merge(handle),
            ["guards", handle] => {
                let handles = lock(&self.handles);
                let guards = &handles.get(handle).expect("the handle is open").guards;
                Ok(text(guards.iter().map(OwnedPermit::num_permits).sum()))
            }
            ["release", handle, permits] => done(self.semaphore(handle).release(number(permits))),
            ["add", handle, permits] => done(self.semaphore(handle).add_permits(number(permits))),
            ["forget-held", handle, permits] => {
                count(self.semaphore(handle).forget_detached(number(permits)))
            }
            _ => return None,
        })
    }

    fn acquire(&self, handle: &str, permits: u32, timeout: Option<u32>) -> Answer {
        let semaphore = self.semaphore(handle);
        say_began();
        let permit = match timeout {
            None => semaphore.acquire_many(permits),
            Some(ms) => semaphore.acquire_many_timeout(permits, Duration::from_millis(ms.into())),
        };
        self.keep(handle, permit.map_err(say_error)?.into_owned());
        Ok(String::new())
    }

    fn split(&self, handle: &str, permits: u32) -> Answer {
        let mut permit = self.latest(handle);
        let split = permit.split(permits);
        self.keep(handle, permit);
        let split = split.ok_or_else(|| "error\tTooFew\tthe guard has not so many".to_owned())?;
        self.keep(handle, split);
        Ok(String::new())
    }

    fn merge(&self, handle: &str) -> Answer {
        let (other, mut permit) = (self.latest(handle), self.latest(handle));
        let outcome = permit.merge(other);
        self.keep(handle, permit);
        outcome.map(|()| String::new()).map_err(|error| {
            let message = format!("error\tNotMerged\t{error}");
            self.keep(handle, error.into_permit());
            message
        })
    }
}
