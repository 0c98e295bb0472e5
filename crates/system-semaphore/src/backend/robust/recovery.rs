//! Giving back what dead processes held.
//!
//! Whoever finds a used slot whose lock is free takes that lock and *becomes* the dead process: it finds out
//! whether the last operation happened, and gives back what is held by an ordinary operation of the dead slot. A
//! recoverer that dies half way leaves the same kind of records for the next, and the kernel drops its lock.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::{process, thread};

use super::layout::{Layout, SLOTS, Slot, tag_of};
use super::operation::{Actor, Operation, Outcome, Waiters};
use super::trouble::Trouble;
use super::{Core, breakpoint, clock, waiting};
use crate::sys::lock;

/// Which slots are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// All in use: a process that holds nothing may owe somebody a wake-up.
    All,
    /// Those that can have permits to give back. If those are many, the pass is left out when anybody has made one in
    /// this millisecond.
    Holders,
}

/// So often is looked whether somebody else's recovery is done.
const MOMENT: u32 = if cfg!(loom) { 1 } else { 100 };
/// Up to so many slots are looked at as often as anybody likes.
const FEW: usize = 16;

/// Gives back what the dead held; tells how many were found.
pub(super) fn recover(core: &Core, pass: Pass) -> Result<usize, Trouble> {
    let own = core.own_slot();
    let layout = core.layout();
    let mut candidates = Vec::new();
    for number in layout.used_slots().filter(|number| Some(*number) != own) {
        // one that cannot be looked at is found out about below
        if pass == Pass::All || core.slot(number).map_or(true, may_hold) {
            candidates.push(number);
        }
    }
    if candidates.is_empty() || pass == Pass::Holders && candidates.len() > FEW && !claim_pass(core) {
        return Ok(0);
    }
    let file = core.file()?;
    // between the threads of this process: its locks do not keep them apart
    let _turn = core.recovering();
    let (mut recovered, mut trouble) = (0, None);
    for number in candidates {
        match recover_slot(core, file.as_fd(), number) {
            Ok(is_recovered) => recovered += usize::from(is_recovered),
            // others can still be helped
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    match trouble {
        Some(trouble) if recovered == 0 => Err(trouble),
        _ => Ok(recovered),
    }
}

/// Gives back what the user of a slot held, if it is dead; tells whether it was.
fn recover_slot(core: &Core, file: BorrowedFd<'_>, number: u16) -> Result<bool, Trouble> {
    let (layout, slot) = (core.layout(), core.slot(number)?);
    let mut is_others = false;
    for _ in 0..MOMENT {
        if !lock::is_locked(file, number..number + 1)? && lock::try_lock(file, number)? {
            let outcome = if layout.is_used(number) { bury(core, number) } else { Ok(()) };
            lock::unlock(file, number)?;
            return outcome.map(|()| true);
        }
        // If somebody else is just recovering it, who asks now is to see what comes back; but nobody waits for a recoverer
        // that is stopped.
        if slot.recoverer.load(Ordering::Relaxed) == 0 || !layout.is_used(number) {
            break;
        }
        is_others = true;
        thread::yield_now();
    }
    Ok(is_others && !layout.is_used(number))
}

fn may_hold(slot: &Slot) -> bool {
    let (committed, pending) = (slot.committed(), slot.pending());
    committed.amount() != 0 || pending.seq() != committed.seq()
}

/// Whether this pass among many slots is to be made.
fn claim_pass(core: &Core) -> bool {
    let now = clock::milliseconds();
    let last = &core.layout().last_pass;
    let before = last.load(Ordering::Relaxed);
    now != before && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Ends the affairs of a dead process. The caller has the lock of its slot.
fn bury(core: &Core, number: u16) -> Result<(), Trouble> {
    let (layout, slot) = (core.layout(), core.slot(number)?);
    slot.recoverer.store(process::id(), Ordering::Relaxed);
    breakpoint::pass(breakpoint::Step::RecoveryBegins);
    settle(slot, number, layout);
    breakpoint::pass(breakpoint::Step::RecoverySettled);
    let epoch = core.epoch();
    let held = slot.held(epoch);
    if held > 0 {
        // before the permits can be had: who takes one must know that somebody died with it
        layout.recoveries.fetch_add(1, Ordering::AcqRel);
        match Actor::new(core, number)?.operate(&Operation::give_back(held, epoch, Waiters::Keep)) {
            Ok(Outcome::Done { .. } | Outcome::Void) | Err(Trouble::Removed) => {}
            Ok(Outcome::TooFew(_) | Outcome::TooMany) => return Err(Trouble::Corrupt),
            Err(trouble) => return Err(trouble),
        }
    }
    breakpoint::pass(breakpoint::Step::RecoveryGaveBack);
    // The dead one may have owed a wake-up. This is before the slot is freed, so that a successor does it if we die here.
    waiting::announce_and_wake(core);
    breakpoint::pass(breakpoint::Step::RecoveryWoke);
    free(core, number)
}

/// Finds out whether the last operation happened, and writes it down. (If it was of an old epoch, the record is void,
/// whatever it says.)
fn settle(slot: &Slot, number: u16, layout: &Layout) {
    // before `helped`: who overwrote a tag has noted it there first
    let state = layout.state();
    let pending = slot.pending();
    if pending.seq() == slot.committed().seq() {
        return;
    }
    let has_tag = state.slot() == number && state.seq() == tag_of(pending.seq());
    if has_tag || slot.helped.load(Ordering::Acquire) == pending.seq() {
        pending.store(&slot.committed);
    }
}

/// Frees a slot that holds nothing and whose lock the caller has. Its numbers go on with the next user.
pub(super) fn free(core: &Core, number: u16) -> Result<(), Trouble> {
    let slot = core.slot(number)?;
    slot.waiting_threads.store(0, Ordering::Relaxed);
    slot.recoverer.store(0, Ordering::Relaxed);
    core.layout().set_used(number, false);
    Ok(())
}

/// Whether anybody but this open uses the semaphore.
pub(super) fn is_anybody_here(core: &Core) -> Result<bool, Trouble> {
    let file = core.file()?;
    let is_locked = |slots| lock::is_locked(file.as_fd(), slots);
    // Its own lock does not show, unless the descriptor had to be opened again. But while it closes, somebody else may
    // have taken the slot.
    let own = core.own_slot().filter(|own| !core.layout().is_used(*own)).unwrap_or(SLOTS);
    Ok(is_locked(0..own)? || own + 1 < SLOTS && is_locked(own + 1..SLOTS)?)
}
