//! `run`: takes permits and becomes the command.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use system_semaphore::{AccessMode, KeyType, SystemSemaphore};

use crate::answer::{Trouble, say};
use crate::arguments::Run;
use crate::sight::Process;

/// The exit status where the command was found but cannot be executed, and where it was not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub(crate) fn run(options: &Run) -> Result<u8, Trouble> {
    let semaphore = open(options)?;
    let begin = Instant::now();
    if options.verbose {
        announce_wait(options, &semaphore);
    }
    let keeps_to_itself = options.close || cfg!(not(unix));
    if keeps_to_itself {
        let permit = options.patience.acquire(&semaphore, options.count)?;
        tell_wait(options, &semaphore, begin);
        let status = wait_for(options);
        // before we end as the command did, which may be by a signal
        permit.release()?;
        return Ok(end_as(status?));
    }
    become_command(options, &semaphore, begin)
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

/// Takes permits that go with this process, whatever it becomes, and becomes the command.
#[cfg(unix)]
fn become_command(options: &Run, semaphore: &SystemSemaphore, begin: Instant) -> Result<u8, Trouble> {
    use std::os::unix::process::CommandExt;

    let capabilities = semaphore.capabilities();
    let deadline = options.patience.deadline();
    let inherited = if capabilities.inheritable_permits {
        let permit = semaphore.acquire_inheritable(options.count, deadline);
        Some(permit.map_err(|error| options.patience.explain(error))?)
    } else {
        None
    };
    if inherited.is_none() {
        if !capabilities.returns_on_death {
            let reason = format!(
                "permits of {} do not come back by themselves when a command ends; use --close, with which syssem waits \
                 and gives them back",
                semaphore.native_key()
            );
            return Err(Trouble::failed(reason));
        }
        // the kernel's record of what the process owes outlives exec
        options.patience.acquire(semaphore, options.count)?.hold();
    }
    tell_wait(options, semaphore, begin);
    if options.fork {
        return Ok(end_as(wait_for(options)?));
    }
    Err(not_started(&options.command[0], &command(options).exec()))
}

#[cfg(not(unix))]
fn become_command(_: &Run, _: &SystemSemaphore, _: Instant) -> Result<u8, Trouble> {
    unreachable!("no program becomes another one here")
}

fn command(options: &Run) -> Command {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    command
}

fn not_started(command: &OsStr, error: &io::Error) -> Trouble {
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    Trouble::Other(format!("cannot execute {}: {error}", command.display()), code)
}

/// Starts the command, passes signals on to it, and waits until it ends.
#[cfg(unix)]
fn wait_for(options: &Run) -> Result<ExitStatus, Trouble> {
    use rustix::process::{Pid, Signal, kill_process};
    use signal_hook::consts::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    use signal_hook::iterator::SignalsInfo;
    use signal_hook::iterator::exfiltrator::WithOrigin;
    use signal_hook::low_level::siginfo::{Cause, Origin};

    let signals = [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2];
    // before there is a child whose end could be missed
    let mut signals =
        SignalsInfo::<WithOrigin>::new(signals).map_err(|error| Trouble::failed(error.to_string()))?;
    let mut child = command(options).spawn().map_err(|error| not_started(&options.command[0], &error))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        for Origin { signal, cause, .. } in signals.wait() {
            // what the terminal sends, it sends to the command, too
            if signal != SIGCHLD
                && matches!(cause, Cause::Sent(_))
                && let Some(signal) = Signal::from_named_raw(signal)
            {
                let _ = kill_process(Pid::from_child(&child), signal);
            }
        }
    }
}

/// Ends by the same signal, or tells with which exit status.
#[cfg(unix)]
fn end_as(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Resource, Rlimit, setrlimit};
    use signal_hook::low_level::emulate_default_handler;

    if let Some(signal) = status.signal() {
        // the command has left a core, if there is to be one
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        let _ = emulate_default_handler(signal);
        return 128_u8.wrapping_add(signal as u8);
    }
    status.code().map_or(crate::FAILURE, |code| code as u8)
}

#[cfg(not(unix))]
fn wait_for(options: &Run) -> Result<ExitStatus, Trouble> {
    command(options).status().map_err(|error| not_started(&options.command[0], &error))
}

#[cfg(not(unix))]
fn end_as(status: ExitStatus) -> u8 {
    std::process::exit(status.code().unwrap_or(crate::FAILURE.into()))
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

fn tell_wait(options: &Run, semaphore: &SystemSemaphore, begin: Instant) {
    if options.verbose {
        let seconds = begin.elapsed().as_secs_f64();
        say(format_args!("got {} of {} after {seconds:.3} s", options.count, semaphore.native_key()));
    }
}
