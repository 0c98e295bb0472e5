//! `take`.

use crate::cli::Take;
use crate::error::Trouble;
use crate::output::{Answer, tell};
use crate::semaphore::existing;

pub(crate) fn take(options: &Take, answer: &Answer) -> Result<u8, Trouble> {
    let semaphore = existing(&options.which.native()?)?;
    options.patience.acquire(&semaphore, options.count)?.forget()?;
    Ok(tell(&semaphore, answer)?)
}
