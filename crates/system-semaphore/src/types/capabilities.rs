//! [`Capabilities`]: the features of a type of semaphore.

use crate::error::{Cause, ErrorKind};

/// What a type of semaphore can do. What it cannot is the error [`Unsupported`](crate::ErrorKind::Unsupported), at once,
/// never a poor imitation.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Permits come back when their holder dies, and waiters wake.
    pub returns_on_death: bool,
    /// Permits that were created stay when their creator exits.
    pub created_permits_stay: bool,
    /// Acquires can have a deadline.
    pub timeout: bool,
    /// Several permits can be acquired at once, all or none.
    pub several_at_once: bool,
    /// The number of free permits can be read.
    pub available_permits: bool,
    /// It is known who holds how many.
    pub holders: bool,
    /// The number of those who wait can be read.
    pub waiting: bool,
    /// It is known who used it last.
    pub last_pid: bool,
    /// Dead holders are counted.
    pub recoveries: bool,
    /// [`AccessMode::Create`](crate::AccessMode::Create) voids permits taken before. (Without this, giving one back adds one.)
    pub reset_voids_permits: bool,
    /// It is gone after its last user, however that one ended. (Without this it stays if its maker is killed.)
    pub ends_with_last_user: bool,
    /// It can have a [maximum of its own](crate::Builder::max_permits).
    pub own_maximum: bool,
    /// Permits can go over to another program; see
    /// [`acquire_inheritable`](crate::SystemSemaphore::acquire_inheritable).
    pub inheritable_permits: bool,
    /// The largest count.
    pub max_permits: u32,
}

impl Capabilities {
    /// Fails if no acquire of `count` permits can ever succeed on such a semaphore.
    #[inline]
    pub(crate) fn check_acquire(&self, count: u32, has_deadline: bool) -> Result<(), Cause> {
        self.check_count(count)?;
        if count > 1 && !self.several_at_once {
            return Err(Cause::unsupported(
                "this type of semaphore cannot give several permits at once, all or none",
            ));
        }
        if has_deadline && !self.timeout {
            return Err(Cause::unsupported("this type of semaphore has no timeouts on this platform"));
        }
        Ok(())
    }

    /// Fails if `count` is above the maximum.
    #[inline]
    pub(crate) fn check_count(&self, count: u32) -> Result<(), Cause> {
        let max_permits = self.max_permits;
        if count > max_permits {
            let reason = format!("it can never have more than {max_permits}");
            return Err(Cause::new(ErrorKind::OutOfResources, reason));
        }
        Ok(())
    }
}
