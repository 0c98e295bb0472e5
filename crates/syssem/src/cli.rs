//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use system_semaphore::{ErrorKind, Key, KeyType, NativeIpcKey, Result, SystemSemaphore};

/// Limits across processes: at most so many of these at once on this machine
///
/// Counting semaphores shared by processes, named by a key. A permit is one of the resources that a semaphore counts;
/// however its holder ends, it comes back.
///
/// Exit status: 125 for wrong usage and for failures of syssem's own; `run` and `take` exit with 1, or the CODE of -E, if
/// there were not enough permits in time; `run` exits with 126 if the command cannot be executed and 127 if it is not found,
/// and else as the command does; `doctor` exits with 1 if it has found something.
#[derive(Debug, Parser)]
#[command(name = "syssem", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Print JSON: answers on standard output, errors on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Create(Create),
    Take(Take),
    Release(Release),
    Reset(Reset),
    Remove(Remove),
    List(List),
    Show(Show),
    Watch(Watch),
    Key(Name),
    Doctor(Doctor),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a directory
    Manual {
        /// The directory, which is made if need be
        directory: PathBuf,
    },
}

/// Which semaphore.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// A plain name, or the text form of a native key (robust:NAME, systemv:/KEY/FILE, posix:/NAME)
    #[arg(value_name = "KEY")]
    key: String,
    /// What type of semaphore a plain name means: robust, systemv, posix or windows [default: the best one of the platform]
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = parse_type)]
    key_type: Option<KeyType>,
}

impl Which {
    /// The native key.
    pub(crate) fn native(&self) -> Result<NativeIpcKey> {
        native(&self.key, self.key_type)
    }
}

/// The native key that a text means.
pub(crate) fn native(text: &str, key_type: Option<KeyType>) -> Result<NativeIpcKey> {
    let builder = |key: Key| match key_type {
        Some(key_type) => SystemSemaphore::builder(key).key_type(key_type).native_key(),
        None => SystemSemaphore::builder(key).native_key(),
    };
    let key = if names_a_type(text) { builder(Key::Native(text.parse()?)) } else { builder(text.into()) }?;
    Ok(match key.key_type() {
        // that it was made from a plain name says nothing more
        KeyType::Robust => NativeIpcKey::new(key.native_key(), KeyType::Robust),
        _ => key,
    })
}

/// Whether a text is meant to be a native key's, well-formed or not.
fn names_a_type(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    let scheme = scheme.to_ascii_lowercase();
    matches!(&*scheme, "robust" | "posix" | "windows" | "systemv") || scheme.starts_with("systemv-")
}

fn parse_type(text: &str) -> Result<KeyType, String> {
    match format!("{text}:").parse::<NativeIpcKey>() {
        Ok(key) if SystemSemaphore::is_key_type_supported(key.key_type()) => Ok(key.key_type()),
        Ok(key) => Err(format!("there are no {} semaphores on this platform", key.key_type())),
        Err(error) => {
            debug_assert_eq!(error.kind(), ErrorKind::KeyError);
            Err("the types are robust, systemv, systemv-N (N from 1 to 255), posix and windows".to_owned())
        }
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "it is no time to wait".to_owned())
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("give permission bits in octal, such as 0660".to_owned()),
    }
}

/// How long to wait.
#[derive(Debug, Args)]
pub(crate) struct Patience {
    /// Do not wait: fail at once if there are not enough permits
    #[arg(short, long, conflicts_with = "wait")]
    pub(crate) nonblock: bool,
    /// Wait no longer than so many seconds (fractions are allowed)
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) wait: Option<Duration>,
    /// The exit status if there were not enough permits in time
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 1)]
    pub(crate) conflict_exit_code: u8,
}

/// Take permits and become a command
///
/// The command has syssem's process id, so that signals and the exit status are its own. The permits follow it and all its
/// children that keep the descriptor, and come back when the last of them is gone, however it ends; also after SIGKILL. The
/// semaphore is made if it is not there, and goes with its last user.
///
/// A program that closes descriptors it does not know (Python's subprocess, sudo, ssh and daemons do) ends the permits' way
/// to its own children; with --fork they stay at least until the command ends.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many permits there are, if the semaphore is made [default: 1]
    #[arg(short, long, value_name = "PERMITS")]
    pub(crate) permits: Option<u32>,
    /// How many permits to take, all or none
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// Set the number of permits even if the semaphore is in use; permits taken before are void
    #[arg(long)]
    pub(crate) create: bool,
    /// Wait for the command, and keep the permits until it ends, too: for commands that close descriptors
    #[arg(long)]
    pub(crate) fork: bool,
    /// Wait for the command, and keep the permits to oneself: children that it leaves behind do not have them
    #[arg(long, conflicts_with = "fork")]
    pub(crate) close: bool,
    /// Tell how long it waited, and for whom
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Make a semaphore that stays until it is removed
#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many permits there are
    #[arg(short, long, value_name = "PERMITS", default_value_t = 1)]
    pub(crate) permits: u32,
    /// The most permits that there can be
    #[arg(long, value_name = "PERMITS")]
    pub(crate) max: Option<u32>,
    /// Who may use it, in octal; of robust semaphores only those named Global\NAME can be used by others
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    pub(crate) mode: Option<u32>,
    /// Leave one that is there as it is; else that is an error
    #[arg(long)]
    pub(crate) exist_ok: bool,
}

/// Take permits for good: nobody owes them, until somebody releases as many
#[derive(Debug, Args)]
pub(crate) struct Take {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many, all or none
    #[arg(value_name = "N", default_value_t = 1)]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// Create permits
#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many
    #[arg(value_name = "N", default_value_t = 1)]
    pub(crate) count: u32,
}

/// Set the number of free permits of a semaphore in use; on a robust one, permits taken before are void
#[derive(Debug, Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many permits there are then
    #[arg(value_name = "PERMITS")]
    pub(crate) permits: u32,
}

/// Remove semaphores, whoever uses them
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Their keys
    #[arg(value_name = "KEY", required = true)]
    pub(crate) keys: Vec<String>,
    /// What type of semaphore plain names mean
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = parse_type)]
    pub(crate) key_type: Option<KeyType>,
}

/// List the semaphores on this machine
///
/// Robust ones, System V sets and POSIX ones, Qt's among them. (What a System V set of a stranger's counts is known to its
/// makers alone; the first semaphore of each is shown.)
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those of all users, not only one's own
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// Show a semaphore: its value, who holds and who waits
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) which: Which,
}

/// Watch semaphores live, ten times a second, without disturbing anybody
///
/// In a terminal: q or Ctrl+C ends it. Elsewhere, and with --json, a line is printed whenever something has changed.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Their keys [default: all of this user's, among which new ones are looked for once a second]
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// What type of semaphore plain names mean
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = parse_type)]
    pub(crate) key_type: Option<KeyType>,
}

/// Show what a name becomes for every type of semaphore
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Tell what this machine supports, its limits, and what crashes have left, with the command that removes it
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Remove leftovers of robust semaphores, of which it is certain that nobody uses them
    #[arg(long)]
    pub(crate) clean: bool,
}
