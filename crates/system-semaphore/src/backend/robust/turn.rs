//! The threads of a process take turns at its slot: one slot, one writer.
//!
//! The owner is a word that names a thread. While the C library says that there is only one thread, taking the turn is a
//! plain load and store; else one compare-and-swap. Giving it up is a plain store, so nobody can be told: who has to
//! wait spins for a moment, then yields, then sleeps for ever longer moments. The turn is never kept during a system call.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::trouble::Trouble;
use crate::sys::atomic::AtomicUsize;
use crate::sys::thread::{self as this_thread, SingleThreaded};

#[derive(Debug)]
pub(super) struct Turn {
    /// 0: nobody.
    owner: AtomicUsize,
    single: SingleThreaded,
}

/// The turn. It is given up when this is dropped.
pub(super) struct Taken<'a>(&'a AtomicUsize);

/// Names the only thread there is.
const ONLY: usize = 1;

impl Turn {
    pub(super) fn new() -> Self {
        Self { owner: AtomicUsize::new(0), single: SingleThreaded::find() }
    }

    pub(super) fn take(&self) -> Result<Taken<'_>, Trouble> {
        match self.take_at_once() {
            Some(taken) => Ok(taken),
            None if self.single.get() => Err(Trouble::Reentered),
            None => self.wait(this_thread::current()),
        }
    }

    /// Takes the turn unless somebody has it.
    #[inline(always)]
    pub(super) fn take_at_once(&self) -> Option<Taken<'_>> {
        if self.single.get() {
            // only a signal handler can have come between
            if self.owner.load(Ordering::Relaxed) != 0 {
                return None;
            }
            self.owner.store(ONLY, Ordering::Relaxed);
        } else {
            let me = this_thread::current();
            self.owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).ok()?;
        }
        Some(Taken(&self.owner))
    }

    #[cold]
    fn wait(&self, me: usize) -> Result<Taken<'_>, Trouble> {
        let mut tries = 0u32;
        loop {
            let owner = self.owner.load(Ordering::Relaxed);
            if owner == me {
                return Err(Trouble::Reentered);
            }
            if owner == 0 && self.owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Ok(Taken(&self.owner));
            }
            match tries {
                0..100 => std::hint::spin_loop(),
                100..110 => thread::yield_now(),
                // a thread of lower real-time priority may have the turn, and the processor is to be left to it
                _ => thread::sleep(Duration::from_micros(50) * (tries - 109).min(20)),
            }
            tries = tries.saturating_add(1);
        }
    }
}

impl Drop for Taken<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}
