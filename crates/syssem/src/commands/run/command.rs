//! The command that is run.

use std::ffi::OsStr;
use std::io;
use std::process::Command;
use std::time::Instant;

use system_semaphore::SystemSemaphore;

use crate::cli::Run;
use crate::error::Trouble;
use crate::output::say;

/// The exit status where the command was found but cannot be executed, and where it was not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub(crate) fn command(options: &Run) -> Command {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    command
}

pub(crate) fn not_started(command: &OsStr, error: &io::Error) -> Trouble {
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    Trouble::Other(format!("cannot execute {}: {error}", command.display()), code)
}

pub(crate) fn tell_wait(options: &Run, semaphore: &SystemSemaphore, begin: Instant) {
    if options.verbose {
        let seconds = begin.elapsed().as_secs_f64();
        say(format_args!("got {} of {} after {seconds:.3} s", options.count, semaphore.native_key()));
    }
}
