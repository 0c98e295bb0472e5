//! Calls the command that the command line names.

use crate::cli::{Cli, Command};
use crate::commands::{
    completions, create, doctor, key, list, manual, release, remove, reset, run, show, take, watch,
};
use crate::error::CliError;
use crate::output::Output;

/// Executes the command and returns the exit status.
pub(crate) fn dispatch(cli: Cli) -> Result<u8, CliError> {
    let output = Output::new(cli.json);
    match cli.command {
        Command::Run(args) => run::execute(&args),
        Command::Create(args) => create::execute(&args, &output),
        Command::Take(args) => take::execute(&args, &output),
        Command::Release(args) => release::execute(&args, &output),
        Command::Reset(args) => reset::execute(&args, &output),
        Command::Remove(args) => remove::execute(&args, &output),
        Command::List(args) => list::execute(&args, &output),
        Command::Show(args) => show::execute(&args, &output),
        Command::Watch(args) => watch::execute(&args, &output),
        Command::Key(args) => key::execute(&args, &output),
        Command::Doctor(args) => doctor::execute(&args, &output),
        Command::Completions(args) => completions::execute(&args),
        Command::Manual(args) => manual::execute(&args),
    }
}
