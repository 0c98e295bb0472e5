//! Permits that go over to other programs.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::process::Attachment;
use crate::sys::fork;

/// Permits that belong to a descriptor, made by
/// [`acquire_inheritable`](crate::SystemSemaphore::acquire_inheritable): they come back when nobody has it open any more.
///
/// The descriptor's number is 100 or higher, or the highest free one if the process may not have so many: programs
/// redirect low numbers, or write to them, without asking what they are.
///
/// Dropping this closes this process's descriptor. If no child has inherited it, the permits are back then.
#[must_use = "dropping it gives the permits back, unless a child has inherited them"]
pub struct InheritablePermit {
    /// `None` only while it is dropped.
    descriptor: Option<OwnedFd>,
    attachment: Arc<Attachment>,
    count: u32,
    /// The generation of the process that acquired the permits.
    owner_generation: u32,
}

impl InheritablePermit {
    pub(crate) fn new(attachment: Arc<Attachment>, descriptor: OwnedFd, count: u32) -> Self {
        Self { descriptor: Some(descriptor), attachment, count, owner_generation: fork::generation() }
    }

    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> u32 {
        self.count
    }
}

/// The descriptor, to be passed on. Programs that are started inherit it without more ado.
impl AsFd for InheritablePermit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_ref().expect("it is there until it is dropped").as_fd()
    }
}

impl Drop for InheritablePermit {
    fn drop(&mut self) {
        drop(self.descriptor.take());
        // a child has only closed its copy
        if self.owner_generation != fork::generation() {
            return;
        }
        // nobody need wait until somebody finds them
        let _ = self.attachment.with_open(|open| {
            open.backend.recover_dead();
            Ok(())
        });
    }
}

impl fmt::Debug for InheritablePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InheritablePermit")
            .field("key", &self.attachment.key_text)
            .field("count", &self.count)
            .field("descriptor", &self.descriptor)
            .finish()
    }
}
