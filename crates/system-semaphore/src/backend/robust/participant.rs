//! What a process has of an open semaphore: a slot, and the turn at it.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::algorithm::fast_path::Quick;
use super::algorithm::layout::{self, Slot};
use super::algorithm::operation::{Actor, Operation, Outcome};
use super::algorithm::slot_lock::Turn;
use super::clock;
use super::death_watch;
use super::error::Trouble;
use super::lifetime::close as life;
use super::mapped_file::Core;
use crate::backend::api::{Opened, Request};
use crate::error::{Cause, ErrorKind};
use crate::sys::standard_descriptors::move_up_inheritable;
use crate::sys::{fork, lock};

/// The lowest number of an inheritable permit's descriptor, if the process may have so many: above the single digits that
/// shell redirections use and the low numbers that programs and their wrappers (make's jobserver, systemd's socket
/// activation) use by convention.
const INHERITABLE: RawFd = 100;

/// A process's open semaphore.
#[derive(Debug)]
pub(crate) struct Robust {
    pub(crate) core: Arc<Core>,
    /// The number of its slot.
    pub(crate) number: u16,
    pub(crate) turn: Arc<Turn>,
    /// What it was opened by.
    pub(crate) request: Request,
    /// The process that opened it: in a forked child nothing of it is there.
    pub(crate) generation: u32,
    /// Whether the slot goes on without this.
    pub(crate) keeps_slot: AtomicBool,
}

impl Robust {
    pub(crate) fn new(core: Arc<Core>, request: &Request) -> Result<Self, Cause> {
        Ok(Self {
            number: core.own_slot().ok_or(Trouble::Corrupt)?,
            core,
            turn: Arc::new(Turn::new()),
            request: request.clone(),
            generation: fork::generation(),
            keeps_slot: AtomicBool::new(false),
        })
    }

    /// Returns the operations that need no system call and no wait.
    pub(crate) fn fast_path(&self) -> Quick {
        Quick::new(&self.core, self.number, &self.turn)
    }

    pub(crate) fn opened(self) -> Opened {
        Opened { backend: Box::new(self), removal: None, needs_reset: false }
    }

    pub(crate) fn actor(&self) -> Actor<'_> {
        let (layout, number) = (self.core.layout(), self.number);
        let slot = layout::slot(layout, self.core.map.rest(), number).expect("it has it");
        Actor { core: &self.core, layout, number, slot }
    }

    /// Gives everything up but the descriptor, with which the slot and its permits live on.
    pub(crate) fn into_descriptor(self) -> Result<OwnedFd, Cause> {
        self.keeps_slot.store(true, Ordering::Relaxed);
        let core = Arc::clone(&self.core);
        drop(self);
        let file = Arc::into_inner(core).and_then(Core::into_file).ok_or(Trouble::LostDescriptor)?;
        Ok(move_up_inheritable(file, INHERITABLE).map_err(Trouble::from)?)
    }

    pub(crate) fn own(&self) -> &Slot {
        self.actor().slot
    }

    /// Fails unless the slot's lock goes with the descriptor.
    pub(crate) fn has_lock_by_descriptor(&self) -> Result<(), Trouble> {
        let file = self.core.file()?;
        if lock::is_locked(file.as_fd(), self.number..self.number + 1)? {
            return Err(Trouble::LostDescriptor);
        }
        Ok(())
    }

    pub(crate) fn operate(&self, operation: &Operation) -> Result<Outcome, Trouble> {
        self.core.experience.make_way(self.core.layout(), self.number);
        let _turn = self.turn.take()?;
        self.actor().operate(operation)
    }

    /// Notes since when the process holds what it holds, which counts until its next operation. (If another thread comes
    /// between with one, it does not count.)
    pub(crate) fn note_since(&self) {
        let own = self.own();
        own.committed().with_amount(clock::seconds_since_1970()).store(&own.since);
    }
}

impl Drop for Robust {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        death_watch::forget(&self.core);
        if self.keeps_slot.load(Ordering::Relaxed) {
            return;
        }
        let epoch = self.core.epoch();
        if self.own().held(epoch) > 0 {
            // by guards that nobody will drop: these permits come back when the process ends
            std::mem::forget(Arc::clone(&self.core));
        } else {
            life::close(&self.core);
        }
    }
}

/// What to say to who holds more than any count of free permits can be.
pub(crate) fn holds_too_many() -> Cause {
    Cause::new(ErrorKind::OutOfResources, format!("this process would hold more than {} permits", u32::MAX))
}
