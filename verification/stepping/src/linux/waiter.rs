//! A process that waits for a permit, and does nothing but sleep until it is woken: the bound is taken off its sleep, and
//! its clock hardly moves, so that it never comes to think of looking for the dead itself.

use std::thread;

use super::clock::Clock;
use super::trace::{is_wait, unbind_sleep};
use super::{Error, Result};
use test_support::ptrace::{Event, Resume, Tracee};

pub(crate) struct Waiter {
    process: Tracee,
    is_in_kernel: bool,
    is_in_wait: bool,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Sleeps,
    HasPermit,
}

impl Waiter {
    pub(crate) fn start(name: &str) -> Result<Self> {
        let process = super::start("waiter", name)?;
        process.resume(Resume::ToSystemCall)?;
        Ok(Self { process, is_in_kernel: false, is_in_wait: false, clock: Clock::default() })
    }

    /// Lets it go on until it has the permit, or sleeps. Until then, who is woken stands where it has come to.
    pub(crate) fn go_on(&mut self) -> Result<Progress> {
        loop {
            match self.process.poll()? {
                None if self.is_in_wait && self.process.is_asleep() => return Ok(Progress::Sleeps),
                None => thread::yield_now(),
                Some(Event::Marked) => return Ok(Progress::HasPermit),
                Some(Event::SystemCall) => {
                    self.is_in_kernel = !self.is_in_kernel;
                    self.is_in_wait = self.is_in_kernel && is_wait(&self.process)?;
                    if self.is_in_wait {
                        unbind_sleep(&self.process)?;
                    }
                    if !self.is_in_kernel {
                        let registers = self.process.registers()?;
                        self.clock.show(&self.process, registers.orig_rax, &registers)?;
                    }
                    self.process.resume(Resume::ToSystemCall)?;
                }
                Some(event) => return Err(Error::Failure(format!("the waiter: {event:?}"))),
            }
        }
    }
}
