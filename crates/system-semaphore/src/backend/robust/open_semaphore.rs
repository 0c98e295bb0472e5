//! A semaphore that a process has open, and what happens when it is no longer needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::algorithm::fast_path::FastPath;
use super::algorithm::mapped_file::Core;
use super::algorithm::participant::Participant;
use super::death_watch;
use super::lifetime::close::close;
use super::lifetime::path::Place;
use crate::backend::api::{OpenRequest, Opened};
use crate::error::Cause;

/// A process's open semaphore.
#[derive(Debug)]
pub(crate) struct Robust {
    pub(crate) participant: Participant,
    pub(crate) place: Arc<Place>,
    /// What it was opened by.
    pub(crate) request: OpenRequest,
    /// Whether the slot goes on without this.
    pub(crate) keeps_slot: AtomicBool,
}

impl Robust {
    pub(crate) fn new(core: Arc<Core>, place: &Arc<Place>, request: &OpenRequest) -> Result<Self, Cause> {
        Ok(Self {
            participant: Participant::new(core)?,
            place: Arc::clone(place),
            request: request.clone(),
            keeps_slot: AtomicBool::new(false),
        })
    }

    /// Returns the operations that need no system call and no wait.
    pub(crate) fn fast_path(&self) -> FastPath {
        self.participant.fast_path()
    }

    pub(crate) fn opened(self) -> Opened {
        Opened { backend: Box::new(self), removal: None, needs_reset: false }
    }
}

impl Drop for Robust {
    fn drop(&mut self) {
        if !self.participant.is_own() {
            return;
        }
        let core = &self.participant.core;
        death_watch::forget(core);
        if self.keeps_slot.load(Ordering::Relaxed) {
            return;
        }
        if self.participant.own().held(core.epoch()) > 0 {
            // by guards that nobody will drop: these permits come back when the process ends
            std::mem::forget(Arc::clone(core));
        } else {
            close(core, &self.place);
        }
    }
}
