//! `syssem`: the counting semaphores of this machine from the command line.
//!
//! - `cli` defines the command line. Completions and manual pages are generated from it.
//! - `dispatch` calls the command, which is one file in `commands`.
//! - `report` describes semaphores and their users. `output` prints, `error` explains failures.
//! - `semaphore` opens and acquires, for all commands that do so.

mod cli;
mod commands;
mod dispatch;
mod error;
mod output;
mod report;
mod semaphore;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::dispatch::dispatch;
use crate::error::{CliError, FAILURE};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap reports --help and --version as errors, too.
            let code = if error.use_stderr() { FAILURE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let json = cli.json;
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        // A reader that closes the pipe, such as `head`, needs no more output.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            error.print(json);
            ExitCode::from(error.exit_code())
        }
    }
}
