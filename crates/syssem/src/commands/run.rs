//! `run`: takes permits and becomes the command.

mod command;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::time::Instant;

use system_semaphore::{AccessMode, KeyType, SystemSemaphore};

use self::command::tell_wait;
#[cfg(unix)]
use self::unix as platform;
#[cfg(windows)]
use self::windows as platform;
use crate::cli::Run;
use crate::error::Trouble;
use crate::output::say;
use crate::report::Process;

pub(crate) fn run(options: &Run) -> Result<u8, Trouble> {
    let semaphore = open(options)?;
    let begin = Instant::now();
    if options.verbose {
        announce_wait(options, &semaphore);
    }
    #[cfg(unix)]
    if !options.close {
        return platform::become_command(options, &semaphore, begin);
    }
    keep_and_wait(options, &semaphore, begin)
}

/// Takes permits, waits for the command, and gives them back.
fn keep_and_wait(options: &Run, semaphore: &SystemSemaphore, begin: Instant) -> Result<u8, Trouble> {
    let permit = options.patience.acquire(semaphore, options.count)?;
    tell_wait(options, semaphore, begin);
    let status = platform::wait_for(options);
    // before we end as the command did, which may be by a signal
    permit.release()?;
    Ok(platform::end_as(status?))
}

fn open(options: &Run) -> Result<SystemSemaphore, Trouble> {
    let mode = if options.create { AccessMode::Create } else { AccessMode::Open };
    let key = options.which.native()?;
    // where its maker would remove it, the others are still to find it when this process ends
    let is_makers = matches!(key.key_type(), KeyType::SystemV(_) | KeyType::Posix);
    let permits = options.permits.unwrap_or(1);
    let builder = SystemSemaphore::builder(key).mode(mode).initial_value(permits).persistent(is_makers);
    let semaphore = builder.build()?;
    warn_of_other_value(options, &semaphore);
    Ok(semaphore)
}

/// A limit is one only if all mean the same by it.
fn warn_of_other_value(options: &Run, semaphore: &SystemSemaphore) {
    let permits = options.permits.unwrap_or(1);
    let Ok(made_with) = semaphore.initial_value() else { return };
    // whoever made it to stay has decided, and only who says otherwise is told
    let is_decided = options.permits.is_none() && semaphore.is_persistent().unwrap_or(false);
    if made_with != permits && !is_decided {
        let key = semaphore.native_key();
        say(format_args!(
            "warning: {key} was made with {made_with} permits, not {permits}, and stays so; --create would set them"
        ));
    }
}

/// Tells for whom it is about to wait, if it has to.
fn announce_wait(options: &Run, semaphore: &SystemSemaphore) {
    match semaphore.available_permits() {
        Ok(available) if available < options.count => {}
        _ => return,
    }
    let holders = semaphore.holders().unwrap_or_default();
    let names: Vec<String> = holders
        .iter()
        .map(|holder| {
            let process = Process::from(holder);
            let age = process.age().map_or_else(String::new, |age| format!(", for {age}"));
            format!("{} ({}{age})", process.name(), holder.permits)
        })
        .collect();
    let held = if names.is_empty() { String::new() } else { format!("; held by {}", names.join(", ")) };
    say(format_args!("waiting for {}{held}", semaphore.native_key()));
}
