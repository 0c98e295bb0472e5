//! `syssem`: counting semaphores of this machine from the command line.
//!
//! One file a command; `arguments.rs` defines the command line, from which completions and manual pages are made as well.

mod answer;
mod arguments;
mod change;
mod doctor;
mod key;
mod list;
mod run;
mod show;
mod sight;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use crate::answer::{Answer, Trouble};
use crate::arguments::{Arguments, Command};

/// Our own failure, and wrong usage.
const FAILURE: u8 = 125;

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

fn obey(arguments: Arguments) -> Result<u8, Trouble> {
    let answer = Answer::new(arguments.json);
    match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Create(options) => change::create(&options, &answer),
        Command::Take(options) => change::take(&options, &answer),
        Command::Release(options) => change::release(&options, &answer),
        Command::Reset(options) => change::reset(&options, &answer),
        Command::Remove(options) => change::remove(&options, &answer),
        Command::Key(options) => key::show(&options, &answer),
        Command::List(options) => list::list(&options, &answer),
        Command::Show(options) => show::show(&options, &answer),
        Command::Watch(options) => watch::watch(&options, &answer),
        Command::Doctor(options) => doctor::doctor(&options, &answer),
        Command::Completions { shell } => complete(shell),
        Command::Manual { directory } => write_manual(&directory),
    }
}

fn complete(shell: Shell) -> Result<u8, Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "syssem", &mut script);
    io::stdout().write_all(&script)?;
    Ok(0)
}

fn write_manual(directory: &std::path::Path) -> Result<u8, Trouble> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), directory))
        .map_err(|error| Trouble::failed(format!("cannot write to {}: {error}", directory.display())))?;
    Ok(0)
}
