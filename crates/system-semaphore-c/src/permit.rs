//! Permits as guards.

#![allow(unsafe_code, reason = "exported names")]
#![allow(non_camel_case_types, reason = "these are the names in C")]

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use system_semaphore::OwnedPermit;

use crate::border::{call, given, put, value};
use crate::status::{Failure, syssem_status};

/// Permits taken from a semaphore, which come back when it is released, and when the process ends, however that happens
/// (where the type of semaphore can do that). It keeps the semaphore open. It may be used by all threads of the process at
/// once; the one that releases, forgets or detaches it frees it.
#[derive(Debug)]
pub struct syssem_permit(Mutex<OwnedPermit>);

impl syssem_permit {
    pub(crate) fn new(permit: OwnedPermit) -> Box<Self> {
        Box::new(Self(Mutex::new(permit)))
    }

    fn lock(&self) -> MutexGuard<'_, OwnedPermit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_permit(self) -> OwnedPermit {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many permits these are: 0 for NULL, and in a forked child, where they are its parent's still.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_count(permit: Option<&syssem_permit>) -> u32 {
    value(0, || Ok(permit.map_or(0, |permit| permit.lock().num_permits())))
}

/// Gives the permits back and frees the guard, in any case. Nothing happens to NULL.
///
/// # Errors
/// SYSSEM_NOT_FOUND if the semaphore was removed from the system; SYSSEM_OUT_OF_RESOURCES if others have created so many
/// permits that the count has no room for all (it is filled up then).
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_release(permit: Option<Box<syssem_permit>>) -> syssem_status {
    call(|| match permit {
        Some(permit) => Ok(permit.into_permit().release()?),
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
    call(|| Ok(given(permit, "permit")?.into_permit().forget()?))
}

/// Detaches the permits from the guard, and frees the guard. The process holds the permits until syssem_release() by any of
/// its threads, or until it ends.
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_detach(permit: Option<Box<syssem_permit>>) -> syssem_status {
    call(|| {
        given(permit, "permit")?.into_permit().detach();
        Ok(())
    })
}

/// Splits `count` permits off into a guard of their own.
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT, if there are fewer, too: nothing has happened then.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_split(
    permit: Option<&syssem_permit>,
    count: u32,
    part: Option<&mut MaybeUninit<Box<syssem_permit>>>,
) -> syssem_status {
    call(|| {
        let (mut permit, part) = (given(permit, "permit")?.lock(), given(part, "part")?);
        let all = permit.num_permits();
        let split = permit.split(count);
        let split =
            split.ok_or_else(|| Failure::invalid(format!("cannot split {count} off {all} permits")))?;
        put(Some(part), syssem_permit::new(split), "part")
    })
}

/// Takes the permits of another guard over, which is empty then; it is still to be freed, by syssem_permit_release().
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT, also if the other one is the same, or of another semaphore, or the semaphore was reset between
/// the two acquires, or in a forked child, or if together they would be more than it can count: nothing has happened then.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_permit_merge(
    permit: Option<&syssem_permit>,
    other: Option<&syssem_permit>,
) -> syssem_status {
    call(|| {
        let (permit, other) = (given(permit, "permit")?, given(other, "other")?);
        if ptr::eq(permit, other) {
            return Err(Failure::invalid("cannot merge a permit with itself"));
        }
        // What is split off is the same thing, and can go back. One lock at a time, so that no two wait for each other.
        let moved = {
            let mut other = other.lock();
            let all = other.num_permits();
            other.split(all)
        };
        let moved = moved.ok_or_else(|| Failure::defect("all permits cannot be split off"))?;
        let merged = permit.lock().merge(moved);
        merged.map_err(|refused| {
            let message = refused.to_string();
            // they were one guard just now; in a forked child both are void
            let _ = other.lock().merge(refused.into_permit());
            Failure::invalid(message)
        })
    })
}
