//! Permits as guards.

use std::fmt;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::attachment::Attachment;
use crate::backend::Epoch;
use crate::error::{Error, Result};
use crate::sys::fork;

/// Permits taken from a semaphore. Dropping it gives them back.
///
/// However the process ends, they come back too, where the type of semaphore can do that (see
/// [`Capabilities::returns_on_death`](crate::Capabilities::returns_on_death)). What else can happen to permits:
///
/// - [`forget`](Self::forget) leaves them taken, owned by nobody;
/// - [`hold`](Self::hold) leaves them with the process, until a [`release`](crate::SystemSemaphore::release) or
///   its end;
/// - [`std::mem::forget`] does the same as `hold`, but nothing short of the end of the process gives them back;
/// - in a forked child the copy is void: dropping it there does nothing, on every type of semaphore.
///
/// A guard borrows the semaphore, which costs nothing; [`into_owned`](Self::into_owned) makes one that can be
/// kept, stored and sent anywhere.
///
/// ```
/// # use system_semaphore::{NativeIpcKey, KeyType, SystemSemaphore};
/// # let name = &format!("doc-permit-{}", std::process::id());
/// let printers = SystemSemaphore::create(name, 3)?;
/// let mut permits = printers.acquire_many(3)?;
/// let one = permits.split(1).expect("there are three");
/// drop(one);
/// assert_eq!(permits.num_permits(), 2);
/// assert_eq!(printers.available_permits()?, 1);
/// # Ok::<(), system_semaphore::Error>(())
/// ```
#[must_use = "dropping a permit gives it back at once"]
pub struct Permit<'a> {
    semaphore: Semaphore<'a>,
    count: u32,
    epoch: Epoch,
    /// The process that acquired it.
    generation: u32,
}

/// A [`Permit`] that borrows nothing. Made by [`Permit::into_owned`].
pub type OwnedPermit = Permit<'static>;

enum Semaphore<'a> {
    Borrowed(&'a Attachment),
    Owned(Arc<Attachment>),
}

impl<'a> Permit<'a> {
    #[inline(always)]
    pub(crate) fn new(attachment: &'a Attachment, count: u32, epoch: Epoch, generation: u32) -> Self {
        Self { semaphore: Semaphore::Borrowed(attachment), count, epoch, generation }
    }

    #[inline(always)]
    fn attachment(&self) -> &Attachment {
        match &self.semaphore {
            Semaphore::Borrowed(attachment) => attachment,
            Semaphore::Owned(attachment) => attachment,
        }
    }

    /// How many permits these are. 0 in a forked child, where the copy is void.
    #[must_use]
    pub fn num_permits(&self) -> u32 {
        if self.generation == fork::generation() { self.count } else { 0 }
    }

    /// Empties the guard, so that dropping it does nothing, and tells how many it held.
    fn take(&mut self) -> u32 {
        let count = self.num_permits();
        self.count = 0;
        count
    }

    /// Gives the permits back, as dropping does, and tells if something went wrong.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed from the system;
    /// [`OutOfResources`](crate::ErrorKind::OutOfResources) if others have created so many permits that the count
    /// has no room for all (it is filled up then). The permits are this process's no longer in any case.
    pub fn release(mut self) -> Result<()> {
        if self.attachment().give_back_alone(self.count, self.epoch, self.generation) {
            self.count = 0;
            return Ok(());
        }
        let count = self.take();
        if count == 0 {
            return Ok(());
        }
        self.attachment()
            .with_open(|open| open.backend.give_back(count, self.epoch))
            .map_err(|fault| self.error(format!("give back {count} of"), fault))
    }

    /// Gives up ownership: the permits stay taken, and nobody owes them, so the end of this process does not
    /// bring them back. Another process can create them again by
    /// [`add_permits`](crate::SystemSemaphore::add_permits): that is producer/consumer and hand-over.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed from the system.
    pub fn forget(mut self) -> Result<()> {
        let count = self.take();
        if count == 0 {
            return Ok(());
        }
        self.attachment()
            .with_open(|open| open.backend.forget(count, self.epoch))
            .map_err(|fault| self.error(format!("forget {count} of"), fault))
    }

    /// Lets the process hold the permits without a guard, until a
    /// [`release`](crate::SystemSemaphore::release) by any of its threads, through any handle, or its end.
    pub fn hold(mut self) {
        let count = self.take();
        if count > 0 {
            // it is of this process, so its semaphore is open here
            let _ = self.attachment().with_open(|open| {
                open.hold(count, self.epoch);
                Ok(())
            });
        }
    }

    /// Splits `count` permits off into a guard of their own; `None` if there are fewer.
    pub fn split(&mut self, count: u32) -> Option<Self> {
        let rest = self.num_permits().checked_sub(count)?;
        let semaphore = match &self.semaphore {
            Semaphore::Borrowed(attachment) => Semaphore::Borrowed(attachment),
            Semaphore::Owned(attachment) => Semaphore::Owned(Arc::clone(attachment)),
        };
        self.count = rest;
        Some(Self { semaphore, count, epoch: self.epoch, generation: self.generation })
    }

    /// Takes another guard's permits over.
    ///
    /// # Errors
    /// The other guard comes back in the error if it is of another semaphore, or if the semaphore was reset
    /// between the two acquires (they are not worth the same then, even none), or in a forked child, or if together they would be
    /// more than the semaphore can count.
    pub fn merge(&mut self, mut other: Self) -> Result<(), MergeError<'a>> {
        let is_same = self.attachment().is_same(other.attachment())
            && self.epoch == other.epoch
            && self.generation == other.generation
            && self.generation == fork::generation();
        let max = self.attachment().capabilities.max_permits;
        match self.count.checked_add(other.count) {
            Some(sum) if is_same && sum <= max => {
                self.count = sum;
                other.count = 0;
                Ok(())
            }
            _ => Err(MergeError { permit: other }),
        }
    }

    /// The same permits in a guard that borrows nothing: it can be sent to another thread, and keeps the
    /// semaphore open after the last handle is gone.
    #[doc(alias = "acquire_owned")]
    pub fn into_owned(mut self) -> OwnedPermit {
        let attachment = self.attachment().share();
        let count = std::mem::take(&mut self.count);
        let (epoch, generation) = (self.epoch, self.generation);
        Permit { semaphore: Semaphore::Owned(attachment), count, epoch, generation }
    }

    #[inline(never)]
    fn give_back_otherwise(&mut self) {
        if !self.attachment().give_back_at_once(self.count, self.epoch, self.generation) {
            self.give_back_slowly();
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back_slowly(&mut self) {
        let count = self.take();
        if count > 0 {
            // `release` is for who wants to know
            let _ = self.attachment().with_open(|open| open.backend.give_back(count, self.epoch));
        }
    }

    fn error(&self, action: String, fault: crate::error::Fault) -> Error {
        Error::new(action, Arc::clone(&self.attachment().key_text), fault)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.count != 0 && !self.attachment().give_back_alone(self.count, self.epoch, self.generation) {
            self.give_back_otherwise();
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("key", &self.attachment().key_text)
            .field("count", &self.num_permits())
            .finish()
    }
}

/// Permits that belong to a descriptor, made by
/// [`acquire_inheritable`](crate::SystemSemaphore::acquire_inheritable): they come back when nobody has it open any more.
///
/// Dropping this closes this process's descriptor. If no child has inherited it, the permits are back then.
#[cfg(unix)]
#[must_use = "dropping it gives the permits back, unless a child has inherited them"]
pub struct InheritablePermit {
    /// `None` only while it is dropped.
    descriptor: Option<OwnedFd>,
    attachment: Arc<Attachment>,
    count: u32,
    /// The process that acquired it.
    generation: u32,
}

#[cfg(unix)]
impl InheritablePermit {
    pub(crate) fn new(attachment: Arc<Attachment>, descriptor: OwnedFd, count: u32) -> Self {
        Self { descriptor: Some(descriptor), attachment, count, generation: fork::generation() }
    }

    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> u32 {
        self.count
    }
}

/// The descriptor, to be passed on. Programs that are started inherit it without more ado.
#[cfg(unix)]
impl AsFd for InheritablePermit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_ref().expect("it is there until it is dropped").as_fd()
    }
}

#[cfg(unix)]
impl Drop for InheritablePermit {
    fn drop(&mut self) {
        drop(self.descriptor.take());
        // a child has only closed its copy
        if self.generation != fork::generation() {
            return;
        }
        // nobody need wait until somebody finds them
        let _ = self.attachment.with_open(|open| {
            open.backend.look_for_dead();
            Ok(())
        });
    }
}

#[cfg(unix)]
impl fmt::Debug for InheritablePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InheritablePermit")
            .field("key", &self.attachment.key_text)
            .field("count", &self.count)
            .field("descriptor", &self.descriptor)
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
        let key = &self.permit.attachment().key_text;
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
