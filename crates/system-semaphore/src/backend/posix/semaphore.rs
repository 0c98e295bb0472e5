//! An open POSIX semaphore.

use super::error::{MAX_PERMITS, cause_of, no_room};
use crate::backend::api::{Backend, Identity, WaitLimit, WaitOptions};
use crate::error::Cause;
use crate::sys::posix::{self as sys, Handle};
use crate::types::{Capabilities, Epoch};

#[derive(Debug)]
pub(super) struct Posix(pub(super) Handle);

impl Backend for Posix {
    fn identity(&self) -> Identity {
        Identity(self.0.address() as u128)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            returns_on_death: false,
            created_permits_stay: true,
            timeout: sys::HAS_TIMEOUT,
            several_at_once: false,
            available_permits: sys::HAS_VALUE,
            holders: false,
            waiting: false,
            last_pid: false,
            recoveries: false,
            reset_voids_permits: false,
            ends_with_last_user: false,
            own_maximum: false,
            inheritable_permits: false,
            max_permits: MAX_PERMITS,
        }
    }

    fn acquire(&self, _one: u32, wait: &mut WaitOptions<'_>) -> Result<Epoch, Cause> {
        loop {
            // a deadline in the past must not keep from taking what is free
            match self.0.try_wait() {
                Ok(()) => return Ok(0),
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => return Err(cause_of(&error)),
            }
            let deadline = match wait.limit {
                WaitLimit::None => return Err(wait.limit.timeout_error()),
                WaitLimit::Until(deadline) => Some(deadline),
                WaitLimit::Forever => None,
            };
            wait.check_interrupt()?;
            match self.0.wait(deadline) {
                Ok(()) => return Ok(0),
                Err(error) => match error.raw_os_error() {
                    Some(libc::ETIMEDOUT) => return Err(wait.limit.timeout_error()),
                    Some(libc::EINTR) => {}
                    _ => return Err(cause_of(&error)),
                },
            }
        }
    }

    fn release(&self, count: u32, _: Epoch) -> Result<(), Cause> {
        for _ in 0..count {
            self.0.post().map_err(|error| cause_of(&error))?;
        }
        Ok(())
    }

    fn release_and_add(&self, held: u32, _: Epoch, added: u32) -> Result<(), Cause> {
        let count = u64::from(held) + u64::from(added);
        if count > u64::from(MAX_PERMITS)
            || sys::HAS_VALUE && count > u64::from(MAX_PERMITS - self.available()?)
        {
            return Err(no_room());
        }
        // One sem_post a permit: others may see some of them before the last. If others post so much meanwhile that
        // the count becomes full, what can be had back without waiting is taken back.
        for done in 0..count {
            if let Err(error) = self.0.post() {
                let _ = (0..done).try_for_each(|_| self.0.try_wait());
                return Err(cause_of(&error));
            }
        }
        Ok(())
    }

    fn forget(&self, _: u32, _: Epoch) -> Result<(), Cause> {
        Ok(())
    }

    fn available(&self) -> Result<u32, Cause> {
        if !sys::HAS_VALUE {
            return Err(Cause::unsupported("this system does not tell the count of a POSIX semaphore"));
        }
        // POSIX allows a negative value that counts waiters
        self.0.value().map(|value| value.max(0).unsigned_abs()).map_err(|error| cause_of(&error))
    }
}
