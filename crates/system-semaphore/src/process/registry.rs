//! [`Registry`]: the semaphores that this process has open.

use std::collections::{HashMap, hash_map};
use std::sync::{Arc, Weak};

use super::open_semaphore::OpenSemaphore;
use crate::backend::api::{Backend, Identity};
use crate::key::KeyType;

/// The semaphores that this process has open. `A` is the attachment that the handles of one semaphore share.
pub(super) struct Registry<A> {
    pub(super) entries: HashMap<(KeyType, Identity), Entry<A>>,
    /// The attachments that replace inherited ones in a forked child, by the id of the inherited one.
    pub(super) inherited: HashMap<u64, Arc<A>>,
}

pub(super) struct Entry<A> {
    pub(super) attachment: Weak<A>,
    open: Arc<OpenSemaphore>,
}

impl<A> Entry<A> {
    pub(super) fn new(open: Arc<OpenSemaphore>) -> Self {
        Self { attachment: Weak::new(), open }
    }

    /// Returns the attachment, and creates it with `new` if there is none.
    ///
    /// The arguments of `new` are the open semaphore and a reference to the attachment.
    pub(super) fn attachment_or_insert_with(
        &mut self,
        new: impl FnOnce(&Arc<OpenSemaphore>, &Weak<A>) -> A,
    ) -> Arc<A> {
        if let Some(attachment) = self.attachment.upgrade() {
            return attachment;
        }
        let attachment = Arc::new_cyclic(|shared| new(&self.open, shared));
        self.attachment = Arc::downgrade(&attachment);
        attachment
    }
}

impl<A> Default for Registry<A> {
    fn default() -> Self {
        Self { entries: HashMap::new(), inherited: HashMap::new() }
    }
}

impl<A> Registry<A> {
    /// Returns the entry of an open semaphore, and the backend if the semaphore was open already.
    pub(super) fn get_or_insert(
        &mut self,
        identity: (KeyType, Identity),
        backend: Box<dyn Backend>,
    ) -> (&mut Entry<A>, Option<Box<dyn Backend>>) {
        match self.entries.entry(identity) {
            hash_map::Entry::Occupied(entry) => (entry.into_mut(), Some(backend)),
            hash_map::Entry::Vacant(entry) => {
                (entry.insert(Entry::new(Arc::new(OpenSemaphore::new(backend)))), None)
            }
        }
    }

    /// Removes an entry without handles, and returns it.
    ///
    /// If this process holds detached permits, the entry stays, unless the semaphore `ends` with the last handle.
    pub(super) fn remove_if_unused(&mut self, identity: (KeyType, Identity), ends: bool) -> Option<Entry<A>> {
        let entry = self.entries.get(&identity)?;
        let is_needed = entry.attachment.strong_count() > 0 || !ends && entry.open.detached_permits() > 0;
        if is_needed { None } else { self.entries.remove(&identity) }
    }
}
