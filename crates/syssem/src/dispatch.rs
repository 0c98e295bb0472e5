//! From the command line to its command.

use crate::cli::{Arguments, Command};
use crate::commands::{
    completions, create, doctor, key, list, manual, release, remove, reset, run, show, take, watch,
};
use crate::error::Trouble;
use crate::output::Answer;

pub(crate) fn obey(arguments: Arguments) -> Result<u8, Trouble> {
    let answer = Answer::new(arguments.json);
    match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Create(options) => create::create(&options, &answer),
        Command::Take(options) => take::take(&options, &answer),
        Command::Release(options) => release::release(&options, &answer),
        Command::Reset(options) => reset::reset(&options, &answer),
        Command::Remove(options) => remove::remove(&options, &answer),
        Command::Key(options) => key::show(&options, &answer),
        Command::List(options) => list::list(&options, &answer),
        Command::Show(options) => show::show(&options, &answer),
        Command::Watch(options) => watch::watch(&options, &answer),
        Command::Doctor(options) => doctor::doctor(&options, &answer),
        Command::Completions { shell } => completions::complete(shell),
        Command::Manual { directory } => manual::write_manual(&directory),
    }
}
