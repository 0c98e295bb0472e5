//! The crash-safe engine: the best type of semaphore on Linux.
//!
//! A semaphore is a file in shared memory ([`layout`](algorithm::layout)). Taking and giving back is one compare-and-swap in it
//! ([`operation`]). Each process that uses it has a slot, in which stands what it holds, and a lock on one byte of the
//! file, which the kernel drops when the process is gone. Whoever finds such a slot gives back what is in it
//! ([`recovery`](algorithm::recovery)); waiters sleep on a futex ([`wait`](algorithm::wait)) and are woken by deaths ([`death_watch`]). The file comes
//! and goes with its users ([`lifetime`]), at a [`path`](lifetime::path) that its name says.
//!
//! docs/design.md tells why, and what of it is tested where.

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
pub(crate) use self::open_semaphore::Robust;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::algorithm::epoch as reset;
use self::algorithm::layout::REMOVED;
use self::algorithm::mapped_file::Core;
use self::algorithm::operation::{self, Operation, Outcome, Waiters};
use self::algorithm::participant::holds_too_many;
use self::algorithm::recovery::{Pass, recover};
use self::algorithm::state::Record;
use self::death_watch::WatchHandle;
use self::error::Trouble;
use self::lifetime::open as life;
use self::lifetime::path::Place;
use self::lifetime::remove;
use self::observe::describe;
use self::platform::{ObjectId, SharedObject};
use super::api::{Backend, Identity, Namespace, Observe, OpenRequest, Opened, WaitLimit, WaitOptions};
use crate::error::{Cause, ErrorKind};
use crate::types::{AccessMode, Capabilities, Epoch, Holder, Listed, Owners};

/// Files in shared memory, at the [`path`](lifetime::path) that the name says.
pub(super) struct Files;

impl Namespace for Files {
    fn open(&self, name: &str, request: &OpenRequest) -> Result<Opened, Cause> {
        open(name, request)
    }

    fn open_is_race_free(&self) -> bool {
        true
    }

    fn remove(&self, name: &str) -> Result<(), Cause> {
        remove::remove(&Arc::new(Place::of(name)?))
    }

    fn observe(&self, name: &str) -> Result<Box<dyn Observe>, Cause> {
        observe::observe(name)
    }

    fn list(&self, owners: Owners) -> Option<Vec<Listed>> {
        Some(observe::list(owners))
    }
}

fn open(name: &str, request: &OpenRequest) -> Result<Opened, Cause> {
    let likely = Arc::new(Place::likely_of(name)?);
    let (core, place) = match life::open(&likely, request) {
        Ok(core) => (core, likely),
        Err(cause) => match Place::of(name)? {
            place if place == *likely => return Err(cause),
            place => {
                let place = Arc::new(place);
                (life::open(&place, request)?, place)
            }
        },
    };
    Ok(Robust::new(core, &place, request)?.opened())
}

/// What to say where there is no room.
fn no_room(core: &Core) -> Cause {
    let max = core.max_permits();
    Cause::new(ErrorKind::OutOfResources, format!("it can have at most {max} permits"))
}

impl Backend for Robust {
    fn identity(&self) -> Identity {
        let ObjectId(id) = self.participant.core.file.id();
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
            max_permits: self.participant.core.max_permits(),
        }
    }

    fn acquire(&self, count: u32, wait: &mut WaitOptions<'_>) -> Result<Epoch, Cause> {
        let queues = wait.limit != WaitLimit::None;
        match self.participant.operate(&Operation::acquire(count, queues, Waiters::Keep)) {
            Ok(Outcome::Done { epoch, .. }) => Ok(epoch),
            Ok(Outcome::TooFew(state)) => self.participant.wait::<WatchHandle>(count, state, wait),
            Ok(Outcome::TooMany) => Err(holds_too_many()),
            Ok(Outcome::Void) => Err(Trouble::Corrupt.into()),
            Err(trouble) => Err(trouble.into()),
        }
    }

    fn release(&self, count: u32, epoch: Epoch) -> Result<(), Cause> {
        match self.participant.give(&Operation::give_back(count, epoch, Waiters::Clear))? {
            Outcome::Done { before, after, .. } if after.count() - before.count() < count => {
                Err(no_room(&self.participant.core))
            }
            _ => Ok(()),
        }
    }

    fn release_and_add(&self, held: u32, epoch: Epoch, added: u32) -> Result<(), Cause> {
        match self.participant.give(&Operation::release(held, epoch, added))? {
            Outcome::TooMany => Err(no_room(&self.participant.core)),
            // what was held was voided by a reset
            Outcome::Void if added > 0 => self.release_and_add(0, epoch, added),
            _ => Ok(()),
        }
    }

    fn forget(&self, count: u32, epoch: Epoch) -> Result<(), Cause> {
        let _turn = self.participant.turn.take()?;
        operation::forget(self.participant.own(), count, epoch);
        Ok(())
    }

    fn record_hold_start(&self) {
        self.participant.note_since();
    }

    fn available(&self) -> Result<u32, Cause> {
        recover(&self.participant.core, Pass::Holders)?;
        let layout = self.participant.core.layout();
        let state = layout.state();
        if state.slot() == REMOVED {
            return Err(Trouble::Removed.into());
        }
        operation::check_count(
            layout,
            state,
            reset::epoch_with(layout.epoch.load(Ordering::Acquire), state),
        )?;
        Ok(state.count())
    }

    fn epoch(&self) -> Epoch {
        self.participant.core.epoch()
    }

    fn waiting(&self) -> Result<u32, Cause> {
        let living = self.participant.core.living_slots()?;
        let waiting = living.iter().map(|(_, slot)| slot.waiting_threads.load(Ordering::Relaxed));
        Ok(waiting.fold(0, u32::saturating_add))
    }

    fn holders(&self) -> Result<Vec<Holder>, Cause> {
        let _ = recover(&self.participant.core, Pass::Holders);
        let epoch = self.participant.core.epoch();
        let holders = self.participant.core.living_slots()?.into_iter().filter_map(|(_, slot)| {
            let held = slot.held(epoch);
            let since = Record::load(&slot.since, Ordering::Acquire);
            (held > 0).then(|| describe(slot.identity(), since, slot.committed(), held))
        });
        Ok(holders.collect())
    }

    fn recoveries(&self) -> Result<u64, Cause> {
        let _ = recover(&self.participant.core, Pass::Holders);
        Ok(self.participant.core.layout().recoveries.load(Ordering::Acquire))
    }

    fn initial_value(&self) -> Result<u32, Cause> {
        Ok(self.participant.core.layout().initial(reset::last_epoch(self.participant.core.layout())))
    }

    fn is_persistent(&self) -> Result<bool, Cause> {
        Ok(self.participant.core.layout().persistent.load(Ordering::Acquire) != 0)
    }

    fn reopen_after_fork(&self) -> Option<Result<Opened, Cause>> {
        let mode = match self.request.mode {
            AccessMode::OpenExisting => AccessMode::OpenExisting,
            // what its parent has made or reset, the child opens
            _ => AccessMode::Open,
        };
        let request = OpenRequest { mode, ..self.request.clone() };
        let core = life::open(&self.place, &request);
        Some(core.and_then(|core| Self::new(core, &self.place, &request)).map(Self::opened))
    }

    fn acquire_inheritable(&self, count: u32, wait: &mut WaitOptions<'_>) -> Result<OwnedFd, Cause> {
        let again = inheritable::open_again(&self.participant.core, &self.place)?;
        let own = Self::new(Arc::new(again), &self.place, &self.request)?;
        let epoch = own.acquire(count, wait)?;
        // if other code has closed the descriptor meanwhile, the lock is that of the mapping alone
        if let Err(trouble) = inheritable::has_lock_by_descriptor(&own) {
            own.release(count, epoch)?;
            return Err(trouble.into());
        }
        own.participant.note_since();
        inheritable::into_descriptor(own)
    }

    fn recover_dead(&self) {
        let _ = recover(&self.participant.core, Pass::Holders);
    }
}
