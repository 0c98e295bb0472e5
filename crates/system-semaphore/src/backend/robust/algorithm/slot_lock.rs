//! The threads of a process take turns at its slot: one slot, one writer.
//!
//! While the C library says that there is only one thread, taking the turn is a plain load and store. Else the owner is a word that
//! names a thread, and takes one compare-and-swap. Giving it up is a plain store, so nobody can be told: who has to
//! wait spins for a moment, then yields, then sleeps for ever longer moments. The turn is never kept during a system call.
//!
//! A thread that takes the turn many times in a row becomes the *favourite*, who does without the swap (a biased lock: Dice,
//! Huang and Yang, "Asymmetric Dekker synchronization", 2001). It says that it has the turn by a store of its own, and looks again
//! whether it still is the favourite. Who wants the turn then takes the word, ends the favour, passes the heavy half of a fence of
//! which the favourite passes the [light](asymmetric_fence::light) one, and waits until the favourite is done. Only the same
//! thread can be the favourite again, after twice as many times in a row: what it has stored in vain cannot be another's.

use std::sync::atomic::Ordering;

use crate::backend::robust::error::EngineError;
use crate::sys::asymmetric_fence;
use crate::sys::atomic::{AtomicU32, AtomicUsize};
use crate::sys::thread::{self as this_thread, SingleThreaded};

#[derive(Debug)]
pub(crate) struct SlotLock {
    /// 0: nobody, or the favourite.
    owner: AtomicUsize,
    /// The thread that need not swap; with [`REVOKED`], the one that was it last; 0: none yet. Written by the owner.
    biased_thread: AtomicUsize,
    /// That thread, while it has the turn as the favourite; else 0.
    biased_held: AtomicUsize,
    single_threaded: SingleThreaded,
    has_fence: bool,
    /// Who had the turn last, of those who swap, and how often in a row. Written by the owner.
    last_owner: AtomicUsize,
    streak: AtomicU32,
    /// How many times in a row make a favourite.
    bias_threshold: AtomicU32,
}

/// The turn. It is given up when this is dropped.
pub(crate) struct SlotGuard<'a>(&'a AtomicUsize);

/// Names the only thread there is.
const SINGLE_THREAD: usize = 1;
/// A bit that no thread's name has.
const REVOKED: usize = 1;
/// How many times in a row make a favourite for the first time.
const INITIAL_THRESHOLD: u32 = if cfg!(loom) { 0 } else { 64 };

impl SlotLock {
    pub(crate) fn new() -> Self {
        Self {
            owner: AtomicUsize::new(0),
            biased_thread: AtomicUsize::new(0),
            biased_held: AtomicUsize::new(0),
            single_threaded: SingleThreaded::get_flag(),
            has_fence: asymmetric_fence::is_available(),
            last_owner: AtomicUsize::new(0),
            streak: AtomicU32::new(0),
            bias_threshold: AtomicU32::new(INITIAL_THRESHOLD),
        }
    }

    pub(crate) fn lock(&self) -> Result<SlotGuard<'_>, EngineError> {
        match self.try_lock() {
            Some(guard) => Ok(guard),
            None if self.single_threaded.get() => Err(EngineError::Reentered),
            None => self.lock_slow(this_thread::current()),
        }
    }

    /// Takes the turn unless somebody has it, or is the favourite.
    #[inline(always)]
    fn try_lock(&self) -> Option<SlotGuard<'_>> {
        if self.single_threaded.get() {
            // only a signal handler can have come between
            if self.owner.load(Ordering::Relaxed) != 0 {
                return None;
            }
            self.owner.store(SINGLE_THREAD, Ordering::Relaxed);
            return Some(SlotGuard(&self.owner));
        }
        self.try_lock_mt()
    }

    /// The same where there are other threads.
    #[inline(always)]
    pub(crate) fn try_lock_mt(&self) -> Option<SlotGuard<'_>> {
        let me = this_thread::current();
        match self.biased_thread.load(Ordering::Relaxed) {
            biased_thread if biased_thread == me => self.try_lock_biased(me),
            biased_thread => self.try_lock_cas(me, biased_thread),
        }
    }

    #[inline(always)]
    fn try_lock_biased(&self, me: usize) -> Option<SlotGuard<'_>> {
        if self.biased_held.load(Ordering::Relaxed) != 0 {
            // this is a signal handler
            return None;
        }
        self.biased_held.store(me, Ordering::Relaxed);
        asymmetric_fence::light();
        let guard = SlotGuard(&self.biased_held);
        if self.biased_thread.load(Ordering::Relaxed) == me { Some(guard) } else { None }
    }

    #[inline]
    fn try_lock_cas(&self, me: usize, biased_thread: usize) -> Option<SlotGuard<'_>> {
        if is_biased(biased_thread) {
            return None;
        }
        self.owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let guard = SlotGuard(&self.owner);
        // it was the owner's to change meanwhile
        let biased_thread = self.biased_thread.load(Ordering::Relaxed);
        if is_biased(biased_thread) {
            return None;
        }
        self.update_bias(me, biased_thread);
        Some(guard)
    }

    /// Makes this thread, which is the owner, the favourite if it has been the owner often enough.
    #[inline]
    fn update_bias(&self, me: usize, biased_thread: usize) {
        if self.last_owner.load(Ordering::Relaxed) != me {
            self.last_owner.store(me, Ordering::Relaxed);
            self.streak.store(0, Ordering::Relaxed);
        }
        let streak = self.streak.load(Ordering::Relaxed).saturating_add(1);
        self.streak.store(streak, Ordering::Relaxed);
        let bias_threshold = self.bias_threshold.load(Ordering::Relaxed);
        let may_bias = self.has_fence && (biased_thread == 0 || biased_thread == me | REVOKED);
        if may_bias && streak > bias_threshold {
            self.streak.store(0, Ordering::Relaxed);
            self.bias_threshold.store(bias_threshold.saturating_mul(2), Ordering::Relaxed);
            self.biased_thread.store(me, Ordering::Relaxed);
        }
    }

    /// Ends the favour of another thread. This one is the owner.
    #[cold]
    fn revoke_bias(&self) {
        let biased_thread = self.biased_thread.load(Ordering::Relaxed);
        self.biased_thread.store(biased_thread | REVOKED, Ordering::Relaxed);
        // now it sees that, or what it has stored is seen here
        asymmetric_fence::heavy();
        let mut tries = 0;
        while self.biased_held.load(Ordering::Acquire) != 0 {
            this_thread::back_off(&mut tries);
        }
    }

    #[cold]
    fn lock_slow(&self, me: usize) -> Result<SlotGuard<'_>, EngineError> {
        let mut tries = 0;
        loop {
            let owner = self.owner.load(Ordering::Relaxed);
            if owner == me || self.biased_held.load(Ordering::Relaxed) == me {
                return Err(EngineError::Reentered);
            }
            if let Some(guard) = self.try_lock() {
                return Ok(guard);
            }
            if owner == 0 && self.owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                let guard = SlotGuard(&self.owner);
                if is_biased(self.biased_thread.load(Ordering::Relaxed)) {
                    self.revoke_bias();
                }
                return Ok(guard);
            }
            this_thread::back_off(&mut tries);
        }
    }
}

fn is_biased(biased_thread: usize) -> bool {
    biased_thread != 0 && biased_thread & REVOKED == 0
}

impl Drop for SlotGuard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}
