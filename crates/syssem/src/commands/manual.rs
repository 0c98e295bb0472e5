//! `manual`.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Arguments;
use crate::error::Trouble;

pub(crate) fn write_manual(directory: &Path) -> Result<u8, Trouble> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), directory))
        .map_err(|error| Trouble::failed(format!("cannot write to {}: {error}", directory.display())))?;
    Ok(0)
}
