//! What a forked child may do with what it inherited.

use system_semaphore::{AccessMode, OwnedPermit, SystemSemaphore};

use crate::signal::in_forked_child;

/// The caller has a semaphore of which it holds the permits in `guards` (at least one) and at least one more
/// without a guard, and of which at least one is free. Forks a child that does what it pleases with its copies;
/// afterwards nothing may have changed. Says what was wrong.
pub(crate) fn check(semaphore: SystemSemaphore, guards: &mut Vec<OwnedPermit>) -> Result<(), String> {
    let before = count(&semaphore)?;
    let held_before = semaphore.held_permits();
    let parents = guards.iter().map(OwnedPermit::num_permits).sum::<u32>();
    let code = in_forked_child(|| match child(&semaphore, std::mem::take(guards)) {
        Ok(()) => {
            drop(semaphore.clone());
            0
        }
        Err(step) => step,
    });
    if code != 0 {
        return Err(format!("step {code} failed in the child"));
    }
    if count(&semaphore)? != before {
        return Err(format!("{before} permits were free before, {} are after the child", count(&semaphore)?));
    }
    if semaphore.held_permits() != held_before {
        return Err("the child changed what its parent holds".into());
    }
    if guards.iter().map(OwnedPermit::num_permits).sum::<u32>() != parents {
        return Err("the parent's guards are void".into());
    }
    SystemSemaphore::new(semaphore.native_key(), 0, AccessMode::OpenExisting)
        .map(drop)
        .map_err(|error| format!("the child took the semaphore with it: {error}"))
}

fn count(semaphore: &SystemSemaphore) -> Result<u32, String> {
    semaphore.available_permits().map_err(|error| error.to_string())
}

/// Numbers the step that went wrong.
fn child(semaphore: &SystemSemaphore, mut guards: Vec<OwnedPermit>) -> Result<(), u8> {
    let before = semaphore.available_permits().map_err(|_| 1)?;
    let unchanged = |step| match semaphore.available_permits() {
        Ok(count) if count == before => Ok(()),
        _ => Err(step),
    };
    // inherited permits are void, whatever is done to them
    let mut last = guards.pop().ok_or(2)?;
    if last.num_permits() != 0 || semaphore.held_permits() != 0 {
        return Err(3);
    }
    if last.split(1).is_some() {
        return Err(4);
    }
    last.forget().map_err(|_| 5)?;
    drop(guards);
    unchanged(6)?;
    if semaphore.forget_held(1).map_err(|_| 7)? != 0 {
        return Err(8);
    }
    // the handle works, and what the child takes is the child's
    let own = semaphore.try_acquire().map_err(|_| 9)?;
    if own.num_permits() != 1 {
        return Err(10);
    }
    own.hold();
    if semaphore.held_permits() != 1 {
        return Err(11);
    }
    semaphore.release(1).map_err(|_| 12)?;
    unchanged(13)?;
    // another handle of its own, and its end, take nothing away
    let own = SystemSemaphore::open(semaphore.native_key(), 0).map_err(|_| 14)?;
    drop(own.try_acquire().map_err(|_| 15)?);
    drop(own);
    unchanged(16)
}
