//! [`Registry`]: the semaphores that this process has open.

use std::collections::{HashMap, hash_map};
use std::sync::{Arc, Weak};

use super::open::Open;
use crate::backend::api::{Backend, Identity};
use crate::key::KeyType;

/// The semaphores that this process has open. An `A` is what the handles of one of them share.
pub(super) struct Registry<A> {
    pub(super) entries: HashMap<(KeyType, Identity), Entry<A>>,
    /// What stands for attachments inherited from a parent, by their numbers.
    pub(super) inherited: HashMap<u64, Arc<A>>,
}

pub(super) struct Entry<A> {
    pub(super) attachment: Weak<A>,
    open: Arc<Open>,
}

impl<A> Entry<A> {
    pub(super) fn of(open: Arc<Open>) -> Self {
        Self { attachment: Weak::new(), open }
    }

    /// Returns what the handles share; if they share nothing yet, `new` makes it, from the open semaphore and a
    /// reference to the result.
    pub(super) fn attachment(&mut self, new: impl FnOnce(&Arc<Open>, &Weak<A>) -> A) -> Arc<A> {
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
    /// The entry of what was opened; the backend comes back if it is open already.
    pub(super) fn enter(
        &mut self,
        identity: (KeyType, Identity),
        backend: Box<dyn Backend>,
    ) -> (&mut Entry<A>, Option<Box<dyn Backend>>) {
        match self.entries.entry(identity) {
            hash_map::Entry::Occupied(entry) => (entry.into_mut(), Some(backend)),
            hash_map::Entry::Vacant(entry) => (entry.insert(Entry::of(Arc::new(Open::new(backend)))), None),
        }
    }

    /// Takes an entry out if no handle needs it any more, nor, unless the semaphore ends anyway, what is held without
    /// a guard.
    pub(super) fn forget_unneeded(&mut self, identity: (KeyType, Identity), ends: bool) -> Option<Entry<A>> {
        let entry = self.entries.get(&identity)?;
        let is_needed = entry.attachment.strong_count() > 0 || !ends && entry.open.held() > 0;
        if is_needed { None } else { self.entries.remove(&identity) }
    }
}
