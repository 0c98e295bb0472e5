//! The command line: commands, options and their values.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use system_semaphore::{ErrorKind, Key, KeyType, NativeIpcKey, Result, SystemSemaphore};

/// Limits how many processes on this machine do something at once
///
/// A counting semaphore is shared by processes and named by a key. A permit is one of the resources
/// that it counts. The permits of a holder return when it ends, however it ends.
///
/// Exit status: 125 for wrong usage and for failures of syssem itself. `run` and `take` exit with
/// 1, or with the CODE of -E, if there were not enough permits in time. `run` exits with 126 if the
/// command cannot be executed, with 127 if it is not found, and otherwise as the command does.
/// `doctor` exits with 1 if it has found a problem.
#[derive(Debug, Parser)]
#[command(name = "syssem", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print JSON: results on standard output, errors on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Create(CreateArgs),
    Take(TakeArgs),
    Release(ReleaseArgs),
    Reset(ResetArgs),
    Remove(RemoveArgs),
    List(ListArgs),
    Show(ShowArgs),
    Watch(WatchArgs),
    Key(NameArgs),
    Doctor(DoctorArgs),
    Completions(CompletionsArgs),
    Manual(ManualArgs),
}

/// The semaphore that a command uses.
#[derive(Debug, Args)]
pub(crate) struct KeyArg {
    /// A plain name, or the text form of a native key (robust:NAME, systemv:/KEY/FILE, posix:/NAME)
    #[arg(value_name = "KEY")]
    key: String,
    /// The type of semaphore that a plain name means: robust, systemv, posix or windows [default:
    /// the platform's best type]
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = parse_type)]
    key_type: Option<KeyType>,
}

impl KeyArg {
    /// Returns the native key of the semaphore.
    pub(crate) fn native_key(&self) -> Result<NativeIpcKey> {
        native_key(&self.key, self.key_type)
    }
}

/// Converts a plain name, or the text form of a native key, to a native key.
pub(crate) fn native_key(text: &str, key_type: Option<KeyType>) -> Result<NativeIpcKey> {
    let builder = |key: Key| match key_type {
        Some(key_type) => SystemSemaphore::builder(key).key_type(key_type).native_key(),
        None => SystemSemaphore::builder(key).native_key(),
    };
    let key = if has_type_prefix(text) { builder(Key::Native(text.parse()?)) } else { builder(text.into()) }?;
    Ok(match key.key_type() {
        // The name that a robust key was made from equals the native key. Printed keys need it only
        // once.
        KeyType::Robust => NativeIpcKey::new(key.native_key(), KeyType::Robust),
        _ => key,
    })
}

/// Returns whether the text starts with the name of a type, as the text form of a native key does.
fn has_type_prefix(text: &str) -> bool {
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
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| "the number of seconds is negative or too large".to_owned())
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("give permission bits in octal, such as 0660".to_owned()),
    }
}

/// How long a command waits for permits.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Do not wait: fail immediately if there are not enough permits
    #[arg(short, long, conflicts_with = "wait")]
    pub(crate) nonblock: bool,
    /// Wait at most this many seconds (fractions are allowed)
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) wait: Option<Duration>,
    /// The exit status if there were not enough permits in time
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 1)]
    pub(crate) conflict_exit_code: u8,
}

impl WaitArgs {
    /// Returns the end of a wait that begins now, or `None` if the wait has no limit.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.nonblock {
            Some(Instant::now())
        } else {
            self.wait.and_then(|wait| Instant::now().checked_add(wait))
        }
    }
}

/// Acquire permits and become a command
///
/// The command has syssem's process id, so that signals and the exit status are its own. The
/// permits belong to the command and all its children that keep the descriptor. They return when
/// the last of these processes ends, even by SIGKILL. If the semaphore does not exist, `run`
/// creates it, and its last user removes it.
///
/// Some programs close descriptors that they do not know: Python's subprocess, sudo, ssh and
/// daemons. Their children do not inherit the permits. With --fork the permits stay acquired at
/// least until the command ends.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The number of permits if the semaphore is created [default: 1]
    #[arg(short, long, value_name = "PERMITS")]
    pub(crate) permits: Option<u32>,
    /// The number of permits to acquire, all or none
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) wait_args: WaitArgs,
    /// Set the number of permits even if the semaphore is in use, which voids acquired permits
    #[arg(long)]
    pub(crate) create: bool,
    /// Wait for the command and share the permits with it: for commands that close descriptors
    #[arg(long)]
    pub(crate) fork: bool,
    /// Wait for the command and keep the permits from it: children that outlive the command hold
    /// none
    #[arg(long, conflicts_with = "fork")]
    pub(crate) close: bool,
    /// Print the holders before a wait, and its duration after it
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Create a semaphore that stays until it is removed
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The number of permits
    #[arg(short, long, value_name = "PERMITS", default_value_t = 1)]
    pub(crate) permits: u32,
    /// The largest number of free permits
    #[arg(long, value_name = "PERMITS")]
    pub(crate) max: Option<u32>,
    /// The permission bits, in octal; other users can use a robust semaphore only if it is named
    /// Global\NAME
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    pub(crate) mode: Option<u32>,
    /// Accept an existing semaphore and leave it unchanged
    #[arg(long)]
    pub(crate) exist_ok: bool,
}

/// Acquire permits without an owner: they stay taken until a process releases as many
#[derive(Debug, Args)]
pub(crate) struct TakeArgs {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The number of permits, all or none
    #[arg(value_name = "N", default_value_t = 1)]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) wait_args: WaitArgs,
}

/// Add permits
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The number of permits
    #[arg(value_name = "N", default_value_t = 1)]
    pub(crate) count: u32,
}

/// Set the number of free permits of an existing semaphore; on a robust one this voids acquired
/// permits
#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The number of free permits
    #[arg(value_name = "PERMITS")]
    pub(crate) permits: u32,
}

/// Remove semaphores, even if they are in use
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The keys
    #[arg(value_name = "KEY", required = true)]
    pub(crate) keys: Vec<String>,
    /// The type of semaphore that plain names mean
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = parse_type)]
    pub(crate) key_type: Option<KeyType>,
}

/// List the semaphores on this machine
///
/// Lists robust semaphores, System V sets and POSIX semaphores, Qt's among them. Only the first
/// semaphore of a System V set is shown, because only the program that created the set knows what
/// the others count.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// List the semaphores of all users
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// Show a semaphore: its value, its holders and its waiters
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) key: KeyArg,
}

/// Watch semaphores live, ten times a second, without disturbing their users
///
/// In a terminal, q or Ctrl+C ends it. With --json, or without a terminal, it prints a line after
/// each change.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The keys [default: all semaphores of this user, listed once a second]
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// The type of semaphore that plain names mean
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = parse_type)]
    pub(crate) key_type: Option<KeyType>,
}

/// Show the keys that a name becomes, for every type of semaphore
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Report what this machine supports, its limits, and stale semaphores with the commands that
/// remove them
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Remove stale robust semaphores, which certainly have no users
    #[arg(long)]
    pub(crate) clean: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// Write the manual pages into a directory
#[derive(Debug, Args)]
pub(crate) struct ManualArgs {
    /// The directory, which is created if it does not exist
    pub(crate) directory: PathBuf,
}
