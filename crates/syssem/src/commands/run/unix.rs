//! `run` on Unix: replaces this process by the command, or passes signals on to a child.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};
use system_semaphore::SystemSemaphore;

use crate::cli::RunArgs;
use crate::commands::run::command::{command, report_acquired, start_error};
use crate::error::{CliError, FAILURE};
use crate::semaphore::{acquire, acquire_error};

/// Acquires permits that survive `exec`, and executes the command.
///
/// With `--fork` the command is a child, and this process returns the child's exit status.
pub(crate) fn become_command(
    args: &RunArgs,
    semaphore: &SystemSemaphore,
    start: Instant,
) -> Result<u8, CliError> {
    let capabilities = semaphore.capabilities();
    let deadline = args.wait_args.deadline();
    let inheritable = if capabilities.inheritable_permits {
        let permit = semaphore.acquire_inheritable(args.count, deadline);
        Some(permit.map_err(|error| acquire_error(error, &args.wait_args))?)
    } else {
        None
    };
    if inheritable.is_none() {
        if !capabilities.returns_on_death {
            return Err(CliError::failed(format!(
                "the permits of {} stay acquired when a command ends; use --close, with which syssem \
                 waits for the command and releases them",
                semaphore.native_key()
            )));
        }
        // The kernel's undo list of this process survives `exec`.
        acquire(semaphore, args.count, &args.wait_args)?.detach();
    }
    report_acquired(args, semaphore, start);
    if args.fork {
        return Ok(end_as(run_to_end(args)?));
    }
    Err(start_error(&args.command[0], &command(args).exec()))
}

/// Starts the command as a child, passes signals on to it, and waits until it ends.
pub(crate) fn run_to_end(args: &RunArgs) -> Result<ExitStatus, CliError> {
    let signals = [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2];
    // The handlers must exist before the child does, or else its SIGCHLD could be missed.
    let mut signals =
        SignalsInfo::<WithOrigin>::new(signals).map_err(|error| CliError::failed(error.to_string()))?;
    let mut child = command(args).spawn().map_err(|error| start_error(&args.command[0], &error))?;
    loop {
        let status = child.try_wait().map_err(|error| CliError::failed(error.to_string()))?;
        if let Some(status) = status {
            return Ok(status);
        }
        for Origin { signal, cause, .. } in signals.wait() {
            // The terminal sends its signals to the whole process group, which includes the
            // command.
            if signal != SIGCHLD
                && matches!(cause, Cause::Sent(_))
                && let Some(signal) = Signal::from_named_raw(signal)
            {
                let _ = kill_process(Pid::from_child(&child), signal);
            }
        }
    }
}

/// Ends this process by the command's signal, or returns the command's exit status.
pub(crate) fn end_as(status: ExitStatus) -> u8 {
    if let Some(signal) = status.signal() {
        // The command has already dumped core if its limit allows that. This process must not.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        let _ = emulate_default_handler(signal);
        return 128_u8.wrapping_add(signal as u8);
    }
    status.code().map_or(FAILURE, |code| code as u8)
}
