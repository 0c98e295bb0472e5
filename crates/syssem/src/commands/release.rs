//! `release`.

use crate::cli::Release;
use crate::error::Trouble;
use crate::output::{Answer, tell};
use crate::semaphore::existing;

pub(crate) fn release(options: &Release, answer: &Answer) -> Result<u8, Trouble> {
    let semaphore = existing(&options.which.native()?)?;
    semaphore.add_permits(options.count)?;
    Ok(tell(&semaphore, answer)?)
}
