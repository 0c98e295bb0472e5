//! `create`.

use system_semaphore::{AccessMode, Builder, NativeIpcKey, SystemSemaphore};

use crate::cli::Create;
use crate::error::Trouble;
use crate::output::{Answer, tell};

pub(crate) fn create(options: &Create, answer: &Answer) -> Result<u8, Trouble> {
    let key = options.which.native()?;
    let mode = if options.exist_ok { AccessMode::Open } else { AccessMode::CreateNew };
    let mut builder = lasting(&key).mode(mode).initial_value(options.permits);
    if let Some(max) = options.max {
        builder = builder.max_permits(max);
    }
    if let Some(permissions) = options.mode {
        builder = builder.permissions(permissions);
    }
    Ok(tell(&builder.build()?, answer)?)
}

/// One that stays when this process ends.
fn lasting(key: &NativeIpcKey) -> Builder {
    SystemSemaphore::builder(key).persistent(true)
}
