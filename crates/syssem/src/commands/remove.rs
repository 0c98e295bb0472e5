//! `remove`: removes semaphores, even if they are in use.

use std::mem;

use system_semaphore::{Error, ErrorKind, NativeIpcKey, Observer, SystemSemaphore};

use crate::cli::{RemoveArgs, native_key};
use crate::error::CliError;
use crate::output::Output;
use crate::report::is_stale;

/// Removes every semaphore that can be removed. Prints all errors but the last, which it returns.
pub(crate) fn execute(args: &RemoveArgs, output: &Output) -> Result<u8, CliError> {
    let mut result = Ok(0);
    for key in &args.keys {
        if let Err(error) = native_key(key, args.key_type).and_then(remove_one)
            && let Err(previous) = mem::replace(&mut result, Err(CliError::from(error)))
        {
            previous.print(output.is_json());
        }
    }
    result
}

/// Removes a semaphore.
///
/// The library removes a stale one, too, but reports `NotFound`, because no process can open it.
fn remove_one(key: NativeIpcKey) -> Result<(), Error> {
    let snapshot = Observer::new(&key).and_then(|observer| observer.snapshot());
    let was_stale = snapshot.is_ok_and(|snapshot| is_stale(&snapshot) == Some(true));
    match SystemSemaphore::remove(key) {
        Err(error) if error.kind() == ErrorKind::NotFound && was_stale => Ok(()),
        result => result,
    }
}
