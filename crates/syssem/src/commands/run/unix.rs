//! Where a program becomes another one, and passes signals on to one that it waits for.

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

use crate::cli::Run;
use crate::commands::run::command::{command, not_started, tell_wait};
use crate::error::{FAILURE, Trouble};

/// Takes permits that go with this process, whatever it becomes, and becomes the command.
pub(super) fn become_command(
    options: &Run,
    semaphore: &SystemSemaphore,
    begin: Instant,
) -> Result<u8, Trouble> {
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

/// Starts the command, passes signals on to it, and waits until it ends.
pub(super) fn wait_for(options: &Run) -> Result<ExitStatus, Trouble> {
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
pub(super) fn end_as(status: ExitStatus) -> u8 {
    if let Some(signal) = status.signal() {
        // the command has left a core, if there is to be one
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        let _ = emulate_default_handler(signal);
        return 128_u8.wrapping_add(signal as u8);
    }
    status.code().map_or(FAILURE, |code| code as u8)
}
