//! The way that a process goes along a path, instruction by instruction, and how to bring another one to the same place.
//!
//! A path is walked once in single steps, and each instruction's address is noted. Since every process of ours has the
//! same addresses, another one can then be let run to an instruction, by a breakpoint, which costs as little as a step;
//! only where that would stop it too often, in a loop, the rest is steps again.

use std::collections::HashMap;
use std::io;

use super::Error;
use super::clock::Clock;
use test_support::ptrace::{Event, MARK, Resume, SYSTEM_CALL, Tracee};

/// What is done while the process sleeps, so that it wakes up.
pub(crate) type Alarm<'a> = &'a mut dyn FnMut() -> Result<(), Error>;

/// The addresses of a path's instructions, in their order; the last is that of the mark at its end.
pub(crate) struct Trace {
    addresses: Vec<u64>,
    /// How often each was come to until then, since the beginning or the last sleep.
    visits: Vec<usize>,
    /// Which of them are system calls.
    pub(crate) calls: Vec<usize>,
    /// In which of these it sleeps: to be woken in the last, in the others until its time is up.
    sleeps: Vec<usize>,
}

impl Trace {
    /// Walks from the mark at which the process stands to the next.
    pub(crate) fn record(tracee: &mut Tracee, timed_sleeps: usize, alarm: Alarm<'_>) -> Result<Self, Error> {
        let mut trace =
            Self { addresses: Vec::new(), visits: Vec::new(), calls: Vec::new(), sleeps: Vec::new() };
        let mut visits = HashMap::new();
        let mut clock = Clock::default();
        loop {
            let registers = tracee.registers()?;
            let mut code = [0; 2];
            tracee.memory().read(registers.rip, &mut code)?;
            let visit: &mut usize = visits.entry(registers.rip).or_default();
            *visit += 1;
            trace.visits.push(*visit);
            trace.addresses.push(registers.rip);
            if code[0] == MARK {
                return Ok(trace);
            }
            if code != SYSTEM_CALL {
                step(tracee)?;
                continue;
            }
            let here = trace.addresses.len() - 1;
            trace.calls.push(here);
            if is_wait(tracee)? {
                visits.clear();
                clock.go_on();
                if trace.sleeps.len() < timed_sleeps {
                    step(tracee)?;
                } else {
                    sleep(tracee, alarm)?;
                }
                trace.sleeps.push(here);
            } else {
                step(tracee)?;
            }
            clock.show(tracee, registers.rax, &registers)?;
        }
    }

    /// How many instructions it has.
    pub(crate) fn length(&self) -> usize {
        self.addresses.len() - 1
    }

    /// Brings a process, which stands where the path begins, to where it has done so many instructions.
    pub(crate) fn walk(
        &self,
        tracee: &mut Tracee,
        target: usize,
        mode: FollowMode,
        alarm: Alarm<'_>,
    ) -> Result<(), Error> {
        let mut clock = Clock::default();
        let mut from = 0;
        for (number, at) in self.sleeps.iter().enumerate().take_while(|(_, at)| target > **at) {
            self.leg(tracee, from, *at, mode, &mut clock)?;
            if number + 1 < self.sleeps.len() {
                step(tracee)?;
            } else {
                sleep(tracee, alarm)?;
            }
            clock.go_on();
            from = at + 1;
        }
        self.leg(tracee, from, target, mode, &mut clock)
    }

    fn leg(
        &self,
        tracee: &mut Tracee,
        from: usize,
        target: usize,
        mode: FollowMode,
        clock: &mut Clock,
    ) -> Result<(), Error> {
        // a stop at each visit, then a step for each instruction
        let cost = |stop: &usize| self.visits[*stop] + (target - stop);
        let is_good = |stop: &usize| match mode {
            FollowMode::Exact => true,
            FollowMode::Loose => self.visits[*stop] == 1,
            FollowMode::Literal => *stop == from,
        };
        let stop = (from..=target).filter(is_good).min_by_key(cost).expect("the first is good");
        if stop > from {
            tracee.set_breakpoint(Some(self.addresses[stop]))?;
            for _ in 0..self.visits[stop] {
                run(tracee, clock)?;
                self.check(tracee, stop)?;
            }
            tracee.set_breakpoint(None)?;
        }
        for next in stop + 1..=target {
            careful_step(tracee, clock)?;
            if mode == FollowMode::Exact {
                self.check(tracee, next)?;
            }
        }
        Ok(())
    }

    /// That the process stands there.
    fn check(&self, tracee: &Tracee, place: usize) -> Result<(), Error> {
        if tracee.registers()?.rip == self.addresses[place] { Ok(()) } else { Err(Error::Diverged) }
    }
}

/// One step. It must not sleep in it, which is for [`sleep`].
fn careful_step(tracee: &mut Tracee, clock: &mut Clock) -> Result<(), Error> {
    let registers = tracee.registers()?;
    let mut code = [0; 2];
    tracee.memory().read(registers.rip, &mut code)?;
    let is_call = code == SYSTEM_CALL;
    if is_call && is_wait(tracee)? {
        return Err(Error::Diverged);
    }
    step(tracee)?;
    if is_call {
        clock.show(tracee, registers.rax, &registers)?;
    }
    Ok(())
}

/// Lets it go on to its breakpoint. On its way it must not sleep either.
fn run(tracee: &mut Tracee, clock: &mut Clock) -> Result<(), Error> {
    let mut is_in_kernel = false;
    loop {
        tracee.resume(Resume::ToSystemCall)?;
        match tracee.wait()? {
            Event::SystemCall => is_in_kernel = !is_in_kernel,
            event => return has_arrived(event),
        }
        if is_in_kernel && is_wait(tracee)? {
            return Err(Error::Diverged);
        }
        if !is_in_kernel {
            let registers = tracee.registers()?;
            clock.show(tracee, registers.orig_rax, &registers)?;
        }
    }
}

/// How closely a trace is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowMode {
    /// To this very address.
    Exact,
    /// To one that each process comes to, and from there so many instructions: a loop may run more or less often in another
    /// process (over the digits of a number that the kernel tells).
    Loose,
    /// Step by step, as slowly as it was recorded: who goes with another thread depends on who is faster.
    Literal,
}

pub(crate) fn step(tracee: &mut Tracee) -> Result<(), Error> {
    tracee.resume(Resume::OneInstruction)?;
    has_arrived(tracee.wait()?)
}

fn has_arrived(event: Event) -> Result<(), Error> {
    match event {
        Event::Arrived => Ok(()),
        Event::Marked => Err(Error::Diverged),
        event => Err(Error::Failure(format!("the stepped process: {event:?}"))),
    }
}

/// Whether the process is about to wait for a permit. (Waits for its own threads are private.)
pub(crate) fn is_wait(tracee: &Tracee) -> io::Result<bool> {
    let registers = tracee.registers()?;
    // where it has entered the kernel already, the number is here
    let call =
        if registers.rax as i64 == -i64::from(libc::ENOSYS) { registers.orig_rax } else { registers.rax };
    let is_futex = call == libc::SYS_futex as u64;
    Ok(is_futex && registers.rsi as i32 == libc::FUTEX_WAIT_BITSET)
}

/// Takes the bound off the sleep that the process is about to begin: nothing but a wake-up is to end it.
pub(crate) fn unbind_sleep(tracee: &Tracee) -> io::Result<()> {
    let mut registers = tracee.registers()?;
    registers.r10 = 0;
    tracee.set_registers(&registers)
}

/// Lets it fall asleep, raises the alarm, and has it wake up.
fn sleep(tracee: &mut Tracee, alarm: Alarm<'_>) -> Result<(), Error> {
    unbind_sleep(tracee)?;
    tracee.resume(Resume::OneInstruction)?;
    while !tracee.is_asleep() {
        if tracee.poll()?.is_some() {
            return Err(Error::Diverged);
        }
        std::thread::yield_now();
    }
    alarm()?;
    if tracee.is_asleep() {
        return Err(Error::Failure("who sleeps was not woken".to_owned()));
    }
    has_arrived(tracee.wait()?)
}
