//! Doing at random what changes nothing in the end.

use std::time::Duration;

use system_semaphore::{AccessMode, Error, ErrorKind, OwnedPermit, Permit, Result, SystemSemaphore};

/// What may be done besides taking and giving back by guards:
/// `hold` also holds without a guard, `forget` also forgets a permit and creates one, which is only for who is not
/// killed meanwhile.
pub(crate) struct RandomOps {
    semaphore: SystemSemaphore,
    holds: bool,
    forgets: bool,
    guards: Vec<OwnedPermit>,
    random: u64,
}

impl RandomOps {
    pub(crate) fn new(semaphore: SystemSemaphore, operations: &str) -> Self {
        let seed = std::collections::hash_map::RandomState::new();
        let random = std::hash::BuildHasher::hash_one(&seed, ()) | 1;
        let (holds, forgets) = (operations.contains("hold"), operations.contains("forget"));
        Self { semaphore, holds, forgets, guards: Vec::new(), random }
    }

    pub(crate) fn step(&mut self) -> Result<()> {
        let timeout = Duration::from_micros(u64::from(self.below(3000)));
        match self.below(10) {
            0 => drop(perhaps(self.semaphore.acquire_timeout(timeout))?),
            1 => {
                if let Some(mut two) = perhaps(self.semaphore.try_acquire_many(2))? {
                    let mut one = two.split(1).expect("there are two");
                    one.merge(two).expect("they are of one acquire");
                }
            }
            2 => {
                let three = perhaps(self.semaphore.acquire_many_timeout(3, timeout))?;
                three.map_or(Ok(()), Permit::release)?;
            }
            3 | 4 => {
                let count = 1 + self.below(2);
                let permit = perhaps(self.semaphore.acquire_many_timeout(count, timeout))?;
                self.guards.extend(permit.map(Permit::into_owned));
            }
            5 => match SystemSemaphore::new(self.semaphore.native_key(), 0, AccessMode::OpenExisting) {
                Ok(other) => drop(perhaps(other.try_acquire())?),
                // one that is stopped while it opens or closes is in the way
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            },
            6 => {
                self.semaphore.holders()?;
                self.semaphore.waiting()?;
                self.semaphore.recoveries()?;
            }
            7 if self.holds => {
                if let Some(permit) = perhaps(self.semaphore.acquire_timeout(timeout))? {
                    permit.detach();
                    self.semaphore.release(1)?;
                }
            }
            8 if self.forgets => {
                if let Some(permit) = perhaps(self.semaphore.acquire_timeout(timeout))? {
                    permit.forget()?;
                    self.semaphore.add_permits(1)?;
                }
            }
            _ => drop(perhaps(self.semaphore.try_acquire())?),
        }
        // or nobody would ever get three
        if self.guards.len() > 1 || self.below(2) == 0 {
            self.guards.clear();
        }
        Ok(())
    }

    fn below(&mut self, limit: u32) -> u32 {
        // xorshift
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u32 % limit
    }
}

fn perhaps(outcome: Result<Permit<'_>>) -> Result<Option<Permit<'_>>> {
    let is_none = |error: &Error| matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::NoPermits);
    match outcome {
        Ok(permit) => Ok(Some(permit)),
        Err(error) if is_none(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
