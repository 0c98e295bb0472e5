//! `reset`.

use system_semaphore::{AccessMode, Builder, NativeIpcKey, SystemSemaphore};

use crate::cli::Reset;
use crate::error::Trouble;
use crate::output::{Answer, tell};
use crate::semaphore::existing;

pub(crate) fn reset(options: &Reset, answer: &Answer) -> Result<u8, Trouble> {
    let key = options.which.native()?;
    // it must be there, and while we have it open it stays
    let existing = existing(&key)?;
    let semaphore =
        lasting_as(&existing, &key).mode(AccessMode::Create).initial_value(options.permits).build()?;
    Ok(tell(&semaphore, answer)?)
}

/// The same for a robust one only if it has been so before; the others are removed by their makers alone.
fn lasting_as(existing: &SystemSemaphore, key: &NativeIpcKey) -> Builder {
    SystemSemaphore::builder(key).persistent(!existing.capabilities().ends_with_last_user)
}
