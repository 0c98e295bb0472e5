//! Opens and acquires semaphores, for all commands that do so.

use system_semaphore::{AccessMode, Error, ErrorKind, NativeIpcKey, Permit, SystemSemaphore};

use crate::cli::WaitArgs;
use crate::error::CliError;

/// Opens a semaphore that must exist.
pub(crate) fn open_existing(key: &NativeIpcKey) -> Result<SystemSemaphore, Error> {
    SystemSemaphore::builder(key).mode(AccessMode::OpenExisting).build()
}

/// Acquires `count` permits and waits as long as the wait options allow.
pub(crate) fn acquire<'a>(
    semaphore: &'a SystemSemaphore,
    count: u32,
    wait_args: &WaitArgs,
) -> Result<Permit<'a>, CliError> {
    let permit = match wait_args.deadline() {
        _ if wait_args.nonblock => semaphore.try_acquire_many(count),
        Some(deadline) => semaphore.acquire_many_deadline(count, deadline),
        None => semaphore.acquire_many(count),
    };
    permit.map_err(|error| acquire_error(error, wait_args))
}

/// Converts an error of an acquire. A busy semaphore gets the exit status of `-E`.
pub(crate) fn acquire_error(error: Error, wait_args: &WaitArgs) -> CliError {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::NoPermits => CliError::Busy(error, wait_args.conflict_exit_code),
        _ => error.into(),
    }
}
