//! `release`: adds permits.

use crate::cli::ReleaseArgs;
use crate::error::CliError;
use crate::output::Output;
use crate::semaphore::open_existing;

pub(crate) fn execute(args: &ReleaseArgs, output: &Output) -> Result<u8, CliError> {
    let semaphore = open_existing(&args.key.native_key()?)?;
    semaphore.add_permits(args.count)?;
    output.print_result(&semaphore)?;
    Ok(0)
}
