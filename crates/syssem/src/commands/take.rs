//! `take`: acquires permits without an owner.

use crate::cli::TakeArgs;
use crate::error::CliError;
use crate::output::Output;
use crate::semaphore::{acquire, open_existing};

pub(crate) fn execute(args: &TakeArgs, output: &Output) -> Result<u8, CliError> {
    let semaphore = open_existing(&args.key.native_key()?)?;
    acquire(&semaphore, args.count, &args.wait_args)?.forget()?;
    output.print_result(&semaphore)?;
    Ok(0)
}
