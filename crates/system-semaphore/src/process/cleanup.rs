//! [`Cleanup`]: what the last handle of a process removes.

use std::collections::BTreeMap;
use std::fmt;

use crate::backend::api::{Removal, RemovalKind};

/// The removals that the last handle runs, unless the semaphore is persistent.
#[derive(Default)]
pub(super) struct Cleanup {
    pub(super) removals: BTreeMap<RemovalKind, Removal>,
    pub(super) persistent: bool,
}

impl Cleanup {
    pub(super) fn add(&mut self, removals: impl IntoIterator<Item = Removal>, persistent: bool) {
        for removal in removals {
            self.removals.entry(removal.kind).or_insert(removal);
        }
        self.persistent |= persistent;
    }

    pub(super) fn removes_semaphore(&self) -> bool {
        !self.persistent && self.removals.contains_key(&RemovalKind::Semaphore)
    }
}

impl fmt::Debug for Cleanup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removals: Vec<_> = self.removals.keys().collect();
        f.debug_struct("Cleanup").field("removals", &removals).field("persistent", &self.persistent).finish()
    }
}
