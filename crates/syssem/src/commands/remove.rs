//! `remove`.

use system_semaphore::{Error, ErrorKind, NativeIpcKey, Observer, SystemSemaphore};

use crate::cli::{Remove, native};
use crate::error::Trouble;
use crate::output::Answer;
use crate::report::is_leftover;

pub(crate) fn remove(options: &Remove, answer: &Answer) -> Result<u8, Trouble> {
    let mut outcome = Ok(0);
    for key in &options.keys {
        if let Err(error) = native(key, options.key_type).and_then(remove_one) {
            // the others are removed all the same
            if let Err(before) = std::mem::replace(&mut outcome, Err(Trouble::from(error))) {
                before.report(answer.is_json());
            }
        }
    }
    outcome
}

/// Removes a semaphore, or what is left of one: nobody can open that, but it is there to be removed.
fn remove_one(key: NativeIpcKey) -> Result<(), Error> {
    let seen = Observer::new(&key).and_then(|observer| observer.look());
    let is_left_over = seen.is_ok_and(|seen| is_leftover(&seen) == Some(true));
    match SystemSemaphore::remove(key) {
        Err(error) if error.kind() == ErrorKind::NotFound && is_left_over => Ok(()),
        outcome => outcome,
    }
}
