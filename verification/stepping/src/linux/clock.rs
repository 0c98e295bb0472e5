//! A clock that hardly moves, for a stepped process.

use std::collections::HashMap;
use std::io;

use test_support::ptrace::{Registers, Tracee};

/// A clock that hardly moves: steps are slow, and what is to be done in a moment would seem to take long.
#[derive(Default)]
pub(crate) struct Clock(HashMap<u64, [i64; 2]>);

/// What passes between two looks at the clock, in nanoseconds.
const TICK: i64 = 5_000;

impl Clock {
    /// Time passes again, until it is asked for.
    pub(crate) fn go_on(&mut self) {
        self.0.clear();
    }

    /// If the process has just read the clock, by the system call of these registers, it reads a little more than it has read before.
    pub(crate) fn show(&mut self, tracee: &Tracee, call: u64, registers: &Registers) -> io::Result<()> {
        if call != libc::SYS_clock_gettime as u64 {
            return Ok(());
        }
        let mut now = [0; 16];
        tracee.memory().read(registers.rsi, &mut now)?;
        let [seconds, nanoseconds] =
            [0, 8].map(|at| i64::from_ne_bytes(std::array::from_fn(|byte| now[at + byte])));
        let shown = self.0.entry(registers.rdi).or_insert([seconds, nanoseconds]);
        shown[1] += TICK;
        if shown[1] >= 1_000_000_000 {
            *shown = [shown[0] + 1, shown[1] - 1_000_000_000];
        }
        now[..8].copy_from_slice(&shown[0].to_ne_bytes());
        now[8..].copy_from_slice(&shown[1].to_ne_bytes());
        tracee.memory().write(registers.rsi, &now)
    }
}
