//! The command line.

use lexopt::{Arg, Parser, ValueExt};

use crate::{Result, shapes};

pub(crate) enum Command {
    /// Be a process that is measured.
    Worker(String),
    Measure(Settings),
    /// Write the documents again from the samples of the last full run.
    Write,
}

#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Only whether everything works.
    pub(crate) quick: bool,
    /// The worst of 1,000 deaths, the longest wait of a minute.
    pub(crate) long: bool,
    pub(crate) rounds: usize,
    /// None: all.
    pub(crate) shapes: Vec<String>,
    /// None: all.
    pub(crate) contestants: Vec<String>,
}

impl Command {
    pub(crate) fn from_arguments() -> Result<Self> {
        let mut settings = Settings { quick: false, long: false, rounds: 11, ..Settings::default() };
        let mut arguments = Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Arg::Long("worker") => return Ok(Self::Worker(arguments.value()?.string()?)),
                Arg::Long("write") => return Ok(Self::Write),
                Arg::Long("quick") => (settings.quick, settings.rounds) = (true, 1),
                Arg::Long("long") => settings.long = true,
                Arg::Long("rounds") => settings.rounds = arguments.value()?.parse()?,
                Arg::Long("only") => settings.contestants.push(arguments.value()?.string()?),
                Arg::Value(shape) => settings.shapes.push(shape.string()?),
                _ => return Err(argument.unexpected().into()),
            }
        }
        are_known("shape", &settings.shapes, shapes::ALL.iter().map(|shape| shape.name))?;
        let contestants = shapes::ALL.iter().flat_map(|shape| (shape.contestants)());
        are_known("contestant", &settings.contestants, contestants)?;
        Ok(Self::Measure(settings))
    }
}

impl Settings {
    pub(crate) fn wants(&self, shape: &str) -> bool {
        self.shapes.is_empty() || self.shapes.iter().any(|name| name == shape)
    }

    pub(crate) fn wants_of(&self, contestant: &str) -> bool {
        self.contestants.is_empty() || self.contestants.iter().any(|name| name == contestant)
    }

    /// Whether its samples replace those that are in the documents.
    pub(crate) fn is_for_documents(&self) -> bool {
        !self.quick && self.shapes.is_empty() && self.contestants.is_empty()
    }

    /// One or the other, as it is quick or not.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

fn are_known(what: &str, asked: &[String], known: impl Iterator<Item = &'static str>) -> Result<()> {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    match asked.iter().find(|asked| !known.contains(&asked.as_str())) {
        Some(unknown) => Err(format!("there is no {what} {unknown:?}, but: {}", known.join("; ")).into()),
        None => Ok(()),
    }
}
