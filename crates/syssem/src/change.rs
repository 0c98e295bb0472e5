//! `create`, `take`, `release`, `reset` and `remove`.

use std::time::Instant;

use serde_json::json;
use system_semaphore::{
    AccessMode, Builder, Error, ErrorKind, NativeIpcKey, Observer, Permit, SystemSemaphore,
};

use crate::answer::{Answer, Trouble};
use crate::arguments::{self, Create, Patience, Release, Remove, Reset, Take};
use crate::sight::is_leftover;

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
    tell(&builder.build()?, answer)
}

pub(crate) fn take(options: &Take, answer: &Answer) -> Result<u8, Trouble> {
    let semaphore = existing(&options.which.native()?)?;
    options.patience.acquire(&semaphore, options.count)?.forget()?;
    tell(&semaphore, answer)
}

pub(crate) fn release(options: &Release, answer: &Answer) -> Result<u8, Trouble> {
    let semaphore = existing(&options.which.native()?)?;
    semaphore.add_permits(options.count)?;
    tell(&semaphore, answer)
}

pub(crate) fn reset(options: &Reset, answer: &Answer) -> Result<u8, Trouble> {
    let key = options.which.native()?;
    // it must be there, and while we have it open it stays
    let existing = existing(&key)?;
    let semaphore =
        lasting_as(&existing, &key).mode(AccessMode::Create).initial_value(options.permits).build()?;
    tell(&semaphore, answer)
}

pub(crate) fn remove(options: &Remove, answer: &Answer) -> Result<u8, Trouble> {
    let mut outcome = Ok(0);
    for key in &options.keys {
        if let Err(error) = arguments::native(key, options.key_type).and_then(remove_one) {
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

/// One that stays when this process ends.
fn lasting(key: &NativeIpcKey) -> Builder {
    SystemSemaphore::builder(key).persistent(true)
}

/// The same for a robust one only if it has been so before; the others are removed by their makers alone.
fn lasting_as(existing: &SystemSemaphore, key: &NativeIpcKey) -> Builder {
    SystemSemaphore::builder(key).persistent(!existing.capabilities().ends_with_last_user)
}

fn existing(key: &NativeIpcKey) -> Result<SystemSemaphore, Error> {
    SystemSemaphore::builder(key).mode(AccessMode::OpenExisting).build()
}

/// Tells programs what has become of it; people see that nothing went wrong.
fn tell(semaphore: &SystemSemaphore, answer: &Answer) -> Result<u8, Trouble> {
    if answer.is_json() {
        let key = semaphore.native_key().to_string();
        answer.give(&json!({ "key": key, "available": semaphore.available_permits().ok() }), String::new)?;
    }
    Ok(0)
}

impl Patience {
    /// The moment at which the wait ends, if it is to.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.nonblock {
            Some(Instant::now())
        } else {
            self.wait.and_then(|wait| Instant::now().checked_add(wait))
        }
    }

    /// Takes permits.
    pub(crate) fn acquire<'a>(
        &self,
        semaphore: &'a SystemSemaphore,
        count: u32,
    ) -> Result<Permit<'a>, Trouble> {
        let permit = match self.deadline() {
            _ if self.nonblock => semaphore.try_acquire_many(count),
            Some(deadline) => semaphore.acquire_many_deadline(count, deadline),
            None => semaphore.acquire_many(count),
        };
        permit.map_err(|error| self.explain(error))
    }

    /// That the time was not enough is no failure.
    pub(crate) fn explain(&self, error: Error) -> Trouble {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::NoPermits => Trouble::Busy(error, self.conflict_exit_code),
            _ => error.into(),
        }
    }
}
