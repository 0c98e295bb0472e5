//! Giving back what dead processes held.
//!
//! Whoever finds a used slot whose lock is free takes that lock and *becomes* the dead process: it finds out
//! whether the last operation happened, and gives back what is held by an ordinary operation of the dead slot. A
//! recoverer that dies half way leaves the same kind of records for the next, and the kernel drops its lock.

use std::sync::atomic::Ordering;
use std::{process, thread};

use super::layout::{Layout, Slot};
use super::mapped_file::MappedFile;
use super::operation::{Operation, Outcome, SlotWriter, WaitersFlag};
use super::state::truncate_seq;
use super::wake;
use crate::backend::robust::error::EngineError;
use crate::backend::robust::failpoint::{self, Failpoint};
use crate::backend::robust::platform::{LivenessLocks, Locks, clock};

/// Which slots are looked at. To ask about one takes the longer the more users there are; so if those are many, it is asked about those
/// who seem to be dead, and about the others only if nobody has done that lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanScope {
    /// All in use, however many.
    All,
    /// All in use; if they are many, only if nobody has looked at all lately.
    AllRateLimited,
    /// Of all in use, if they are many, only those who seem to be dead. (Who holds nothing may owe somebody a wake-up.)
    ApparentlyDead,
    /// Those that can have permits to give back,
    HoldersRateLimited,
    /// and of them only the first who is dead, if they are many.
    FirstDeadHolder,
}

/// So often is looked whether somebody else's recovery is done.
const WAIT_TRIES: u32 = if cfg!(loom) { 1 } else { 100 };
/// Up to so many slots are looked at as often as anybody likes; more, as often as takes a small part of the time.
const FULL_SCAN_LIMIT: usize = 16;

/// Gives back what the dead held; tells how many were found.
pub(crate) fn recover(mapped: &MappedFile, scope: ScanScope) -> Result<usize, EngineError> {
    recover_through(mapped, &*mapped.ensure_locks()?, None, scope)
}

/// The same, through this descriptor, and knowing of somebody that it lives.
pub(crate) fn recover_through(
    mapped: &MappedFile,
    locks: &Locks,
    living: Option<u16>,
    scope: ScanScope,
) -> Result<usize, EngineError> {
    let own = mapped.own_slot();
    let candidates = || {
        // those first who came about when the last did who was found dead: they often go together, too
        let slots = mapped.layout().used_slots_from(mapped.last_dead());
        let others = slots.filter(|number| ![own, living].contains(&Some(*number)));
        // one that cannot be looked at is found out about below
        let holders_only = matches!(scope, ScanScope::HoldersRateLimited | ScanScope::FirstDeadHolder);
        others.filter(move |number| !holders_only || mapped.ensure_slot(*number).map_or(true, may_hold))
    };
    let mut scan = Scan { mapped, locks, recovered: 0, error: None };
    let mut first = candidates();
    let mut first_few = [None; FULL_SCAN_LIMIT];
    first_few.iter_mut().zip(&mut first).for_each(|(entry, number)| *entry = Some(number));
    if first.next().is_none() {
        first_few.into_iter().flatten().for_each(|number| scan.check(number));
        return scan.outcome();
    }
    let scans_all = match scope {
        ScanScope::All => true,
        ScanScope::AllRateLimited | ScanScope::HoldersRateLimited => {
            claim_full_scan(mapped, candidates().count())
        }
        ScanScope::ApparentlyDead | ScanScope::FirstDeadHolder => false,
    };
    if scans_all || scope != ScanScope::AllRateLimited {
        for number in candidates() {
            scan.check_if_suspect(number);
            if scope == ScanScope::FirstDeadHolder && scan.recovered > 0 {
                break;
            }
        }
    }
    if scans_all {
        candidates().for_each(|number| scan.check(number));
    }
    scan.outcome()
}

/// Whether so many use the semaphore that it is not for each to ask about all.
pub(crate) fn has_many_users(mapped: &MappedFile) -> bool {
    mapped.layout().used_slots().count() > FULL_SCAN_LIMIT
}

/// A search for the dead. It does without memory of its own: the watching thread may never have had any, and to get the first takes
/// longer than all the rest.
struct Scan<'a> {
    mapped: &'a MappedFile,
    locks: &'a Locks,
    recovered: usize,
    /// What kept one from being looked at. The others can still be helped.
    error: Option<EngineError>,
}

impl Scan<'_> {
    fn check_if_suspect(&mut self, number: u16) {
        match self.mapped.seems_alive(number) {
            Ok(true) => {}
            Ok(false) => self.check(number),
            Err(error) => self.record_error(error),
        }
    }

    fn check(&mut self, number: u16) {
        let mapped = self.mapped;
        // between the threads of this process: its locks do not keep them apart
        let _guard = mapped.recovering();
        match recover_slot(mapped, self.locks, number) {
            Ok(true) => {
                self.recovered += 1;
                mapped.set_last_dead(number);
            }
            Ok(false) => {}
            Err(error) => self.record_error(error),
        }
    }

    fn record_error(&mut self, error: EngineError) {
        self.error.get_or_insert(error);
    }

    fn outcome(self) -> Result<usize, EngineError> {
        match self.error {
            Some(error) if self.recovered == 0 => Err(error),
            _ => Ok(self.recovered),
        }
    }
}

/// Gives back what the user of a slot held, if it is dead; tells whether it was.
fn recover_slot(mapped: &MappedFile, locks: &Locks, number: u16) -> Result<bool, EngineError> {
    let (layout, slot) = (mapped.layout(), mapped.ensure_slot(number)?);
    let mut recovered_by_other = false;
    for _ in 0..WAIT_TRIES {
        if !locks.is_locked(number)? && locks.try_lock(number)? {
            // the lock may be one of another file, if other code has closed the descriptor and its number is used again
            if !locks.check_still_ours() {
                locks.unlock(number)?;
                return Err(EngineError::LostDescriptor);
            }
            let outcome = if layout.is_used(number) { recover_locked_slot(mapped, number) } else { Ok(()) };
            locks.unlock(number)?;
            return outcome.map(|()| true);
        }
        // If somebody else is just recovering it, who asks now is to see what comes back; but nobody waits for a recoverer
        // that is stopped.
        if slot.recoverer.load(Ordering::Relaxed) == 0 || !layout.is_used(number) {
            break;
        }
        recovered_by_other = true;
        thread::yield_now();
    }
    Ok(recovered_by_other && !layout.is_used(number))
}

fn may_hold(slot: &Slot) -> bool {
    let (committed, pending) = (slot.committed(), slot.pending());
    committed.amount() != 0 || pending.seq() != committed.seq()
}

/// Whether it is time to ask about so many slots again.
fn claim_full_scan(mapped: &MappedFile, slots: usize) -> bool {
    let now = clock::milliseconds();
    let last = &mapped.layout().last_full_scan;
    let before = last.load(Ordering::Relaxed);
    let min_interval = (slots / FULL_SCAN_LIMIT) as u64;
    now.wrapping_sub(before) >= min_interval
        && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Ends the affairs of a dead process. The caller has the lock of its slot.
fn recover_locked_slot(mapped: &MappedFile, number: u16) -> Result<(), EngineError> {
    let (layout, slot) = (mapped.layout(), mapped.ensure_slot(number)?);
    slot.recoverer.store(process::id(), Ordering::Relaxed);
    failpoint::hit(Failpoint::RecoveryBegins);
    resolve_pending(slot, number, layout);
    failpoint::hit(Failpoint::RecoveryResolved);
    let epoch = mapped.resolve_epoch();
    let held = slot.held(epoch);
    if held > 0 {
        // before the permits can be had: who takes one must know that somebody died with it
        layout.recoveries.fetch_add(1, Ordering::AcqRel);
        match SlotWriter::new(mapped, number)?.operate(&Operation::release(held, epoch, WaitersFlag::Keep)) {
            Ok(Outcome::Done { .. } | Outcome::Stale) | Err(EngineError::Removed) => {}
            Ok(Outcome::Insufficient(_) | Outcome::Overflow) => return Err(EngineError::Corrupt),
            Err(error) => return Err(error),
        }
    }
    failpoint::hit(Failpoint::RecoveryReleased);
    // The dead one may have owed a wake-up. This is before the slot is freed, so that a successor does it if we die here.
    wake::announce_and_wake(mapped);
    failpoint::hit(Failpoint::RecoveryWoke);
    free(mapped, number)
}

/// Finds out whether the last operation happened, and writes it down. (If it was of an old epoch, the record is void,
/// whatever it says.)
fn resolve_pending(slot: &Slot, number: u16, layout: &Layout) {
    // before `helped`: who overwrote a tag has noted it there first
    let state = layout.state();
    let pending = slot.pending();
    if pending.seq() == slot.committed().seq() {
        return;
    }
    let has_tag = state.slot() == number && state.seq() == truncate_seq(pending.seq());
    if has_tag || slot.helped.load(Ordering::Acquire) == pending.seq() {
        pending.store(&slot.committed);
    }
}

/// Frees a slot that holds nothing and whose lock the caller has. Its numbers go on with the next user.
pub(crate) fn free(mapped: &MappedFile, number: u16) -> Result<(), EngineError> {
    let slot = mapped.ensure_slot(number)?;
    slot.waiting_threads.store(0, Ordering::Relaxed);
    slot.recoverer.store(0, Ordering::Relaxed);
    mapped.layout().set_used(number, false);
    Ok(())
}
