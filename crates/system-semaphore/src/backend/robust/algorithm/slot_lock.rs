//! The lock that lets one thread of a process write to the process's slot.
//!
//! While the C library reports a single thread, locking is a plain load and store. Otherwise
//! `owner` names the owning thread, and locking is one compare-and-swap. Unlocking is a plain
//! store, which wakes no thread. A thread that finds the lock taken therefore spins, then yields,
//! then sleeps for growing durations. A thread never holds the lock during a system call.
//!
//! After `bias_threshold` consecutive acquisitions by one thread the lock is *biased* to it: that
//! thread then locks with a plain store and a light fence instead of a compare-and-swap (Dice,
//! Huang and Yang, "Asymmetric Dekker synchronization", 2001). To revoke the bias, another thread
//! acquires `owner`, marks the bias revoked, executes the [heavy](asymmetric_fence::heavy) fence
//! and waits until the biased thread has left. A revoked bias is restored only for the same thread,
//! with twice the threshold, so a stale store can never belong to another thread.

use std::sync::atomic::Ordering;

use crate::backend::robust::error::EngineError;
use crate::sys::asymmetric_fence;
use crate::sys::atomic::{AtomicU32, AtomicUsize};
use crate::sys::thread::{self as this_thread, SingleThreaded};

#[derive(Debug)]
pub(crate) struct SlotLock {
    /// The thread that owns the lock, or 0 if no thread or the biased thread does.
    owner: AtomicUsize,
    /// The biased thread. With the bit [`REVOKED`], the thread that was biased last. 0 if no thread
    /// was biased yet. Only the owner writes this.
    biased_thread: AtomicUsize,
    /// The biased thread, while it has the lock by its bias. Otherwise 0.
    biased_held: AtomicUsize,
    single_threaded: SingleThreaded,
    /// Whether the kernel had the fence when the lock was created.
    has_fence: bool,
    /// The thread that acquired `owner` last. Only the owner writes this.
    last_owner: AtomicUsize,
    streak: AtomicU32,
    /// Number of consecutive acquisitions that bias the lock.
    bias_threshold: AtomicU32,
}

/// The right to write to the slot. Dropping it unlocks the slot.
pub(crate) struct SlotGuard<'a>(&'a AtomicUsize);

/// Value of `owner` while the process has a single thread.
const SINGLE_THREAD: usize = 1;
/// Bit of `biased_thread`: the bias is revoked. Names of threads are even.
const REVOKED: usize = 1;
/// Number of consecutive acquisitions that bias the lock for the first time.
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

    /// Locks the slot unless another thread has the lock or the bias.
    #[inline(always)]
    fn try_lock(&self) -> Option<SlotGuard<'_>> {
        if self.single_threaded.get() {
            // only a signal handler can have run in between
            if self.owner.load(Ordering::Relaxed) != 0 {
                return None;
            }
            self.owner.store(SINGLE_THREAD, Ordering::Relaxed);
            return Some(SlotGuard(&self.owner));
        }
        self.try_lock_mt()
    }

    /// Locks the slot, in a process with several threads, unless another thread has the lock or the
    /// bias.
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
            // a signal handler of the owning thread runs this
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
        // the previous owner may have changed it meanwhile
        let biased_thread = self.biased_thread.load(Ordering::Relaxed);
        if is_biased(biased_thread) {
            return None;
        }
        self.update_bias(me, biased_thread);
        Some(guard)
    }

    /// Biases the lock to this thread, which owns it, after enough consecutive acquisitions.
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
            self.bias(me, bias_threshold);
        }
    }

    /// Biases the lock to this thread, which owns it, unless the kernel has refused the fence since
    /// the lock was created.
    #[cold]
    fn bias(&self, me: usize, bias_threshold: u32) {
        self.streak.store(0, Ordering::Relaxed);
        if asymmetric_fence::is_available() {
            self.bias_threshold.store(bias_threshold.saturating_mul(2), Ordering::Relaxed);
            self.biased_thread.store(me, Ordering::Relaxed);
        }
    }

    /// Revokes the bias of another thread. This thread is the owner.
    #[cold]
    fn revoke_bias(&self) {
        let biased_thread = self.biased_thread.load(Ordering::Relaxed);
        self.biased_thread.store(biased_thread | REVOKED, Ordering::Relaxed);
        // pairs with the light fence in `try_lock_biased`: the biased thread sees the revocation,
        // or this thread sees `biased_held`
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
