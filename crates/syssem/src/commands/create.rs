//! `create`: creates a semaphore that stays until it is removed.

use system_semaphore::{AccessMode, Builder, NativeIpcKey, SystemSemaphore};

use crate::cli::CreateArgs;
use crate::error::CliError;
use crate::output::Output;

pub(crate) fn execute(args: &CreateArgs, output: &Output) -> Result<u8, CliError> {
    let key = args.key.native_key()?;
    let mode = if args.exist_ok { AccessMode::Open } else { AccessMode::CreateNew };
    let mut builder = persistent_builder(&key).mode(mode).initial_value(args.permits);
    if let Some(max) = args.max {
        builder = builder.max_permits(max);
    }
    if let Some(permissions) = args.mode {
        builder = builder.permissions(permissions);
    }
    output.print_result(&builder.build()?)?;
    Ok(0)
}

/// Returns a builder of a semaphore that outlives this process.
fn persistent_builder(key: &NativeIpcKey) -> Builder {
    SystemSemaphore::builder(key).persistent(true)
}
