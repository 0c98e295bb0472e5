//! A process that waits for a permit, and sleeps until it is woken: the engine's bound of a second is taken off its sleep, so
//! that a wake-up that does not come is seen at once.

use std::thread;

use super::route::{is_wait, unbind_sleep};
use super::trace::{Event, Go, Tracee};
use super::{Mishap, Result};

pub(crate) struct Waiter {
    process: Tracee,
    is_in_kernel: bool,
    is_in_wait: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Sleeps,
    HasPermit,
}

impl Waiter {
    pub(crate) fn start(name: &str) -> Result<Self> {
        let process = super::start("waiter", name)?;
        process.resume(Go::ToSystemCall)?;
        Ok(Self { process, is_in_kernel: false, is_in_wait: false })
    }

    /// Lets it go on until it has the permit, or sleeps. Until then, who is woken stands where it has come to.
    pub(crate) fn go_on(&mut self) -> Result<Progress> {
        loop {
            match self.process.poll()? {
                None if self.is_in_wait && self.process.is_asleep()? => return Ok(Progress::Sleeps),
                None => thread::yield_now(),
                Some(Event::Marked) => return Ok(Progress::HasPermit),
                Some(Event::SystemCall) => {
                    self.is_in_kernel = !self.is_in_kernel;
                    self.is_in_wait = self.is_in_kernel && is_wait(&self.process)?;
                    if self.is_in_wait {
                        unbind_sleep(&self.process)?;
                    }
                    self.process.resume(Go::ToSystemCall)?;
                }
                Some(event) => return Err(Mishap::Failure(format!("the waiter: {event:?}"))),
            }
        }
    }
}
