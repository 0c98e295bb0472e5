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

use crate::backend::robust::error::Trouble;
use crate::sys::asymmetric_fence;
use crate::sys::atomic::{AtomicU32, AtomicUsize};
use crate::sys::thread::{self as this_thread, SingleThreaded};

#[derive(Debug)]
pub(crate) struct Turn {
    /// 0: nobody, or the favourite.
    owner: AtomicUsize,
    /// The thread that need not swap; with [`OUT_OF_FAVOUR`], the one that was it last; 0: none yet. Written by the owner.
    favourite: AtomicUsize,
    /// That thread, while it has the turn as the favourite; else 0.
    favourite_has_it: AtomicUsize,
    single: SingleThreaded,
    has_fence: bool,
    /// Who had the turn last, of those who swap, and how often in a row. Written by the owner.
    last: AtomicUsize,
    in_a_row: AtomicU32,
    /// How many times in a row make a favourite.
    enough: AtomicU32,
}

/// The turn. It is given up when this is dropped.
pub(crate) struct Taken<'a>(&'a AtomicUsize);

/// Names the only thread there is.
const ONLY: usize = 1;
/// A bit that no thread's name has.
const OUT_OF_FAVOUR: usize = 1;
/// How many times in a row make a favourite for the first time.
const ENOUGH: u32 = if cfg!(loom) { 0 } else { 64 };

impl Turn {
    pub(crate) fn new() -> Self {
        Self {
            owner: AtomicUsize::new(0),
            favourite: AtomicUsize::new(0),
            favourite_has_it: AtomicUsize::new(0),
            single: SingleThreaded::find(),
            has_fence: asymmetric_fence::is_available(),
            last: AtomicUsize::new(0),
            in_a_row: AtomicU32::new(0),
            enough: AtomicU32::new(ENOUGH),
        }
    }

    pub(crate) fn take(&self) -> Result<Taken<'_>, Trouble> {
        match self.take_at_once() {
            Some(taken) => Ok(taken),
            None if self.single.get() => Err(Trouble::Reentered),
            None => self.wait(this_thread::current()),
        }
    }

    /// Takes the turn unless somebody has it, or is the favourite.
    #[inline(always)]
    fn take_at_once(&self) -> Option<Taken<'_>> {
        if self.single.get() {
            // only a signal handler can have come between
            if self.owner.load(Ordering::Relaxed) != 0 {
                return None;
            }
            self.owner.store(ONLY, Ordering::Relaxed);
            return Some(Taken(&self.owner));
        }
        self.take_among_others()
    }

    /// The same where there are other threads.
    #[inline(always)]
    pub(crate) fn take_among_others(&self) -> Option<Taken<'_>> {
        let me = this_thread::current();
        match self.favourite.load(Ordering::Relaxed) {
            favourite if favourite == me => self.take_as_favourite(me),
            favourite => self.take_by_swap(me, favourite),
        }
    }

    #[inline(always)]
    fn take_as_favourite(&self, me: usize) -> Option<Taken<'_>> {
        if self.favourite_has_it.load(Ordering::Relaxed) != 0 {
            // this is a signal handler
            return None;
        }
        self.favourite_has_it.store(me, Ordering::Relaxed);
        asymmetric_fence::light();
        let taken = Taken(&self.favourite_has_it);
        if self.favourite.load(Ordering::Relaxed) == me { Some(taken) } else { None }
    }

    #[inline]
    fn take_by_swap(&self, me: usize, favourite: usize) -> Option<Taken<'_>> {
        if is_in_favour(favourite) {
            return None;
        }
        self.owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let taken = Taken(&self.owner);
        // it was the owner's to change meanwhile
        let favourite = self.favourite.load(Ordering::Relaxed);
        if is_in_favour(favourite) {
            return None;
        }
        self.count(me, favourite);
        Some(taken)
    }

    /// Makes this thread, which is the owner, the favourite if it has been the owner often enough.
    #[inline]
    fn count(&self, me: usize, favourite: usize) {
        if self.last.load(Ordering::Relaxed) != me {
            self.last.store(me, Ordering::Relaxed);
            self.in_a_row.store(0, Ordering::Relaxed);
        }
        let in_a_row = self.in_a_row.load(Ordering::Relaxed).saturating_add(1);
        self.in_a_row.store(in_a_row, Ordering::Relaxed);
        let enough = self.enough.load(Ordering::Relaxed);
        let may_be = self.has_fence && (favourite == 0 || favourite == me | OUT_OF_FAVOUR);
        if may_be && in_a_row > enough {
            self.in_a_row.store(0, Ordering::Relaxed);
            self.enough.store(enough.saturating_mul(2), Ordering::Relaxed);
            self.favourite.store(me, Ordering::Relaxed);
        }
    }

    /// Ends the favour of another thread. This one is the owner.
    #[cold]
    fn end_favour(&self) {
        let favourite = self.favourite.load(Ordering::Relaxed);
        self.favourite.store(favourite | OUT_OF_FAVOUR, Ordering::Relaxed);
        // now it sees that, or what it has stored is seen here
        asymmetric_fence::heavy();
        let mut tries = 0;
        while self.favourite_has_it.load(Ordering::Acquire) != 0 {
            this_thread::back_off(&mut tries);
        }
    }

    #[cold]
    fn wait(&self, me: usize) -> Result<Taken<'_>, Trouble> {
        let mut tries = 0;
        loop {
            let owner = self.owner.load(Ordering::Relaxed);
            if owner == me || self.favourite_has_it.load(Ordering::Relaxed) == me {
                return Err(Trouble::Reentered);
            }
            if let Some(taken) = self.take_at_once() {
                return Ok(taken);
            }
            if owner == 0 && self.owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                let taken = Taken(&self.owner);
                if is_in_favour(self.favourite.load(Ordering::Relaxed)) {
                    self.end_favour();
                }
                return Ok(taken);
            }
            this_thread::back_off(&mut tries);
        }
    }
}

fn is_in_favour(favourite: usize) -> bool {
    favourite != 0 && favourite & OUT_OF_FAVOUR == 0
}

impl Drop for Taken<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}
