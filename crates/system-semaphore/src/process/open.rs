//! [`Open`]: an open semaphore of this process.

use super::detached::Account;
use crate::backend::FastPath;
use crate::backend::api::Backend;
use crate::error::Cause;
use crate::types::Epoch;

/// An open semaphore. It outlives the handles while permits are held without a guard.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) backend: Box<dyn Backend>,
    account: Account,
}

impl Open {
    pub(super) fn new(backend: Box<dyn Backend>) -> Self {
        Self { backend, account: Account::default() }
    }

    /// Makes permits just acquired this process's without a guard.
    #[inline]
    pub(crate) fn hold(&self, count: u32, epoch: Epoch) {
        self.put(count, epoch);
        self.backend.record_hold_start();
    }

    /// Puts permits of this epoch into the account.
    #[inline]
    fn put(&self, count: u32, epoch: Epoch) {
        if self.account.add_alone(count, epoch) {
            return;
        }
        // What was acquired before a reset is owed no more, so giving it back creates.
        self.account.update(
            || self.backend.epoch(),
            |now, held| if now == epoch { held.saturating_add(count) } else { held },
        );
    }

    /// Gives back what is held without a guard, up to `count`, and creates the rest.
    pub(crate) fn release(&self, count: u32) -> Result<(), Cause> {
        let (held, epoch) = self.take(count);
        self.backend.release_and_add(held, epoch, count - held).inspect_err(|_| self.hold(held, epoch))
    }

    /// Gives back `count` permits that are held without a guard, if that is a matter of nanoseconds; tells whether it did.
    #[inline]
    pub(crate) fn release_at_once(&self, count: u32, quick: &FastPath) -> bool {
        if self.account.is_surely_below(count) {
            return false;
        }
        let (held, epoch) = self.take(count);
        let is_done = held == count && quick.release(count, epoch);
        if !is_done && held > 0 {
            // Since when they are held is known still: the semaphore has not seen anything.
            self.put(held, epoch);
        }
        is_done
    }

    /// Forgets what is held without a guard, up to `count`; tells how many those were.
    pub(crate) fn forget_held(&self, count: u32) -> Result<u32, Cause> {
        let (held, epoch) = self.take(count);
        if held > 0 {
            self.backend.forget(held, epoch).inspect_err(|_| self.hold(held, epoch))?;
        }
        Ok(held)
    }

    /// How many permits this process holds without a guard.
    pub(crate) fn held(&self) -> u32 {
        self.account.held(self.backend.epoch())
    }

    /// Takes up to `count` out of the account; tells how many, and of which epoch they are.
    #[inline]
    fn take(&self, count: u32) -> (u32, Epoch) {
        let (epoch, held) =
            self.account.update(|| self.backend.epoch(), |_, held| held.saturating_sub(count));
        (held.min(count), epoch)
    }
}
