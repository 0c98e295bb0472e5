//! The crash-safe engine: the best type of semaphore on Linux.
//!
//! A semaphore is a file in shared memory ([`layout`]). Taking and giving back is one compare-and-swap in it
//! ([`operation`]). Each process that uses it has a slot, in which stands what it holds, and a lock on one byte of the
//! file, which the kernel drops when the process is gone. Whoever finds such a slot gives back what is in it
//! ([`recovery`]); waiters sleep on a futex ([`waiting`]) and are woken by deaths ([`death_watch`]). The file comes
//! and goes with its users ([`life`]), at a [`place`] that its name says.
//!
//! docs/design.md tells why, and what of it is tested where.

mod breakpoint;
mod clock;
mod death_watch;
mod layout;
mod life;
mod observation;
mod operation;
mod people;
mod place;
mod quick;
mod recovery;
mod reset;
mod spinning;
#[cfg(test)]
mod tests;
mod trouble;
mod turn;
mod waiting;

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{Stat, fstat};
use rustix::io::{Errno, retry_on_intr};

use self::layout::{FIRST_SLOTS, Layout, Map, PAGE, REMOVED, Record, Slot};
use self::operation::{Actor, Operation, Outcome, Waiters};
use self::people::Identity as Process;
use self::place::Place;
pub(crate) use self::quick::Quick;
use self::recovery::{Pass, recover};
use self::spinning::Experience;
use self::trouble::Trouble;
use self::turn::Turn;
use super::api::{Backend, Identity, Namespace, Observe, Opened, Patience, Request, Wait};
use crate::error::{ErrorKind, Fault};
use crate::sys::descriptor::{PrivateDescriptor, undisturbed};
use crate::sys::standard_descriptors::move_up_inheritable;
use crate::sys::{fork, lock};
use crate::types::{AccessMode, Capabilities, Epoch, Holder, Listed, Owners};

/// Files in shared memory, at the [`place`] that the name says.
pub(super) struct Files;

impl Namespace for Files {
    fn open(&self, name: &str, request: &Request) -> Result<Opened, Fault> {
        open(name, request)
    }

    fn guards_what_it_opens(&self) -> bool {
        true
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        life::remove(&Arc::new(Place::of(name)?))
    }

    fn observe(&self, name: &str) -> Result<Box<dyn Observe>, Fault> {
        observation::observe(name)
    }

    fn list(&self, owners: Owners) -> Option<Vec<Listed>> {
        Some(observation::list(owners))
    }
}

fn open(name: &str, request: &Request) -> Result<Opened, Fault> {
    let likely = Arc::new(Place::likely_of(name)?);
    let core = match life::open(&likely, request) {
        Ok(core) => core,
        Err(fault) => match Place::of(name)? {
            place if place == *likely => return Err(fault),
            place => life::open(&Arc::new(place), request)?,
        },
    };
    Ok(Robust::new(core, request)?.opened())
}

/// The file, open and mapped.
#[derive(Debug)]
struct Core {
    map: Map,
    place: Arc<Place>,
    file: Mutex<Arc<PrivateDescriptor>>,
    device: u64,
    inode: u64,
    /// This open's slot, or [`NO_SLOT`].
    own: AtomicU32,
    /// So many slots are known to lie in memory that is there.
    reserved: AtomicU32,
    /// Threads take turns at recovering.
    recovering: Mutex<()>,
    /// The slot of who was found dead last.
    last_dead: AtomicU32,
    experience: Experience,
}

/// The lowest number of an inheritable permit's descriptor, if the process may have so many: above the single digits that
/// shell redirections use and the low numbers that programs and their wrappers (make's jobserver, systemd's socket
/// activation) use by convention.
const INHERITABLE: RawFd = 100;
const NO_SLOT: u32 = u32::MAX;
const SLOTS_AT: u32 = std::mem::offset_of!(Layout, slots) as u32;
const SLOT_SIZE: u32 = size_of::<Slot>() as u32;

impl Core {
    /// Opens the file, by a function that may be called several times, and maps it; tells what the system says of it.
    /// Nothing is looked at yet.
    fn open(
        place: &Arc<Place>,
        mut open: impl FnMut() -> Result<OwnedFd, Errno>,
    ) -> io::Result<(Self, Stat)> {
        let (file, map, data) = undisturbed(|| {
            let file = retry_on_intr(&mut open)?;
            let data = fstat(&file)?;
            let file = PrivateDescriptor::of_file(file, data.st_dev, data.st_ino)?;
            let map = Map::new(file.as_fd())?;
            Ok::<_, io::Error>((file, map, data))
        })?;
        let core = Self {
            map,
            place: Arc::clone(place),
            file: Mutex::new(Arc::new(file)),
            device: data.st_dev,
            inode: data.st_ino,
            own: AtomicU32::new(NO_SLOT),
            reserved: AtomicU32::new(FIRST_SLOTS.into()),
            recovering: Mutex::new(()),
            last_dead: AtomicU32::new(0),
            experience: Experience::new(),
        };
        Ok((core, data))
    }

    #[inline]
    fn layout(&self) -> &Layout {
        &self.map
    }

    /// The descriptor. If other code of the process has closed it, the file is opened again: our own lock lives on with
    /// the mapping, and any open of the file will do for all others.
    fn file(&self) -> Result<Arc<PrivateDescriptor>, Trouble> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !file.is_ours() {
            let again = undisturbed(|| PrivateDescriptor::new(life::open_by_name(&self.place)?));
            let again = again.map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT) => Trouble::LostDescriptor,
                _ => error.into(),
            })?;
            if !self.is(&fstat(&again)?) {
                return Err(Trouble::LostDescriptor);
            }
            *file = Arc::new(again);
        }
        Ok(Arc::clone(&file))
    }

    /// The descriptor, for who has just opened the file. That nobody has closed it since is to be looked at before anything is
    /// done that rests on a lock that was free or could be had: it may have been one of another file.
    fn new_file(&self) -> Arc<PrivateDescriptor> {
        Arc::clone(&self.file.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The descriptor alone.
    fn into_file(self) -> Option<OwnedFd> {
        let file = self.file.into_inner().unwrap_or_else(PoisonError::into_inner);
        Arc::into_inner(file)?.into_inner()
    }

    fn is(&self, data: &Stat) -> bool {
        (data.st_dev, data.st_ino) == (self.device, self.inode)
    }

    fn own_slot(&self) -> Option<u16> {
        u16::try_from(self.own.load(Ordering::Relaxed)).ok()
    }

    fn set_own_slot(&self, number: u16) {
        self.own.store(number.into(), Ordering::Relaxed);
    }

    /// A slot, whose number may come from the file.
    #[inline]
    fn slot(&self, number: u16) -> Result<&Slot, Trouble> {
        let slot = layout::slot(&self.map, self.map.rest(), number).ok_or(Trouble::Corrupt)?;
        if u32::from(number) >= self.reserved.load(Ordering::Relaxed) {
            self.reserve(number)?;
        }
        Ok(slot)
    }

    /// Sees that the memory of a slot is there: to touch what is not, where there is no more, is SIGBUS.
    #[cold]
    fn reserve(&self, number: u16) -> Result<(), Trouble> {
        let end = u64::from(SLOTS_AT + (u32::from(number) + 1) * SLOT_SIZE).next_multiple_of(PAGE);
        life::reserve(&*self.file()?, end)?;
        self.reserved.fetch_max((end as u32 - SLOTS_AT) / SLOT_SIZE, Ordering::Relaxed);
        Ok(())
    }

    fn recovering(&self) -> MutexGuard<'_, ()> {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_dead(&self) -> u16 {
        self.last_dead.load(Ordering::Relaxed) as u16
    }

    fn note_dead(&self, number: u16) {
        self.last_dead.store(number.into(), Ordering::Relaxed);
    }

    /// Whether who has not waited lets those go first who have.
    #[cold]
    fn is_fair_now(&self) -> bool {
        let until = self.layout().fair_until.load(Ordering::Relaxed);
        // a moment far ahead is none that anybody has written
        until != 0 && (1..=waiting::FAIR_MS).contains(&until.wrapping_sub(clock::milliseconds()))
    }

    /// How many processes seem to wait: those in slots before this one's, and all. (The dead may still be among them.)
    fn waiting_processes(&self) -> (u64, u64) {
        let own = self.own_slot();
        let waits = |number: &u16| {
            self.slot(*number).is_ok_and(|slot| slot.waiting_threads.load(Ordering::Relaxed) > 0)
        };
        self.layout().used_slots().filter(waits).fold((0, 0), |(before, all), number| {
            (before + u64::from(own.is_some_and(|own| number < own)), all + 1)
        })
    }

    /// A process that is stopped in the middle of a recovery, and the dead one.
    fn stopped_recoverer(&self) -> Option<(u32, u32)> {
        self.layout().used_slots().find_map(|number| {
            let slot = self.slot(number).ok()?;
            let recoverer = slot.recoverer.load(Ordering::Relaxed);
            let is_stopped = recoverer != 0 && people::is_stopped(recoverer);
            is_stopped.then(|| (recoverer, slot.pid.load(Ordering::Relaxed)))
        })
    }

    /// Whether it looks as if the slot's process lived. That is a hint, and cheap.
    fn seems_alive(&self, number: u16) -> Result<bool, Trouble> {
        Ok(people::seems_alive(&self.slot(number)?.identity()))
    }

    /// The epoch of now. After a removal it is one in which nobody holds anything.
    fn epoch(&self) -> u32 {
        reset::epoch(self.layout())
    }

    fn max_permits(&self) -> u32 {
        self.layout().max_permits(reset::last_epoch(self.layout()))
    }

    /// The slots of living processes.
    fn living_slots(&self) -> Result<Vec<(u16, &Slot)>, Trouble> {
        let file = self.file()?;
        let mut living = Vec::new();
        for number in self.layout().used_slots() {
            if Some(number) == self.own_slot() || lock::is_locked(file.as_fd(), number..number + 1)? {
                living.push((number, self.slot(number)?));
            }
        }
        Ok(living)
    }
}

/// A process's open semaphore.
#[derive(Debug)]
pub(super) struct Robust {
    core: Arc<Core>,
    /// The number of its slot.
    number: u16,
    turn: Arc<Turn>,
    /// What it was opened by.
    request: Request,
    /// The process that opened it: in a forked child nothing of it is there.
    generation: u32,
    /// Whether the slot goes on without this.
    keeps_slot: AtomicBool,
}

impl Robust {
    fn new(core: Arc<Core>, request: &Request) -> Result<Self, Fault> {
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
    pub(super) fn fast_path(&self) -> Quick {
        Quick::new(&self.core, self.number, &self.turn)
    }

    fn opened(self) -> Opened {
        Opened { backend: Box::new(self), removal: None, needs_reset: false }
    }

    fn actor(&self) -> Actor<'_> {
        let (layout, number) = (self.core.layout(), self.number);
        let slot = layout::slot(layout, self.core.map.rest(), number).expect("it has it");
        Actor { core: &self.core, layout, number, slot }
    }

    /// Gives everything up but the descriptor, with which the slot and its permits live on.
    fn into_descriptor(self) -> Result<OwnedFd, Fault> {
        self.keeps_slot.store(true, Ordering::Relaxed);
        let core = Arc::clone(&self.core);
        drop(self);
        let file = Arc::into_inner(core).and_then(Core::into_file).ok_or(Trouble::LostDescriptor)?;
        Ok(move_up_inheritable(file, INHERITABLE).map_err(Trouble::from)?)
    }

    fn own(&self) -> &Slot {
        self.actor().slot
    }

    /// Fails unless the slot's lock goes with the descriptor.
    fn has_lock_by_descriptor(&self) -> Result<(), Trouble> {
        let file = self.core.file()?;
        if lock::is_locked(file.as_fd(), self.number..self.number + 1)? {
            return Err(Trouble::LostDescriptor);
        }
        Ok(())
    }

    fn operate(&self, operation: &Operation) -> Result<Outcome, Trouble> {
        self.core.experience.make_way(self.core.layout(), self.number);
        let _turn = self.turn.take()?;
        self.actor().operate(operation)
    }

    /// Notes since when the process holds what it holds, which counts until its next operation. (If another thread comes
    /// between with one, it does not count.)
    fn note_since(&self) {
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
fn holds_too_many() -> Fault {
    Fault::new(ErrorKind::OutOfResources, format!("this process would hold more than {} permits", u32::MAX))
}

/// What to say where there is no room.
fn no_room(core: &Core) -> Fault {
    let max = core.max_permits();
    Fault::new(ErrorKind::OutOfResources, format!("it can have at most {max} permits"))
}

impl Backend for Robust {
    fn identity(&self) -> Identity {
        Identity(u128::from(self.core.device) << 64 | u128::from(self.core.inode))
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
            max_permits: self.core.max_permits(),
        }
    }

    fn acquire(&self, count: u32, wait: &mut Wait<'_>) -> Result<Epoch, Fault> {
        let queues = wait.patience != Patience::None;
        match self.operate(&Operation::acquire(count, queues, Waiters::Keep)) {
            Ok(Outcome::Done { epoch, .. }) => Ok(epoch),
            Ok(Outcome::TooFew(state)) => self.wait(count, state, wait),
            Ok(Outcome::TooMany) => Err(holds_too_many()),
            Ok(Outcome::Void) => Err(Trouble::Corrupt.into()),
            Err(trouble) => Err(trouble.into()),
        }
    }

    fn give_back(&self, count: u32, epoch: Epoch) -> Result<(), Fault> {
        match self.give(&Operation::give_back(count, epoch, Waiters::Clear))? {
            Outcome::Done { before, after, .. } if after.count() - before.count() < count => {
                Err(no_room(&self.core))
            }
            _ => Ok(()),
        }
    }

    fn release(&self, held: u32, epoch: Epoch, created: u32) -> Result<(), Fault> {
        match self.give(&Operation::release(held, epoch, created))? {
            Outcome::TooMany => Err(no_room(&self.core)),
            // what was held was voided by a reset
            Outcome::Void if created > 0 => self.release(0, epoch, created),
            _ => Ok(()),
        }
    }

    fn forget(&self, count: u32, epoch: Epoch) -> Result<(), Fault> {
        let _turn = self.turn.take()?;
        operation::forget(self.own(), count, epoch);
        Ok(())
    }

    fn holds_from_now(&self) {
        self.note_since();
    }

    fn available(&self) -> Result<u32, Fault> {
        recover(&self.core, Pass::Holders)?;
        let layout = self.core.layout();
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
        self.core.epoch()
    }

    fn waiting(&self) -> Result<u32, Fault> {
        let living = self.core.living_slots()?;
        let waiting = living.iter().map(|(_, slot)| slot.waiting_threads.load(Ordering::Relaxed));
        Ok(waiting.fold(0, u32::saturating_add))
    }

    fn holders(&self) -> Result<Vec<Holder>, Fault> {
        let _ = recover(&self.core, Pass::Holders);
        let epoch = self.core.epoch();
        let holders = self.core.living_slots()?.into_iter().filter_map(|(_, slot)| {
            let held = slot.held(epoch);
            let since = Record::load(&slot.since, Ordering::Acquire);
            (held > 0).then(|| describe(slot.identity(), since, slot.committed(), held))
        });
        Ok(holders.collect())
    }

    fn recoveries(&self) -> Result<u64, Fault> {
        let _ = recover(&self.core, Pass::Holders);
        Ok(self.core.layout().recoveries.load(Ordering::Acquire))
    }

    fn initial_value(&self) -> Result<u32, Fault> {
        Ok(self.core.layout().initial(reset::last_epoch(self.core.layout())))
    }

    fn is_persistent(&self) -> Result<bool, Fault> {
        Ok(self.core.layout().persistent.load(Ordering::Acquire) != 0)
    }

    fn open_in_child(&self) -> Option<Result<Opened, Fault>> {
        let mode = match self.request.mode {
            AccessMode::OpenExisting => AccessMode::OpenExisting,
            // what its parent has made or reset, the child opens
            _ => AccessMode::Open,
        };
        let request = Request { mode, ..self.request.clone() };
        let core = life::open(&self.core.place, &request);
        Some(core.and_then(|core| Self::new(core, &request)).map(Self::opened))
    }

    fn acquire_inheritable(&self, count: u32, wait: &mut Wait<'_>) -> Result<OwnedFd, Fault> {
        let own = Self::new(Arc::new(life::open_again(&self.core)?), &self.request)?;
        let epoch = own.acquire(count, wait)?;
        // if other code has closed the descriptor meanwhile, the lock is that of the mapping alone
        if let Err(trouble) = own.has_lock_by_descriptor() {
            own.give_back(count, epoch)?;
            return Err(trouble.into());
        }
        own.note_since();
        own.into_descriptor()
    }

    fn look_for_dead(&self) {
        let _ = recover(&self.core, Pass::Holders);
    }
}

/// A holder, for people. It is known since when if that was noted for its last operation.
fn describe(who: Process, since: Record, committed: Record, permits: u32) -> Holder {
    let is_known = since.amount() != 0 && since.seq() == committed.seq();
    Holder {
        pid: who.visible_pid(),
        command: who.command(),
        permits,
        since: is_known.then(|| UNIX_EPOCH + Duration::from_secs(since.amount().into())),
    }
}
