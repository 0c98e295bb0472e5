//! `manual`: writes the manual pages.

use std::fs;

use clap::CommandFactory;

use crate::cli::{Cli, ManualArgs};
use crate::error::CliError;

pub(crate) fn execute(args: &ManualArgs) -> Result<u8, CliError> {
    let directory = &args.directory;
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .map_err(|error| CliError::failed(format!("cannot write to {}: {error}", directory.display())))?;
    Ok(0)
}
