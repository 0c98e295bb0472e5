//! Recovery: releasing the permits of dead holders.
//!
//! A recoverer that finds a used slot with a free lock takes the lock and acts as the dead process.
//! It finds out whether the last operation happened, and releases the held permits by an ordinary
//! operation of the dead slot. If the recoverer dies, it leaves records of the same kind for the
//! next recoverer, and the kernel releases its lock.

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

/// The slots that a scan checks.
///
/// Checking a slot is one `F_OFD_GETLK`, whose cost grows with the number of locks on the file.
/// With more than [`FULL_SCAN_LIMIT`] candidates a scan first checks slots whose process appears
/// dead. It checks the others only if no process has done so recently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanScope {
    /// Every slot in use.
    All,
    /// Every slot in use. If there are many, none unless the last full scan is some time ago.
    AllRateLimited,
    /// Every slot in use. If there are many, only those whose process appears dead. (A process that
    /// holds nothing may owe a wake-up.)
    ApparentlyDead,
    /// The slots that may hold permits. If there are many, those whose process appears dead, and
    /// the others unless a full scan was recent.
    HoldersRateLimited,
    /// The slots that may hold permits. If there are many, those whose process appears dead, up to
    /// the first that is dead.
    FirstDeadHolder,
}

/// Number of times that a scan checks whether another process has finished its recovery of a slot.
const WAIT_TRIES: u32 = if cfg!(loom) { 1 } else { 100 };
/// Largest number of slots that every scan checks. A full scan of more slots is rate-limited, so
/// that scans take a small part of the time.
const FULL_SCAN_LIMIT: usize = 16;

/// Releases the permits of dead holders. Returns the number of dead users found.
pub(crate) fn recover(mapped: &MappedFile, scope: ScanScope) -> Result<usize, EngineError> {
    recover_through(mapped, &*mapped.ensure_locks()?, None, scope)
}

/// Like [`recover`], through this descriptor. The caller knows that the user of slot `living` is
/// alive.
pub(crate) fn recover_through(
    mapped: &MappedFile,
    locks: &Locks,
    living: Option<u16>,
    scope: ScanScope,
) -> Result<usize, EngineError> {
    let own = mapped.own_slot();
    let candidates = || {
        // starts at the slot recovered last: processes that registered together often die together
        let slots = mapped.layout().used_slots_from(mapped.last_dead());
        let others = slots.filter(|number| ![own, living].contains(&Some(*number)));
        // if a slot cannot be read, the check below reports the error
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

/// Returns whether the semaphore has too many users for every scan to check all slots.
pub(crate) fn has_many_users(mapped: &MappedFile) -> bool {
    mapped.layout().used_slots().count() > FULL_SCAN_LIMIT
}

/// A scan for dead users. It allocates no memory: the first allocation of the watching thread takes
/// longer than the whole scan.
struct Scan<'a> {
    mapped: &'a MappedFile,
    locks: &'a Locks,
    recovered: usize,
    /// The first error of a check. The scan continues with the other slots.
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
        // excludes the other threads of this process, which the slot's lock does not exclude
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

/// Releases the permits of a slot's user if the user is dead. Returns whether it was dead.
fn recover_slot(mapped: &MappedFile, locks: &Locks, number: u16) -> Result<bool, EngineError> {
    let (layout, slot) = (mapped.layout(), mapped.ensure_slot(number)?);
    let mut recovered_by_other = false;
    for _ in 0..WAIT_TRIES {
        if !locks.is_locked(number)? && locks.try_lock(number)? {
            // if other code has closed the descriptor and its number is in use again, the lock may
            // be one of another file
            if !locks.check_still_ours() {
                locks.unlock(number)?;
                return Err(EngineError::LostDescriptor);
            }
            let outcome = if layout.is_used(number) { recover_locked_slot(mapped, number) } else { Ok(()) };
            locks.unlock(number)?;
            return outcome.map(|()| true);
        }
        // If another process is recovering the slot, the caller must see the released permits. A
        // stopped recoverer must not block it.
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

/// Returns whether a full scan of this many slots is allowed now, and records its time if so.
fn claim_full_scan(mapped: &MappedFile, slots: usize) -> bool {
    let now = clock::milliseconds();
    let last = &mapped.layout().last_full_scan;
    let before = last.load(Ordering::Relaxed);
    let min_interval = (slots / FULL_SCAN_LIMIT) as u64;
    now.wrapping_sub(before) >= min_interval
        && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Recovers the slot of a dead process. The caller has the slot's lock.
fn recover_locked_slot(mapped: &MappedFile, number: u16) -> Result<(), EngineError> {
    let (layout, slot) = (mapped.layout(), mapped.ensure_slot(number)?);
    slot.recoverer.store(process::id(), Ordering::Relaxed);
    failpoint::hit(Failpoint::RecoveryBegins);
    resolve_pending(slot, number, layout);
    failpoint::hit(Failpoint::RecoveryResolved);
    let epoch = mapped.resolve_epoch();
    let held = slot.held(epoch);
    if held > 0 {
        // before the release: a process that acquires one of these permits must see that its holder
        // died
        layout.recoveries.fetch_add(1, Ordering::AcqRel);
        match SlotWriter::new(mapped, number)?.operate(&Operation::release(held, epoch, WaitersFlag::Keep)) {
            Ok(Outcome::Done { .. } | Outcome::Stale) | Err(EngineError::Removed) => {}
            Ok(Outcome::Insufficient(_) | Outcome::Overflow) => return Err(EngineError::Corrupt),
            Err(error) => return Err(error),
        }
    }
    failpoint::hit(Failpoint::RecoveryReleased);
    // The dead process may have owed a wake-up. The wake comes before the slot is freed: if this
    // recoverer dies, its successor wakes.
    wake::announce_and_wake(mapped);
    failpoint::hit(Failpoint::RecoveryWoke);
    free(mapped, number)
}

/// Finds out whether the last operation happened, and commits it if so.
///
/// An operation of an old epoch may be committed by mistake. Its record is void, whatever it says.
fn resolve_pending(slot: &Slot, number: u16, layout: &Layout) {
    // Before the load of `helped`: a process stores `helped` before it overwrites a tag.
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

/// Frees a slot that holds nothing. The caller has its lock. The next user continues its sequence
/// numbers.
pub(crate) fn free(mapped: &MappedFile, number: u16) -> Result<(), EngineError> {
    let slot = mapped.ensure_slot(number)?;
    slot.waiting_threads.store(0, Ordering::Relaxed);
    slot.recoverer.store(0, Ordering::Relaxed);
    mapped.layout().set_used(number, false);
    Ok(())
}
