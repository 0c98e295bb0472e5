//! Signals, and what the kernel tells of a process.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Failure, Puppet, TEST_TIMEOUT, parse, wait_until};
use crate::process;
use crate::unsafe_calls::signal;

impl Puppet {
    /// From here on it can sleep nowhere but in what it was told to do.
    pub(super) fn see_it_block(&self, command: &str) {
        wait_until(format_args!("process {} blocks in {command:?}", self.pid()), || self.is_asleep());
    }

    /// Stops it with SIGSTOP and waits until it stands still.
    pub fn stop(&self) {
        signal::send(self.pid(), libc::SIGSTOP);
        wait_until(format_args!("process {} stops", self.pid()), || process::is_stopped(self.pid()));
    }

    /// Lets it go on after a stop.
    pub fn resume(&self) {
        signal::send(self.pid(), libc::SIGCONT);
    }

    /// Sends it SIGUSR1.
    pub fn signal(&self) {
        signal::send(self.pid(), libc::SIGUSR1);
    }

    /// Sends it SIGUSR1 until it answers: two signals that come at once count as one.
    pub fn signal_until_answer(&mut self) -> Result<String, Failure> {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while Instant::now() < deadline {
            self.signal();
            if let Ok(line) = self.answers.recv_timeout(Duration::from_millis(1)) {
                return parse(&line);
            }
        }
        panic!("process {} does not answer to signals", self.pid())
    }

    /// Whether it sleeps at this moment.
    pub fn is_asleep(&self) -> bool {
        process::is_asleep(self.pid())
    }

    /// How often it has gone to sleep of its own accord.
    pub fn sleep_count(&self) -> u64 {
        naps(&self.pid().to_string())
    }
}

/// How often this thread has gone to sleep of its own accord.
pub fn own_sleep_count() -> u64 {
    naps("thread-self")
}

fn naps(process: &str) -> u64 {
    process::voluntary_switches(&Path::new("/proc").join(process)).expect("the process lives")
}
