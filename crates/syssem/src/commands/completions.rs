//! `completions`: prints a completion script.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::error::CliError;

pub(crate) fn execute(args: &CompletionsArgs) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "syssem", &mut script);
    io::stdout().write_all(&script)?;
    Ok(0)
}
