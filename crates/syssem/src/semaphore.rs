//! What several commands do with a semaphore.

use std::time::Instant;

use system_semaphore::{AccessMode, Error, ErrorKind, NativeIpcKey, Permit, SystemSemaphore};

use crate::cli::Patience;
use crate::error::Trouble;

pub(crate) fn existing(key: &NativeIpcKey) -> Result<SystemSemaphore, Error> {
    SystemSemaphore::builder(key).mode(AccessMode::OpenExisting).build()
}

impl Patience {
    /// The moment at which the wait ends, if it is to.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.nonblock {
            Some(Instant::now())
        } else {
            self.wait.and_then(|wait| Instant::now().checked_add(wait))
        }
    }

    /// Takes permits.
    pub(crate) fn acquire<'a>(
        &self,
        semaphore: &'a SystemSemaphore,
        count: u32,
    ) -> Result<Permit<'a>, Trouble> {
        let permit = match self.deadline() {
            _ if self.nonblock => semaphore.try_acquire_many(count),
            Some(deadline) => semaphore.acquire_many_deadline(count, deadline),
            None => semaphore.acquire_many(count),
        };
        permit.map_err(|error| self.explain(error))
    }

    /// That the time was not enough is no failure.
    pub(crate) fn explain(&self, error: Error) -> Trouble {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::NoPermits => Trouble::Busy(error, self.conflict_exit_code),
            _ => error.into(),
        }
    }
}
