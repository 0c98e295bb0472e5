//! A semaphore that a process has open, and what happens when it is no longer needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::algorithm::fast_path::FastPath;
use super::algorithm::mapped_file::MappedFile;
use super::algorithm::participant::Participant;
use super::death_watch;
use super::lifetime::close::close;
use super::lifetime::path::SemaphorePath;
use crate::backend::api::{OpenRequest, Opened};
use crate::error::Cause;

/// A semaphore that this process has open.
#[derive(Debug)]
pub(crate) struct RobustSemaphore {
    pub(crate) participant: Participant,
    pub(crate) path: Arc<SemaphorePath>,
    /// The options of the open.
    pub(crate) request: OpenRequest,
    /// Whether the slot outlives this value.
    pub(crate) keeps_slot: AtomicBool,
}

impl RobustSemaphore {
    pub(crate) fn new(
        mapped: Arc<MappedFile>,
        path: &Arc<SemaphorePath>,
        request: &OpenRequest,
    ) -> Result<Self, Cause> {
        Ok(Self {
            participant: Participant::new(mapped)?,
            path: Arc::clone(path),
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

impl Drop for RobustSemaphore {
    fn drop(&mut self) {
        if !self.participant.is_own() {
            return;
        }
        let mapped = &self.participant.mapped;
        death_watch::forget(mapped);
        if self.keeps_slot.load(Ordering::Relaxed) {
            return;
        }
        if self.participant.slot().held(mapped.resolve_epoch()) > 0 {
            // by guards that will not be dropped: these permits are released when the process ends
            std::mem::forget(Arc::clone(mapped));
        } else {
            close(mapped, &self.path);
        }
    }
}
