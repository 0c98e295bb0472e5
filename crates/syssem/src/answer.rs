//! What is printed: tables for people, JSON for programs.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;
use system_semaphore::{Error, ErrorKind};

use crate::FAILURE;

/// How answers are printed.
pub(crate) struct Answer {
    json: bool,
}

impl Answer {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a value as JSON, or what people read.
    pub(crate) fn give(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)?;
        } else {
            out.write_all(text().as_bytes())?;
        }
        out.flush()
    }
}

/// Why a command ends without having done what it was told to.
#[derive(Debug)]
pub(crate) enum Trouble {
    Semaphore(Error),
    /// There were not enough permits in time; what to exit with.
    Busy(Error, u8),
    Output(io::Error),
    /// Anything else, and what to exit with.
    Other(String, u8),
}

impl Trouble {
    pub(crate) fn failed(reason: String) -> Self {
        Self::Other(reason, FAILURE)
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Busy(_, code) | Self::Other(_, code) => *code,
            Self::Semaphore(_) | Self::Output(_) => FAILURE,
        }
    }

    /// Tells on standard error.
    pub(crate) fn report(&self, json: bool) {
        let (kind, key, text) = match self {
            Self::Semaphore(error) | Self::Busy(error, _) => {
                (format!("{:?}", error.kind()), Some(error.key()), advise(error))
            }
            Self::Output(error) => ("Unknown".to_owned(), None, format!("cannot write the answer: {error}")),
            Self::Other(reason, _) => ("Unknown".to_owned(), None, reason.clone()),
        };
        if json {
            eprintln!("{}", json!({ "error": { "kind": kind, "key": key, "message": text } }));
        } else if !matches!(self, Self::Busy(..)) {
            say(text);
        }
    }
}

/// The error's own text, and what to do at the command line.
fn advise(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            format!("{error}\n(`syssem list` shows what there is, `syssem create` makes one)")
        }
        ErrorKind::AlreadyExists => {
            format!("{error}\n(`--exist-ok` leaves it as it is, `syssem reset` sets its permits)")
        }
        _ => error.to_string(),
    }
}

/// Says something to people, on standard error.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "syssem: {text}");
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Semaphore(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
