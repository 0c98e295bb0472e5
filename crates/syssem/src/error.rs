//! Why a command fails, and its exit status.

use std::io;

use serde_json::json;
use system_semaphore::{Error, ErrorKind};

use crate::output::say;

/// Our own failure, and wrong usage.
pub(crate) const FAILURE: u8 = 125;

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
