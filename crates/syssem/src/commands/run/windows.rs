//! `run` on Windows, where no process can become another program: the command is always a child.

use std::process::{self, ExitStatus};

use crate::cli::RunArgs;
use crate::commands::run::command::{command, start_error};
use crate::error::{CliError, FAILURE};

/// Starts the command as a child and waits until it ends.
///
/// The console sends Ctrl+C and Ctrl+Break to the command as well. This process ignores them, so
/// that the command decides.
pub(crate) fn run_to_end(args: &RunArgs) -> Result<ExitStatus, CliError> {
    ctrlc::set_handler(|| {}).map_err(|error| CliError::failed(error.to_string()))?;
    command(args).status().map_err(|error| start_error(&args.command[0], &error))
}

/// Ends this process with the command's exit status, which has 32 bits on Windows.
pub(crate) fn end_as(status: ExitStatus) -> u8 {
    process::exit(status.code().unwrap_or(FAILURE.into()))
}
