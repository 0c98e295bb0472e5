//! Permits as guards.

#![allow(unsafe_code, reason = "exported names")]
#![allow(non_camel_case_types, reason = "these are the names in C")]

use std::mem::MaybeUninit;

use system_semaphore::OwnedPermit;

use crate::border::{call, given, put, value};
use crate::status::{Failure, syssem_status};

/// Permits taken from a semaphore, which come back when it is released, and when the process ends, however that happens
/// (where the type of semaphore can do that). It keeps the semaphore open. It may be used by one thread at a time, any.
#[derive(Debug)]
pub struct syssem_permit(pub(crate) OwnedPermit);

impl syssem_permit {
    pub(crate) fn new(permit: OwnedPermit) -> Box<Self> {
        Box::new(Self(permit))
    }
}

/// How many permits these are: 0 for NULL, and in a forked child, where they are its parent's still.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_count(permit: Option<&syssem_permit>) -> u32 {
    value(0, || Ok(permit.map_or(0, |permit| permit.0.num_permits())))
}

/// Gives the permits back and frees the guard, in any case. Nothing happens to NULL.
///
/// # Errors
/// SYSSEM_NOT_FOUND if the semaphore was removed from the system; SYSSEM_OUT_OF_RESOURCES if others have created so many
/// permits that the count has no room for all (it is filled up then).
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_release(permit: Option<Box<syssem_permit>>) -> syssem_status {
    call(|| match permit {
        Some(permit) => Ok(permit.0.release()?),
        None => Ok(()),
    })
}

/// Gives up ownership and frees the guard, in any case: the permits stay taken, and nobody owes them, so that the end of
/// this process does not bring them back. Another one can create them again: that is producer/consumer and hand-over.
///
/// # Errors
/// SYSSEM_NOT_FOUND if the semaphore was removed from the system, SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_forget(permit: Option<Box<syssem_permit>>) -> syssem_status {
    call(|| Ok(given(permit, "permit")?.0.forget()?))
}

/// Lets the process hold the permits without a guard, until syssem_release() by any of its threads, or its end; and frees
/// the guard.
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_hold(permit: Option<Box<syssem_permit>>) -> syssem_status {
    call(|| {
        given(permit, "permit")?.0.hold();
        Ok(())
    })
}

/// Splits `count` permits off into a guard of their own.
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT, if there are fewer, too: nothing has happened then.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_split(
    permit: Option<&mut syssem_permit>,
    count: u32,
    part: Option<&mut MaybeUninit<Box<syssem_permit>>>,
) -> syssem_status {
    call(|| {
        let (permit, part) = (given(permit, "permit")?, given(part, "part")?);
        let all = permit.0.num_permits();
        let split = permit.0.split(count);
        let split =
            split.ok_or_else(|| Failure::invalid(format!("cannot split {count} off {all} permits")))?;
        put(Some(part), syssem_permit::new(split), "part")
    })
}

/// Takes the permits of another guard over, which is empty then; it is still to be freed, by syssem_permit_release().
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT, also if the other one is of another semaphore, or the semaphore was reset between the two
/// acquires, or in a forked child, or if together they would be more than it can count: nothing has happened then.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_merge(
    permit: Option<&mut syssem_permit>,
    other: Option<&mut syssem_permit>,
) -> syssem_status {
    call(|| {
        let (permit, other) = (given(permit, "permit")?, given(other, "other")?);
        // what is split off is the same thing, and can go back
        let all = other.0.num_permits();
        let moved = other.0.split(all);
        let moved = moved.ok_or_else(|| Failure::defect("all permits cannot be split off"))?;
        permit.0.merge(moved).map_err(|refused| {
            let message = refused.to_string();
            // they were one guard just now; in a forked child both are void
            let _ = other.0.merge(refused.into_permit());
            Failure::invalid(message)
        })
    })
}
