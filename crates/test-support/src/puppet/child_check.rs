//! What a forked child may do with what it inherited.

use system_semaphore::{AccessMode, OwnedPermit, SystemSemaphore};

use crate::unsafe_calls::signal::in_forked_child;

/// The caller gives the only handle of a semaphore of which it holds the permits in `guards` (at least one) and at
/// least one more without a guard, and of which at least one is free. Forks a child that does what it pleases with
/// its copies, down to dropping the last; afterwards nothing may have changed. Says what was wrong.
pub(crate) fn check(
    handle: &mut Option<SystemSemaphore>,
    guards: &mut Vec<OwnedPermit>,
) -> Result<(), String> {
    let before = Permits::of(handle, guards)?;
    // what the child takes out of these it takes out of its copies
    let code = in_forked_child(|| child(handle.take(), std::mem::take(guards)).err().unwrap_or(0));
    if code != 0 {
        return Err(format!("step {code} failed in the child"));
    }
    let after = Permits::of(handle, guards)?;
    if before != after {
        return Err(format!("{before:?} before the child, {after:?} after it"));
    }
    let key = handle.as_ref().expect("the parent's is still there").native_key();
    SystemSemaphore::new(key, 0, AccessMode::OpenExisting)
        .map(drop)
        .map_err(|error| format!("the child took the semaphore with it: {error}"))
}

/// What a child must not change.
#[derive(Debug, PartialEq, Eq)]
struct Permits {
    free: u32,
    held: u32,
    guarded: u32,
}

impl Permits {
    fn of(handle: &Option<SystemSemaphore>, guards: &[OwnedPermit]) -> Result<Self, String> {
        let semaphore = handle.as_ref().expect("the parent's is there");
        Ok(Self {
            free: semaphore.available_permits().map_err(|error| error.to_string())?,
            held: semaphore.detached_permits(),
            guarded: guards.iter().map(OwnedPermit::num_permits).sum(),
        })
    }
}

/// Numbers the step that went wrong.
fn child(handle: Option<SystemSemaphore>, mut guards: Vec<OwnedPermit>) -> Result<(), u8> {
    let semaphore = handle.ok_or(17)?;
    // before any use of the inherited one
    let own = SystemSemaphore::open(semaphore.native_key(), 0).map_err(|_| 14)?;
    let before = semaphore.available_permits().map_err(|_| 1)?;
    let unchanged = |step| match semaphore.available_permits() {
        Ok(count) if count == before => Ok(()),
        _ => Err(step),
    };
    // inherited permits are void, whatever is done to them
    let mut last = guards.pop().ok_or(2)?;
    if last.num_permits() != 0 || semaphore.detached_permits() != 0 {
        return Err(3);
    }
    if last.split(1).is_some() {
        return Err(4);
    }
    last.forget().map_err(|_| 5)?;
    drop(guards);
    unchanged(6)?;
    if semaphore.forget_detached(1).map_err(|_| 7)? != 0 {
        return Err(8);
    }
    // the handle works, and what the child takes is the child's
    let permit = semaphore.try_acquire().map_err(|_| 9)?;
    if permit.num_permits() != 1 {
        return Err(10);
    }
    permit.detach();
    if semaphore.detached_permits() != 1 {
        return Err(11);
    }
    semaphore.release(1).map_err(|_| 12)?;
    unchanged(13)?;
    // the handle of its own is the same semaphore, and its end takes nothing away
    semaphore.try_acquire().map_err(|_| 15)?.detach();
    if own.detached_permits() != 1 {
        return Err(18);
    }
    own.release(1).map_err(|_| 19)?;
    if semaphore.detached_permits() != 0 {
        return Err(20);
    }
    // permits can be split and merged
    let mut permit = semaphore.try_acquire().map_err(|_| 24)?;
    let two = permit.split(1).ok_or(25)?;
    permit.merge(two).map_err(|_| 26)?;
    permit.release().map_err(|_| 27)?;
    unchanged(28)?;
    // one acquired through the inherited handle is known after the own one has gone
    let permit = semaphore.try_acquire().map_err(|_| 21)?;
    drop(own);
    permit.detach();
    if semaphore.detached_permits() != 1 {
        return Err(22);
    }
    semaphore.release(1).map_err(|_| 23)?;
    unchanged(16)?;
    // the end of the last handle is the parent's business, and the child's permit outlives it
    let permit = semaphore.try_acquire().map_err(|_| 29)?.into_owned();
    let key = semaphore.native_key().clone();
    drop(semaphore);
    let again = SystemSemaphore::new(key, 0, AccessMode::OpenExisting).map_err(|_| 30)?;
    let free = |step| again.available_permits().map_err(|_| step);
    if free(31)? != before - 1 {
        return Err(32);
    }
    permit.release().map_err(|_| 33)?;
    if free(34)? != before { Err(35) } else { Ok(()) }
}
