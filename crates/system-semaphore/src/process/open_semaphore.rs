//! [`OpenSemaphore`]: an open semaphore of this process.

use super::detached::DetachedPermits;
use crate::backend::FastPath;
use crate::backend::api::Backend;
use crate::error::Cause;
use crate::types::Epoch;

/// An open semaphore. It outlives the handles while this process holds detached permits.
#[derive(Debug)]
pub(crate) struct OpenSemaphore {
    pub(crate) backend: Box<dyn Backend>,
    detached: DetachedPermits,
}

impl OpenSemaphore {
    pub(super) fn new(backend: Box<dyn Backend>) -> Self {
        Self { backend, detached: DetachedPermits::default() }
    }

    /// Detaches permits of this epoch from their guard.
    #[inline]
    pub(crate) fn detach(&self, count: u32, epoch: Epoch) {
        self.add_detached(count, epoch);
        self.backend.record_hold_start();
    }

    /// Counts permits of this epoch as detached.
    #[inline]
    fn add_detached(&self, count: u32, epoch: Epoch) {
        if self.detached.add_single_threaded(count, epoch) {
            return;
        }
        // A reset voids the permits that were acquired before it, so they do not count.
        self.detached.update(
            || self.backend.epoch(),
            |now, held| if now == epoch { held.saturating_add(count) } else { held },
        );
    }

    /// Releases up to `count` detached permits, and adds the rest of `count`.
    pub(crate) fn release(&self, count: u32) -> Result<(), Cause> {
        let (held, epoch) = self.take_detached(count);
        self.backend.release_and_add(held, epoch, count - held).inspect_err(|_| self.detach(held, epoch))
    }

    /// Releases `count` detached permits if the fast path can, and returns whether it did.
    #[inline]
    pub(crate) fn release_uncontended(&self, count: u32, fast_path: &FastPath) -> bool {
        if self.detached.definitely_below(count) {
            return false;
        }
        let (held, epoch) = self.take_detached(count);
        let is_done = held == count && fast_path.release(count, epoch);
        if !is_done && held > 0 {
            // The semaphore has not changed, so it still knows when this process began to hold them.
            self.add_detached(held, epoch);
        }
        is_done
    }

    /// Forgets up to `count` detached permits, and returns their number.
    pub(crate) fn forget_detached(&self, count: u32) -> Result<u32, Cause> {
        let (held, epoch) = self.take_detached(count);
        if held > 0 {
            self.backend.forget(held, epoch).inspect_err(|_| self.detach(held, epoch))?;
        }
        Ok(held)
    }

    /// Returns the number of detached permits of this process.
    pub(crate) fn detached_permits(&self) -> u32 {
        self.detached.count(self.backend.epoch())
    }

    /// Stops counting up to `count` permits as detached, and returns their number and epoch.
    #[inline]
    fn take_detached(&self, count: u32) -> (u32, Epoch) {
        let (epoch, held) =
            self.detached.update(|| self.backend.epoch(), |_, held| held.saturating_sub(count));
        (held.min(count), epoch)
    }
}
