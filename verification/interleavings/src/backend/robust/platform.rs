//! A platform that exists only in the model: the memory is an allocation, the kernel is a few mutexes of loom's.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use super::algorithm::fairness::FAIR_MS;
use super::error::EngineError;
use super::tests::me;
use crate::sys::atomic::AtomicU64;
use crate::sys::shared_memory::{Mapping, Part};

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

pub(crate) type LockId = u16;

/// The locks of the process that asks.
#[derive(Debug)]
pub(crate) struct Locks;

/// See the trait of the library's `platform`.
pub(crate) trait LivenessLocks {
    fn try_lock(&self, lock: LockId) -> Result<bool, EngineError>;
    fn unlock(&self, lock: LockId) -> Result<(), EngineError>;
    fn find_locked(&self, locks: Range<LockId>) -> Result<Option<LockId>, EngineError>;
    fn is_locked(&self, lock: LockId) -> Result<bool, EngineError>;
    fn check_still_ours(&self) -> bool;
}

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

    fn is_locked(&self, lock: LockId) -> Result<bool, EngineError> {
        Ok(self.find_locked(lock..lock + 1)?.is_some())
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

/// See the trait of the library's `platform`. Nothing is opened here.
pub(crate) trait SharedObject<T, R> {
    fn first(&self) -> &T;
    fn rest(&self) -> &R;
    fn part<P: 'static>(
        &self,
        choose: impl for<'a> Fn(&'a T, &'a R) -> &'a P + Send + Sync + 'static,
    ) -> Part<P>;
    fn reserve(locks: &Locks, length: u64) -> Result<(), EngineError>;
    fn ensure_locks(&self) -> Result<Arc<Locks>, EngineError>;
    fn new_locks(&self) -> Arc<Locks>;
}

impl<T: Send + Sync + 'static, R: Send + Sync + 'static> SharedObject<T, R> for SharedFile<T, R> {
    fn first(&self) -> &T {
        &self.0
    }

    fn rest(&self) -> &R {
        self.0.rest()
    }

    fn part<P: 'static>(
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Single,
    Multi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unparked {
    Woken,
    Changed,
    Ended,
}

#[derive(Debug)]
pub(crate) enum Interrupt {}

/// See the trait of the library's `platform`.
pub(crate) trait Parking {
    fn park(
        &self,
        word: &AtomicU64,
        expected: u32,
        queue: Queue,
        limit: Duration,
        interrupt: Option<&Interrupt>,
    ) -> Result<Unparked, EngineError>;
    fn unpark(&self, word: &AtomicU64, queue: Queue, count: u32);
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
