//! The membership of a process in a semaphore: the mapped file, a slot, and the lock of the slot.

use std::sync::Arc;

use super::fast_path::FastPath;
use super::layout::{self, Slot};
use super::mapped_file::MappedFile;
use super::operation::{Operation, Outcome, SlotWriter};
use super::slot_lock::SlotLock;
use super::wake::wake;
use crate::backend::robust::error::EngineError;
use crate::backend::robust::platform::{SharedObject, clock};
use crate::error::{Cause, ErrorKind};
use crate::sys::fork;

/// What a process needs to operate on a semaphore that it has open.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) mapped: Arc<MappedFile>,
    /// The number of its slot.
    pub(crate) number: u16,
    pub(crate) slot_lock: Arc<SlotLock>,
    /// The generation of the process that opened it. In a forked child nothing of it exists.
    pub(crate) generation: u32,
}

impl Participant {
    /// # Errors
    /// [`Corrupt`](EngineError::Corrupt) if this open has no slot.
    pub(crate) fn new(mapped: Arc<MappedFile>) -> Result<Self, EngineError> {
        Ok(Self {
            number: mapped.own_slot().ok_or(EngineError::Corrupt)?,
            mapped,
            slot_lock: Arc::new(SlotLock::new()),
            generation: fork::generation(),
        })
    }

    /// Returns whether this process opened it.
    pub(crate) fn is_own(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Returns the operations that need no system call and no wait.
    pub(crate) fn fast_path(&self) -> FastPath {
        FastPath::new(&self.mapped, self.number, &self.slot_lock)
    }

    pub(crate) fn writer(&self) -> SlotWriter<'_> {
        let (layout, number) = (self.mapped.layout(), self.number);
        let slot = layout::slot(layout, self.mapped.file.rest(), number).expect("it has it");
        SlotWriter { mapped: &self.mapped, layout, number, slot }
    }

    pub(crate) fn slot(&self) -> &Slot {
        self.writer().slot
    }

    pub(crate) fn operate(&self, operation: &Operation) -> Result<Outcome, EngineError> {
        self.mapped.backoff.back_off_if_contended(self.mapped.layout(), self.number);
        let _guard = self.slot_lock.lock()?;
        self.writer().operate(operation)
    }

    /// Does an operation that adds free permits, and wakes waiters if the operation cleared
    /// WAITERS.
    pub(crate) fn release_and_wake(&self, operation: &Operation) -> Result<Outcome, EngineError> {
        let outcome = self.operate(operation)?;
        if let Outcome::Done { before, .. } = outcome
            && before.waiters()
        {
            wake(&self.mapped, operation.add);
        }
        Ok(outcome)
    }

    /// Records the time since when the process holds its permits.
    ///
    /// The next operation of the slot invalidates the record. This may be one of another thread
    /// that comes in between.
    pub(crate) fn record_hold_start(&self) {
        let own = self.slot();
        own.committed().with_amount(clock::seconds_since_1970()).store(&own.since);
    }
}

/// Returns the error of a process that would hold more permits than a record can represent.
pub(crate) fn held_overflow_error() -> Cause {
    Cause::new(ErrorKind::OutOfResources, format!("this process would hold more than {} permits", u32::MAX))
}
