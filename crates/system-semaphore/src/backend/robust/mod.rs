//! The crash-safe engine: the default type of semaphore on Linux.
//!
//! A semaphore is a file in shared memory ([`layout`](algorithm::layout)). Acquiring and releasing
//! is one compare-and-swap in it ([`operation`]). Each user has a slot, which contains the number
//! of its permits, and a lock on one byte of the file. The kernel releases that lock when the user
//! dies. A process that finds the slot of a dead user releases its permits
//! ([`recovery`](algorithm::recovery)). Waiters sleep on a futex ([`wait`](algorithm::wait)), and a
//! death wakes them ([`death_watch`]). The first user creates the file, and the last one removes it
//! ([`lifetime`]). Its [`path`](lifetime::path) is derived from the name.
//!
//! docs/design.md has the reasons, and names the tests.

mod algorithm;
mod death_watch;
mod error;
mod failpoint;
pub mod format;
mod inheritable;
mod lifetime;
mod observe;
mod open_semaphore;
mod platform;
mod process_id;
#[cfg(test)]
mod tests;

pub(crate) use self::algorithm::fast_path::FastPath;
pub(crate) use self::open_semaphore::RobustSemaphore;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::algorithm::epoch;
use self::algorithm::layout::REMOVED;
use self::algorithm::mapped_file::MappedFile;
use self::algorithm::operation::{self, Operation, Outcome, WaitersFlag};
use self::algorithm::participant::held_overflow_error;
use self::algorithm::recovery::{ScanScope, recover};
use self::algorithm::state::Record;
use self::death_watch::WatchHandle;
use self::error::EngineError;
use self::lifetime::open;
use self::lifetime::path::SemaphorePath;
use self::lifetime::remove;
use self::observe::describe_holder;
use self::platform::{ObjectId, SharedObject};
use super::api::{Backend, Identity, Namespace, Observe, OpenRequest, Opened, WaitLimit, WaitOptions};
use crate::error::{Cause, ErrorKind};
use crate::types::{AccessMode, Capabilities, Epoch, Holder, Listed, Owners};

/// The files in shared memory, at the [`path`](lifetime::path) of their name.
pub(super) struct Files;

impl Namespace for Files {
    fn open(&self, name: &str, request: &OpenRequest) -> Result<Opened, Cause> {
        open(name, request)
    }

    fn open_is_race_free(&self) -> bool {
        true
    }

    fn remove(&self, name: &str) -> Result<(), Cause> {
        remove::remove(&Arc::new(SemaphorePath::of(name)?))
    }

    fn observe(&self, name: &str) -> Result<Box<dyn Observe>, Cause> {
        observe::observe(name)
    }

    fn list(&self, owners: Owners) -> Option<Vec<Listed>> {
        Some(observe::list(owners))
    }
}

fn open(name: &str, request: &OpenRequest) -> Result<Opened, Cause> {
    let likely = Arc::new(SemaphorePath::assuming_dev_shm(name)?);
    let (mapped, path) = match open::open(&likely, request) {
        Ok(mapped) => (mapped, likely),
        Err(cause) => match SemaphorePath::of(name)? {
            path if path == *likely => return Err(cause),
            path => {
                let path = Arc::new(path);
                (open::open(&path, request)?, path)
            }
        },
    };
    Ok(RobustSemaphore::new(mapped, &path, request)?.opened())
}

/// Returns the error of a release that would pass the maximum.
fn no_room(mapped: &MappedFile) -> Cause {
    let max = mapped.resolve_max_permits();
    Cause::new(ErrorKind::OutOfResources, format!("it can have at most {max} permits"))
}

impl Backend for RobustSemaphore {
    fn identity(&self) -> Identity {
        let ObjectId(id) = self.participant.mapped.file.id();
        Identity(id)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            returns_on_death: true,
            created_permits_stay: true,
            timeout: true,
            several_at_once: true,
            available_permits: true,
            holders: true,
            waiting: true,
            last_pid: false,
            recoveries: true,
            reset_voids_permits: true,
            ends_with_last_user: true,
            own_maximum: true,
            inheritable_permits: true,
            max_permits: self.participant.mapped.resolve_max_permits(),
        }
    }

    fn acquire(&self, count: u32, wait: &mut WaitOptions<'_>) -> Result<Epoch, Cause> {
        let queues = wait.limit != WaitLimit::None;
        match self.participant.operate(&Operation::acquire(count, queues, WaitersFlag::Keep)) {
            Ok(Outcome::Done { epoch, .. }) => Ok(epoch),
            Ok(Outcome::Insufficient(state)) => self.participant.wait::<WatchHandle>(count, state, wait),
            Ok(Outcome::Overflow) => Err(held_overflow_error()),
            Ok(Outcome::Stale) => Err(EngineError::Corrupt.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn release(&self, count: u32, epoch: Epoch) -> Result<(), Cause> {
        match self.participant.release_and_wake(&Operation::release(count, epoch, WaitersFlag::Clear))? {
            Outcome::Done { before, after, .. } if after.count() - before.count() < count => {
                Err(no_room(&self.participant.mapped))
            }
            _ => Ok(()),
        }
    }

    fn release_and_add(&self, held: u32, epoch: Epoch, added: u32) -> Result<(), Cause> {
        match self.participant.release_and_wake(&Operation::release_and_add(held, epoch, added))? {
            Outcome::Overflow => Err(no_room(&self.participant.mapped)),
            // a reset has voided the held permits
            Outcome::Stale if added > 0 => self.release_and_add(0, epoch, added),
            _ => Ok(()),
        }
    }

    fn forget(&self, count: u32, epoch: Epoch) -> Result<(), Cause> {
        let _guard = self.participant.slot_lock.lock()?;
        operation::forget(self.participant.slot(), count, epoch);
        Ok(())
    }

    fn record_hold_start(&self) {
        self.participant.record_hold_start();
    }

    fn available(&self) -> Result<u32, Cause> {
        recover(&self.participant.mapped, ScanScope::HoldersRateLimited)?;
        let layout = self.participant.mapped.layout();
        let state = layout.state();
        if state.slot() == REMOVED {
            return Err(EngineError::Removed.into());
        }
        operation::check_count(layout, state, epoch::epoch_of(layout.epoch.load(Ordering::Acquire), state))?;
        Ok(state.count())
    }

    fn epoch(&self) -> Epoch {
        self.participant.mapped.resolve_epoch()
    }

    fn waiting(&self) -> Result<u32, Cause> {
        let living = self.participant.mapped.living_slots()?;
        let waiting = living.iter().map(|(_, slot)| slot.waiting_threads.load(Ordering::Relaxed));
        Ok(waiting.fold(0, u32::saturating_add))
    }

    fn holders(&self) -> Result<Vec<Holder>, Cause> {
        let _ = recover(&self.participant.mapped, ScanScope::HoldersRateLimited);
        let epoch = self.participant.mapped.resolve_epoch();
        let holders = self.participant.mapped.living_slots()?.into_iter().filter_map(|(_, slot)| {
            let held = slot.held(epoch);
            let since = Record::load(&slot.since, Ordering::Acquire);
            (held > 0).then(|| describe_holder(slot.process_id(), since, slot.committed(), held))
        });
        Ok(holders.collect())
    }

    fn recoveries(&self) -> Result<u64, Cause> {
        let _ = recover(&self.participant.mapped, ScanScope::HoldersRateLimited);
        Ok(self.participant.mapped.layout().recoveries.load(Ordering::Acquire))
    }

    fn initial_value(&self) -> Result<u32, Cause> {
        Ok(self
            .participant
            .mapped
            .layout()
            .initial(epoch::resolve_reset_epoch(self.participant.mapped.layout())))
    }

    fn is_persistent(&self) -> Result<bool, Cause> {
        Ok(self.participant.mapped.layout().persistent.load(Ordering::Acquire) != 0)
    }

    fn reopen_after_fork(&self) -> Option<Result<Opened, Cause>> {
        let mode = match self.request.mode {
            AccessMode::OpenExisting => AccessMode::OpenExisting,
            // a child opens what its parent has created or reset
            _ => AccessMode::Open,
        };
        let request = OpenRequest { mode, ..self.request.clone() };
        let mapped = open::open(&self.path, &request);
        Some(mapped.and_then(|mapped| Self::new(mapped, &self.path, &request)).map(Self::opened))
    }

    fn acquire_inheritable(&self, count: u32, wait: &mut WaitOptions<'_>) -> Result<OwnedFd, Cause> {
        let again = inheritable::open_second_description(&self.participant.mapped, &self.path)?;
        let own = Self::new(Arc::new(again), &self.path, &self.request)?;
        let epoch = own.acquire(count, wait)?;
        // if other code has closed the descriptor meanwhile, only the mapping keeps the lock
        if let Err(error) = inheritable::check_lock_by_descriptor(&own) {
            own.release(count, epoch)?;
            return Err(error.into());
        }
        own.participant.record_hold_start();
        inheritable::into_descriptor(own)
    }

    fn recover_dead(&self) {
        let _ = recover(&self.participant.mapped, ScanScope::HoldersRateLimited);
    }
}
