//! A platform that exists only in the model: the memory is an allocation, the kernel is a few mutexes of loom's.

#[path = "../../../../../crates/system-semaphore/src/backend/robust/platform/api.rs"]
mod api;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use self::api::{Interrupt, Location, LockId, Object, ObjectId};
pub(crate) use self::api::{LivenessLocks, Parking, Queue, SharedObject, Unparked};
use super::algorithm::fairness::FAIR_MS;
use super::error::EngineError;
use super::tests::me;
use crate::sys::atomic::AtomicU64;
use crate::sys::shared_memory::{Mapping, Part, Shared};

/// No time passes.
pub(crate) mod clock {
    use std::time::Duration;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Instant;

    impl Instant {
        pub(crate) fn now() -> Self {
            Self
        }

        pub(crate) fn elapsed(self) -> Duration {
            Duration::ZERO
        }

        pub(crate) fn saturating_duration_since(self, _: Self) -> Duration {
            Duration::MAX
        }
    }

    pub(crate) fn milliseconds() -> u64 {
        1
    }

    pub(crate) fn seconds_since_1970() -> u32 {
        0
    }
}

/// The locks of the process that asks.
#[derive(Debug)]
pub(crate) struct Locks;

loom::lazy_static! {
    /// Which process has which lock. A process is known by its slot.
    static ref OWNERS: Mutex<[Option<u16>; 8]> = Mutex::new([None; 8]);
}

impl LivenessLocks for Locks {
    fn try_lock(&self, lock: LockId) -> Result<bool, EngineError> {
        let owner = &mut OWNERS.lock().expect("no process dies with it")[usize::from(lock)];
        if owner.is_some_and(|owner| owner != me()) {
            return Ok(false);
        }
        *owner = Some(me());
        Ok(true)
    }

    fn unlock(&self, lock: LockId) -> Result<(), EngineError> {
        OWNERS.lock().expect("no process dies with it")[usize::from(lock)] = None;
        Ok(())
    }

    fn find_locked(&self, mut locks: Range<LockId>) -> Result<Option<LockId>, EngineError> {
        let owners = OWNERS.lock().expect("no process dies with it");
        Ok(locks.find(|lock| owners[usize::from(*lock)].is_some_and(|owner| owner != me())))
    }

    fn check_still_ours(&self) -> bool {
        true
    }
}

/// Gives a process the lock of its own slot.
pub(crate) fn lock_own_slot(process: u16) {
    OWNERS.lock().expect("no process dies with it")[usize::from(process)] = Some(process);
}

/// What the kernel does at a death.
pub(crate) fn release_all_of(process: u16) {
    let mut owners = OWNERS.lock().expect("no process dies with it");
    for owner in owners.iter_mut().filter(|owner| **owner == Some(process)) {
        *owner = None;
    }
}

/// Memory that the processes of a scene share.
pub(crate) struct SharedFile<T, R>(Mapping<T, R>);

impl<T, R> SharedFile<T, R> {
    pub(crate) fn of(memory: Mapping<T, R>) -> Self {
        Self(memory)
    }
}

impl<T, R> fmt::Debug for SharedFile<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedFile")
    }
}

impl<T: Shared, R: Shared> SharedObject<T, R> for SharedFile<T, R> {
    type Locks = Locks;

    fn open<M>(
        _: Arc<dyn Location>,
        _: impl FnMut() -> io::Result<(Object, ObjectId, M)>,
    ) -> io::Result<(Self, M)> {
        unreachable!("a scene makes its memory itself")
    }

    fn id(&self) -> ObjectId {
        ObjectId(0)
    }

    fn into_object(self) -> Option<Object> {
        None
    }

    fn remove_side_objects(_: &dyn Location, _: Option<&Self>) {}

    fn first(&self) -> &T {
        &self.0
    }

    fn rest(&self) -> &R {
        self.0.rest()
    }

    fn part<P: Shared>(
        &self,
        choose: impl for<'a> Fn(&'a T, &'a R) -> &'a P + Send + Sync + 'static,
    ) -> Part<P> {
        self.0.part(choose)
    }

    fn reserve(_: &Locks, _: u64) -> Result<(), EngineError> {
        Ok(())
    }

    fn ensure_locks(&self) -> Result<Arc<Locks>, EngineError> {
        Ok(Arc::new(Locks))
    }

    fn new_locks(&self) -> Arc<Locks> {
        Arc::new(Locks)
    }
}

/// A parked thread: its queue, and what wakes it.
type Parked = (Queue, Arc<Condvar>);

loom::lazy_static! {
    /// The parked threads. The kernel, too, compares the word while it has its queue locked.
    static ref PARKED: Mutex<Vec<Parked>> = Mutex::new(Vec::new());
}

impl<T, R> Parking for SharedFile<T, R> {
    /// Parks until unparked: a thread that is forgotten stays parked for ever, which loom reports. Only the short sleep of a
    /// thread that lets others go first comes to its end, at once.
    fn park(
        &self,
        word: &AtomicU64,
        expected: u32,
        queue: Queue,
        limit: Duration,
        _: Option<&Interrupt>,
    ) -> Result<Unparked, EngineError> {
        let mut parked = PARKED.lock().expect("no process dies with it");
        if word.load(Ordering::Relaxed) as u32 != expected {
            return Ok(Unparked::Changed);
        }
        if limit <= Duration::from_millis(FAIR_MS) {
            return Ok(Unparked::Ended);
        }
        let alarm = Arc::new(Condvar::new());
        parked.push((queue, Arc::clone(&alarm)));
        while parked.iter().any(|(_, other)| Arc::ptr_eq(other, &alarm)) {
            parked = alarm.wait(parked).expect("no process dies with it");
        }
        Ok(Unparked::Woken)
    }

    fn unpark(&self, _: &AtomicU64, queue: Queue, count: u32) {
        let mut parked = PARKED.lock().expect("no process dies with it");
        for _ in 0..count {
            let Some(next) = parked.iter().position(|(other, _)| *other == queue) else { break };
            parked.remove(next).1.notify_one();
        }
    }
}
