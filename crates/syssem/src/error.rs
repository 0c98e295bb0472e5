//! Why a command fails, and the exit status that says so.

use std::io;

use serde_json::json;
use system_semaphore::{Error, ErrorKind};

use crate::output::warn;

/// The exit status for wrong usage and for failures of syssem itself.
pub(crate) const FAILURE: u8 = 125;

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The library reported an error.
    Semaphore(Error),
    /// Not enough permits became free in time. The number is the exit status.
    Busy(Error, u8),
    /// Standard output could not be written.
    Output(io::Error),
    /// Any other failure: its message and the exit status.
    Other(String, u8),
}

impl CliError {
    /// Creates an error with the exit status of syssem's own failures.
    pub(crate) fn failed(message: String) -> Self {
        Self::Other(message, FAILURE)
    }

    /// Returns the exit status of the program.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Busy(_, code) | Self::Other(_, code) => *code,
            Self::Semaphore(_) | Self::Output(_) => FAILURE,
        }
    }

    /// Prints the error on standard error. Without `json`, a busy semaphore prints nothing.
    pub(crate) fn print(&self, json: bool) {
        let (kind, key, message) = match self {
            Self::Semaphore(error) | Self::Busy(error, _) => {
                (format!("{:?}", error.kind()), Some(error.key()), with_advice(error))
            }
            Self::Output(error) => {
                ("Unknown".to_owned(), None, format!("cannot write to standard output: {error}"))
            }
            Self::Other(message, _) => ("Unknown".to_owned(), None, message.clone()),
        };
        if json {
            eprintln!("{}", json!({ "error": { "kind": kind, "key": key, "message": message } }));
        } else if !matches!(self, Self::Busy(..)) {
            warn(message);
        }
    }
}

/// Returns the error's message, with the options or commands that help.
fn with_advice(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            format!("{error}\n(`syssem list` lists existing semaphores, `syssem create` creates one)")
        }
        ErrorKind::AlreadyExists => {
            format!(
                "{error}\n(`--exist-ok` accepts an existing semaphore, `syssem reset` sets its free permits)"
            )
        }
        _ => error.to_string(),
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        Self::Semaphore(error)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
