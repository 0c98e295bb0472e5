//! `completions`.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Arguments;
use crate::error::Trouble;

pub(crate) fn complete(shell: Shell) -> Result<u8, Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "syssem", &mut script);
    io::stdout().write_all(&script)?;
    Ok(0)
}
