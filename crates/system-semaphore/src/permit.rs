//! Permits as guards.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::process::Attachment;
use crate::sys::arc_or_ref::ArcOrRef;
use crate::types::Epoch;

/// Permits of a semaphore that this process holds. Dropping the guard releases them.
///
/// The permits are also returned when the process ends, if the type of semaphore can do that
/// ([`Capabilities::returns_on_death`](crate::Capabilities::returns_on_death)). Other ends of a guard:
///
/// - [`forget`](Self::forget) leaves the permits acquired, and no process holds them.
/// - [`detach`](Self::detach) leaves the permits with the process, until a
///   [`release`](crate::SystemSemaphore::release) or the end of the process.
/// - [`std::mem::forget`] leaves the permits with the process, and only its end returns them.
/// - In a forked child the copy of a guard is void. Dropping it there does nothing, for every type of semaphore.
///
/// A guard borrows the semaphore, which costs nothing; [`into_owned`](Self::into_owned) makes one that can be
/// kept, stored and sent anywhere.
///
/// ```
/// # use system_semaphore::{NativeIpcKey, KeyType, SystemSemaphore};
/// # let name = &format!("doc-permit-{}", std::process::id());
/// let printers = SystemSemaphore::open(name, 3)?;
/// let mut permits = printers.acquire_many(3)?;
/// let one = permits.split(1).expect("there are three");
/// drop(one);
/// assert_eq!(permits.num_permits(), 2);
/// assert_eq!(printers.available_permits()?, 1);
/// # Ok::<(), system_semaphore::Error>(())
/// ```
#[must_use = "dropping a permit gives it back at once"]
pub struct Permit<'a> {
    attachment: ArcOrRef<'a, Attachment>,
    held: Held,
}

/// A [`Permit`] that borrows nothing. Made by [`Permit::into_owned`].
pub type OwnedPermit = Permit<'static>;

/// How many permits, of which epoch: `[ count:32 | epoch:32 ]`. One word, so that a `Result` with a permit is returned in
/// two registers: a nanosecond or two less than through memory.
#[derive(Clone, Copy)]
struct Held(u64);

impl Held {
    #[inline(always)]
    fn new(count: u32, epoch: Epoch) -> Self {
        Self(u64::from(count) << 32 | u64::from(epoch))
    }

    #[inline(always)]
    fn count(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    fn epoch(self) -> Epoch {
        self.0 as u32
    }

    fn with_count(self, count: u32) -> Self {
        Self::new(count, self.epoch())
    }
}

impl<'a> Permit<'a> {
    /// Permits that this process has acquired by this attachment, which is its own.
    #[inline(always)]
    pub(crate) fn new(attachment: ArcOrRef<'a, Attachment>, count: u32, epoch: Epoch) -> Self {
        Self { attachment, held: Held::new(count, epoch) }
    }

    /// How many permits these are. 0 in a forked child, where the copy is void.
    #[must_use]
    pub fn num_permits(&self) -> u32 {
        if self.attachment.is_own() { self.held.count() } else { 0 }
    }

    /// Empties the guard, so that dropping it does nothing, and tells how many it held.
    fn take(&mut self) -> u32 {
        let count = self.num_permits();
        self.held = Held::new(0, 0);
        count
    }

    /// Gives the permits back, as dropping does, and tells if something went wrong.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed from the system;
    /// [`OutOfResources`](crate::ErrorKind::OutOfResources) if others have created so many permits that the count
    /// has no room for all (it is filled up then). The permits are this process's no longer in any case.
    pub fn release(mut self) -> Result<()> {
        if self.release_uncontended() {
            return Ok(());
        }
        let epoch = self.held.epoch();
        let count = self.take();
        self.attachment
            .with_open(|open| open.backend.release(count, epoch))
            .map_err(|cause| self.error(format!("give back {count} of"), cause))
    }

    /// Releases the permits if the fast path can, and returns whether it did: the guard is empty then.
    ///
    /// After `false` nothing has changed. See
    /// [`try_acquire_uncontended`](crate::SystemSemaphore::try_acquire_uncontended).
    #[doc(hidden)]
    #[inline]
    #[must_use = "if it is false, they are still held"]
    pub fn release_uncontended(&mut self) -> bool {
        let (count, epoch) = (self.num_permits(), self.held.epoch());
        let is_done = count == 0
            || self.attachment.fast_path().is_some_and(|fast_path| fast_path.release(count, epoch));
        if is_done {
            self.held = Held::new(0, 0);
        }
        is_done
    }

    /// Gives up ownership: the permits stay taken, and nobody owes them, so the end of this process does not
    /// bring them back. Another process can create them again by
    /// [`add_permits`](crate::SystemSemaphore::add_permits): that is producer/consumer and hand-over.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed from the system.
    pub fn forget(mut self) -> Result<()> {
        let epoch = self.held.epoch();
        let count = self.take();
        if count == 0 || self.attachment.fast_path().is_some_and(|fast_path| fast_path.forget(count, epoch)) {
            return Ok(());
        }
        self.attachment
            .with_open(|open| open.backend.forget(count, epoch))
            .map_err(|cause| self.error(format!("forget {count} of"), cause))
    }

    /// Detaches the permits from this guard: the process continues to hold them.
    ///
    /// A [`release`](crate::SystemSemaphore::release) by any thread of the process, through any handle, releases
    /// detached permits. The end of the process returns them, if the type of semaphore can do that.
    ///
    /// ```
    /// # use system_semaphore::SystemSemaphore;
    /// # let name = &format!("doc-detach-{}", std::process::id());
    /// let printers = SystemSemaphore::open(name, 3)?;
    /// printers.acquire()?.detach();
    /// assert_eq!((printers.detached_permits(), printers.available_permits()?), (1, 2));
    /// printers.release(1)?;
    /// assert_eq!((printers.detached_permits(), printers.available_permits()?), (0, 3));
    /// # Ok::<(), system_semaphore::Error>(())
    /// ```
    pub fn detach(mut self) {
        let epoch = self.held.epoch();
        let count = self.take();
        if count > 0 {
            // A guard that is not empty is of this process, and so is its attachment.
            self.attachment.open.detach(count, epoch);
        }
    }

    /// Splits `count` permits off into a guard of their own; `None` if there are fewer.
    pub fn split(&mut self, count: u32) -> Option<Self> {
        let rest = self.num_permits().checked_sub(count)?;
        let held = self.held;
        self.held = held.with_count(rest);
        Some(Self { attachment: self.attachment.clone(), held: held.with_count(count) })
    }

    /// Takes another guard's permits over.
    ///
    /// # Errors
    /// The other guard comes back in the error if it is of another semaphore, or if the semaphore was reset
    /// between the two acquires (they are not worth the same then, even none), or in a forked child, or if together they would be
    /// more than the semaphore can count.
    pub fn merge(&mut self, mut other: Self) -> Result<(), MergeError<'a>> {
        let is_same = self.attachment.is_same(&other.attachment)
            && self.held.epoch() == other.held.epoch()
            && self.attachment.is_own()
            && other.attachment.is_own();
        let max = self.attachment.capabilities.max_permits;
        match self.held.count().checked_add(other.held.count()) {
            Some(sum) if is_same && sum <= max => {
                self.held = self.held.with_count(sum);
                other.held = other.held.with_count(0);
                Ok(())
            }
            _ => Err(MergeError { permit: other }),
        }
    }

    /// The same permits in a guard that borrows nothing: it can be sent to another thread, and keeps the
    /// semaphore open after the last handle is gone.
    #[doc(alias = "acquire_owned")]
    pub fn into_owned(mut self) -> OwnedPermit {
        let held = std::mem::replace(&mut self.held, Held::new(0, 0));
        Permit { attachment: ArcOrRef::from_arc(self.attachment.to_arc()), held }
    }

    /// Releases the permits in a process with several threads, or by the slow path.
    #[inline(never)]
    fn release_fast_mt(attachment: &Attachment, held: Held) {
        let (count, epoch) = (held.count(), held.epoch());
        if !attachment.fast_path().is_some_and(|fast_path| fast_path.release(count, epoch)) {
            Self::release_slow(attachment, held);
        }
    }

    #[cold]
    #[inline(never)]
    fn release_slow(attachment: &Attachment, held: Held) {
        if held.count() > 0 && attachment.is_own() {
            // A user that needs the error calls `release`.
            let _ = attachment.with_open(|open| open.backend.release(held.count(), held.epoch()));
        }
    }

    fn error(&self, action: String, cause: crate::error::Cause) -> Error {
        Error::new(action, Arc::clone(&self.attachment.key_text), cause)
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        let held = self.held;
        let fast_path = self.attachment.fast_path();
        if held.count() != 0
            && !fast_path
                .is_some_and(|fast_path| fast_path.release_single_threaded(held.count(), held.epoch()))
        {
            Self::release_fast_mt(&self.attachment, held);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("key", &self.attachment.key_text)
            .field("count", &self.num_permits())
            .finish()
    }
}

/// Two guards could not be merged; the one that was to be taken over is in here, unharmed.
pub struct MergeError<'a> {
    permit: Permit<'a>,
}

impl<'a> MergeError<'a> {
    /// The guard that was to be taken over.
    pub fn into_permit(self) -> Permit<'a> {
        self.permit
    }
}

impl fmt::Display for MergeError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.permit.attachment.key_text;
        write!(
            f,
            "cannot merge permits of {key:?}: the two are not of one semaphore between resets, or too many"
        )
    }
}

impl fmt::Debug for MergeError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergeError").field("permit", &self.permit).finish()
    }
}

impl std::error::Error for MergeError<'_> {}
