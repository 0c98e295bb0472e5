//! The command that `run` starts, for all platforms.

use std::ffi::OsStr;
use std::io;
use std::process::Command;
use std::time::Instant;

use system_semaphore::SystemSemaphore;

use crate::cli::RunArgs;
use crate::error::CliError;
use crate::output::warn;

/// The exit status if the command exists but cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The exit status if the command does not exist.
const NOT_FOUND: u8 = 127;

/// Returns the command with its arguments.
pub(crate) fn command(args: &RunArgs) -> Command {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    command
}

/// Converts the error of a command that could not be started.
pub(crate) fn start_error(command: &OsStr, error: &io::Error) -> CliError {
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    CliError::Other(format!("cannot execute {}: {error}", command.display()), code)
}

/// Prints how long the acquire took, with `--verbose`.
pub(crate) fn report_acquired(args: &RunArgs, semaphore: &SystemSemaphore, start: Instant) {
    if args.verbose {
        let seconds = start.elapsed().as_secs_f64();
        warn(format_args!("got {} of {} after {seconds:.3} s", args.count, semaphore.native_key()));
    }
}
