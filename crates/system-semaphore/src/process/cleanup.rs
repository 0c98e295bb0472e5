//! [`Duties`]: what the last handle of a process removes.

use std::collections::BTreeMap;
use std::fmt;

use crate::backend::api::{Removal, RemovalKind};

/// What the last handle has to do.
#[derive(Default)]
pub(super) struct Duties {
    pub(super) removals: BTreeMap<RemovalKind, Removal>,
    pub(super) persistent: bool,
}

impl Duties {
    pub(super) fn add(&mut self, removals: impl IntoIterator<Item = Removal>, persistent: bool) {
        for removal in removals {
            self.removals.entry(removal.kind).or_insert(removal);
        }
        self.persistent |= persistent;
    }

    pub(super) fn end_the_semaphore(&self) -> bool {
        !self.persistent && self.removals.contains_key(&RemovalKind::Semaphore)
    }
}

impl fmt::Debug for Duties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removals: Vec<_> = self.removals.keys().collect();
        f.debug_struct("Duties").field("removals", &removals).field("persistent", &self.persistent).finish()
    }
}
