//! `run`: acquires permits and becomes the command.

mod command;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::time::Instant;

use system_semaphore::{AccessMode, KeyType, SystemSemaphore};

use self::command::report_acquired;
#[cfg(unix)]
use self::unix as platform;
#[cfg(windows)]
use self::windows as platform;
use crate::cli::RunArgs;
use crate::error::CliError;
use crate::output::warn;
use crate::report::ProcessReport;
use crate::semaphore::acquire;

pub(crate) fn execute(args: &RunArgs) -> Result<u8, CliError> {
    let semaphore = open(args)?;
    let start = Instant::now();
    if args.verbose {
        announce_wait(args, &semaphore);
    }
    #[cfg(unix)]
    if !args.close {
        return platform::become_command(args, &semaphore, start);
    }
    hold_while_command_runs(args, &semaphore, start)
}

/// Acquires permits, waits until the command ends, and releases them.
fn hold_while_command_runs(
    args: &RunArgs,
    semaphore: &SystemSemaphore,
    start: Instant,
) -> Result<u8, CliError> {
    let permit = acquire(semaphore, args.count, &args.wait_args)?;
    report_acquired(args, semaphore, start);
    let status = platform::run_to_end(args);
    // `end_as` may end this process by a signal, so the permit must be released first.
    permit.release()?;
    Ok(platform::end_as(status?))
}

fn open(args: &RunArgs) -> Result<SystemSemaphore, CliError> {
    let mode = if args.create { AccessMode::Create } else { AccessMode::Open };
    let key = args.key.native_key()?;
    // The creator of such a semaphore removes it on close, even if it has other users. A persistent
    // one stays, so that they still find it after this process has ended.
    let removed_by_creator = matches!(key.key_type(), KeyType::SystemV(_) | KeyType::Posix);
    let permits = args.permits.unwrap_or(1);
    let semaphore = SystemSemaphore::builder(key)
        .mode(mode)
        .initial_value(permits)
        .persistent(removed_by_creator)
        .build()?;
    warn_if_limit_differs(args, &semaphore);
    Ok(semaphore)
}

/// Warns if the semaphore was created with another number of permits, because all users must
/// mean the same limit.
fn warn_if_limit_differs(args: &RunArgs, semaphore: &SystemSemaphore) {
    let permits = args.permits.unwrap_or(1);
    let Ok(initial_value) = semaphore.initial_value() else { return };
    // `syssem create` has fixed the limit, and this user did not ask for another one.
    let accepts_any_limit = args.permits.is_none() && semaphore.is_persistent().unwrap_or(false);
    if initial_value != permits && !accepts_any_limit {
        let key = semaphore.native_key();
        warn(format_args!(
            "warning: {key} was created with {initial_value} permits, not {permits}, and is unchanged; \
             --create would set the number"
        ));
    }
}

/// Prints the holders if too few permits are free.
fn announce_wait(args: &RunArgs, semaphore: &SystemSemaphore) {
    match semaphore.available_permits() {
        Ok(available) if available < args.count => {}
        _ => return,
    }
    let holders = semaphore.holders().unwrap_or_default();
    let names: Vec<String> = holders
        .iter()
        .map(|holder| {
            let process = ProcessReport::from(holder);
            let age = process.age().map_or_else(String::new, |age| format!(", for {age}"));
            format!("{} ({}{age})", process.name(), holder.permits)
        })
        .collect();
    let held = if names.is_empty() { String::new() } else { format!("; held by {}", names.join(", ")) };
    warn(format_args!("waiting for {}{held}", semaphore.native_key()));
}
