//! `reset`: sets the number of free permits of an existing semaphore.

use system_semaphore::{AccessMode, SystemSemaphore};

use crate::cli::ResetArgs;
use crate::error::CliError;
use crate::output::Output;
use crate::semaphore::open_existing;

pub(crate) fn execute(args: &ResetArgs, output: &Output) -> Result<u8, CliError> {
    let key = args.key.native_key()?;
    // `Create` would create a missing semaphore. While `existing` is open, the semaphore stays.
    let existing = open_existing(&key)?;
    // A robust semaphore stays as persistent as it was. The other types are removed only by their
    // creator, which this process must not become.
    let persistent = !existing.capabilities().ends_with_last_user;
    let semaphore = SystemSemaphore::builder(&key)
        .persistent(persistent)
        .mode(AccessMode::Create)
        .initial_value(args.permits)
        .build()?;
    output.print_result(&semaphore)?;
    Ok(0)
}
