//! Giving back what dead processes held.
//!
//! Whoever finds a used slot whose lock is free takes that lock and *becomes* the dead process: it finds out
//! whether the last operation happened, and gives back what is held by an ordinary operation of the dead slot. A
//! recoverer that dies half way leaves the same kind of records for the next, and the kernel drops its lock.

use std::sync::atomic::Ordering;
use std::{process, thread};

use super::layout::{Layout, Slot};
use super::mapped_file::Core;
use super::operation::{Actor, Operation, Outcome, Waiters};
use super::state::tag_of;
use super::wake as waiting;
use crate::backend::robust::error::Trouble;
use crate::backend::robust::failpoint as breakpoint;
use crate::backend::robust::platform::{LivenessLocks, Locks, clock};

/// Which slots are looked at. To ask about one takes the longer the more users there are; so if those are many, it is asked about those
/// who seem to be dead, and about the others only if nobody has done that lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// All in use, however many.
    All,
    /// All in use; if they are many, only if nobody has looked at all lately.
    Users,
    /// Of all in use, if they are many, only those who seem to be dead. (Who holds nothing may owe somebody a wake-up.)
    Suspects,
    /// Those that can have permits to give back,
    Holders,
    /// and of them only the first who is dead, if they are many.
    NextHolder,
}

/// So often is looked whether somebody else's recovery is done.
const MOMENT: u32 = if cfg!(loom) { 1 } else { 100 };
/// Up to so many slots are looked at as often as anybody likes; more, as often as takes a small part of the time.
const FEW: usize = 16;

/// Gives back what the dead held; tells how many were found.
pub(crate) fn recover(core: &Core, pass: Pass) -> Result<usize, Trouble> {
    recover_through(core, &*core.locks()?, None, pass)
}

/// The same, through this descriptor, and knowing of somebody that it lives.
pub(crate) fn recover_through(
    core: &Core,
    locks: &Locks,
    living: Option<u16>,
    pass: Pass,
) -> Result<usize, Trouble> {
    let own = core.own_slot();
    let candidates = || {
        // those first who came about when the last did who was found dead: they often go together, too
        let slots = core.layout().used_slots_from(core.last_dead());
        let others = slots.filter(|number| ![own, living].contains(&Some(*number)));
        // one that cannot be looked at is found out about below
        let is_for_holders = matches!(pass, Pass::Holders | Pass::NextHolder);
        others.filter(move |number| !is_for_holders || core.slot(*number).map_or(true, may_hold))
    };
    let mut search = Search { core, locks, recovered: 0, trouble: None };
    let mut first = candidates();
    let mut few = [None; FEW];
    few.iter_mut().zip(&mut first).for_each(|(place, number)| *place = Some(number));
    if first.next().is_none() {
        few.into_iter().flatten().for_each(|number| search.look(number));
        return search.outcome();
    }
    let is_for_all = match pass {
        Pass::All => true,
        Pass::Users | Pass::Holders => claim_pass(core, candidates().count()),
        Pass::Suspects | Pass::NextHolder => false,
    };
    if is_for_all || pass != Pass::Users {
        for number in candidates() {
            search.look_if_suspect(number);
            if pass == Pass::NextHolder && search.recovered > 0 {
                break;
            }
        }
    }
    if is_for_all {
        candidates().for_each(|number| search.look(number));
    }
    search.outcome()
}

/// Whether so many use the semaphore that it is not for each to ask about all.
pub(crate) fn is_crowd(core: &Core) -> bool {
    core.layout().used_slots().count() > FEW
}

/// A search for the dead. It does without memory of its own: the watching thread may never have had any, and to get the first takes
/// longer than all the rest.
struct Search<'a> {
    core: &'a Core,
    locks: &'a Locks,
    recovered: usize,
    /// What kept one from being looked at. The others can still be helped.
    trouble: Option<Trouble>,
}

impl Search<'_> {
    fn look_if_suspect(&mut self, number: u16) {
        match self.core.seems_alive(number) {
            Ok(true) => {}
            Ok(false) => self.look(number),
            Err(trouble) => self.note(trouble),
        }
    }

    fn look(&mut self, number: u16) {
        let core = self.core;
        // between the threads of this process: its locks do not keep them apart
        let _turn = core.recovering();
        match recover_slot(core, self.locks, number) {
            Ok(true) => {
                self.recovered += 1;
                core.note_dead(number);
            }
            Ok(false) => {}
            Err(trouble) => self.note(trouble),
        }
    }

    fn note(&mut self, trouble: Trouble) {
        self.trouble.get_or_insert(trouble);
    }

    fn outcome(self) -> Result<usize, Trouble> {
        match self.trouble {
            Some(trouble) if self.recovered == 0 => Err(trouble),
            _ => Ok(self.recovered),
        }
    }
}

/// Gives back what the user of a slot held, if it is dead; tells whether it was.
fn recover_slot(core: &Core, locks: &Locks, number: u16) -> Result<bool, Trouble> {
    let (layout, slot) = (core.layout(), core.slot(number)?);
    let mut is_others = false;
    for _ in 0..MOMENT {
        if !locks.is_locked(number)? && locks.try_lock(number)? {
            // the lock may be one of another file, if other code has closed the descriptor and its number is used again
            if !locks.is_ours() {
                locks.unlock(number)?;
                return Err(Trouble::LostDescriptor);
            }
            let outcome = if layout.is_used(number) { bury(core, number) } else { Ok(()) };
            locks.unlock(number)?;
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

/// Whether it is time to ask about so many slots again.
fn claim_pass(core: &Core, slots: usize) -> bool {
    let now = clock::milliseconds();
    let last = &core.layout().last_pass;
    let before = last.load(Ordering::Relaxed);
    let pause = (slots / FEW) as u64;
    now.wrapping_sub(before) >= pause
        && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
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
pub(crate) fn free(core: &Core, number: u16) -> Result<(), Trouble> {
    let slot = core.slot(number)?;
    slot.waiting_threads.store(0, Ordering::Relaxed);
    slot.recoverer.store(0, Ordering::Relaxed);
    core.layout().set_used(number, false);
    Ok(())
}
