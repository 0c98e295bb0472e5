//! Where no program becomes another one: the command is a child, and its permits are ours until it has ended.

use std::process::{self, ExitStatus};

use crate::cli::Run;
use crate::commands::run::command::{command, not_started};
use crate::error::{FAILURE, Trouble};

/// Starts the command and waits until it ends. Ctrl+C and Ctrl+Break go to the command as well, and what it makes of them
/// is what counts.
pub(super) fn wait_for(options: &Run) -> Result<ExitStatus, Trouble> {
    ctrlc::set_handler(|| {}).map_err(|error| Trouble::failed(error.to_string()))?;
    command(options).status().map_err(|error| not_started(&options.command[0], &error))
}

/// Ends with the same exit status, which has 32 bits here.
pub(super) fn end_as(status: ExitStatus) -> u8 {
    process::exit(status.code().unwrap_or(FAILURE.into()))
}
