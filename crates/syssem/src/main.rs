//! `syssem`: counting semaphores of this machine from the command line.
//!
//! One file a command in `commands`; `cli.rs` defines the command line, from which completions and manual pages are made as well.

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

use crate::cli::Arguments;
use crate::dispatch::obey;
use crate::error::{FAILURE, Trouble};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // help and version come here, too
            let code = if error.use_stderr() { FAILURE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let json = arguments.json;
    match obey(arguments) {
        Ok(code) => ExitCode::from(code),
        // who does not read on does not want more
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(trouble) => {
            trouble.report(json);
            ExitCode::from(trouble.code())
        }
    }
}
