//! A process's membership of a semaphore: the open file, a slot, and the turn at it.

use std::sync::Arc;

use super::fast_path::FastPath;
use super::layout::{self, Slot};
use super::mapped_file::Core;
use super::operation::{Actor, Operation, Outcome};
use super::slot_lock::Turn;
use super::wake::wake;
use crate::backend::robust::error::Trouble;
use crate::backend::robust::platform::{SharedObject, clock};
use crate::error::{Cause, ErrorKind};
use crate::sys::fork;

/// What a process needs to operate on a semaphore that it has open.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) core: Arc<Core>,
    /// The number of its slot.
    pub(crate) number: u16,
    pub(crate) turn: Arc<Turn>,
    /// The process that opened it: in a forked child nothing of it is there.
    pub(crate) generation: u32,
}

impl Participant {
    /// # Errors
    /// [`Corrupt`](Trouble::Corrupt) if this open has no slot.
    pub(crate) fn new(core: Arc<Core>) -> Result<Self, Trouble> {
        Ok(Self {
            number: core.own_slot().ok_or(Trouble::Corrupt)?,
            core,
            turn: Arc::new(Turn::new()),
            generation: fork::generation(),
        })
    }

    /// Returns whether this process opened it.
    pub(crate) fn is_own(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Returns the operations that need no system call and no wait.
    pub(crate) fn fast_path(&self) -> FastPath {
        FastPath::new(&self.core, self.number, &self.turn)
    }

    pub(crate) fn actor(&self) -> Actor<'_> {
        let (layout, number) = (self.core.layout(), self.number);
        let slot = layout::slot(layout, self.core.file.rest(), number).expect("it has it");
        Actor { core: &self.core, layout, number, slot }
    }

    pub(crate) fn own(&self) -> &Slot {
        self.actor().slot
    }

    pub(crate) fn operate(&self, operation: &Operation) -> Result<Outcome, Trouble> {
        self.core.experience.make_way(self.core.layout(), self.number);
        let _turn = self.turn.take()?;
        self.actor().operate(operation)
    }

    /// Gives, and wakes those for whom there is something.
    pub(crate) fn give(&self, operation: &Operation) -> Result<Outcome, Trouble> {
        let outcome = self.operate(operation)?;
        if let Outcome::Done { before, .. } = outcome
            && before.waiters()
        {
            wake(&self.core, operation.give);
        }
        Ok(outcome)
    }

    /// Notes since when the process holds what it holds, which counts until its next operation. (If another thread comes
    /// between with one, it does not count.)
    pub(crate) fn note_since(&self) {
        let own = self.own();
        own.committed().with_amount(clock::seconds_since_1970()).store(&own.since);
    }
}

/// What to say to who holds more than any count of free permits can be.
pub(crate) fn holds_too_many() -> Cause {
    Cause::new(ErrorKind::OutOfResources, format!("this process would hold more than {} permits", u32::MAX))
}
