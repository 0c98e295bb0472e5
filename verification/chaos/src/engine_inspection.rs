//! What only the engine's file shows: who is just giving back what a dead process held, and the records, to be printed.
//!
//! Nothing here decides whether something is wrong. It reads the file as `backend/robust/algorithm/layout.rs` describes it, and
//! [`EngineView::open`] checks that it still does.

use std::fs::File;
use std::{fmt, process};

use memmap2::{MmapOptions, MmapRaw};
use system_semaphore::SystemSemaphore;
use test_support::format::{header, slot, slot_at};
use test_support::robust_file::path_of;

use crate::unsafe_calls;

/// So many slots are looked at.
const FEW: u16 = 256;

pub(crate) struct EngineView(MmapRaw);

/// One slot in use.
pub(crate) struct Slot {
    number: u16,
    committed: (u32, u32),
    pending: (u32, u32),
    helped: u32,
    epoch: u32,
    pub(crate) pid: u32,
    waiting: u32,
    pub(crate) recoverer: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, committed, pending, helped, epoch, pid, waiting, recoverer } = self;
        let ((done, held), (begun, after)) = (committed, pending);
        write!(
            f,
            "slot {number}: pid {pid} holds {held} after operation {done}, {after} after {begun}, helped {helped}, \
             epoch {epoch}, {waiting} waiting, recovered by {recoverer}"
        )
    }
}

impl EngineView {
    /// Looks into the semaphore of this name, which this process has open and nobody else uses yet.
    pub(crate) fn open(name: &str, semaphore: &SystemSemaphore) -> Result<Self, String> {
        let map = File::open(path_of(name)).and_then(|file| MmapOptions::new().map_raw_read_only(&file));
        let inside = Self(map.map_err(|error| format!("{}: {error}", path_of(name).display()))?);
        let looks_right = |held| {
            let free = semaphore.available_permits().unwrap_or(u32::MAX);
            let is_own = |own: &Slot| own.pid == process::id() && own.committed.1 == held;
            inside.free() == free && matches!(&inside.slots()[..], [own] if is_own(own))
        };
        let before = looks_right(0);
        let permit = semaphore.try_acquire().map_err(|error| error.to_string())?;
        let with_one = looks_right(1);
        drop(permit);
        if before && with_one {
            return Ok(inside);
        }
        Err("the file is laid out otherwise than engine_inspection.rs says: bring it up to date".to_owned())
    }

    pub(crate) fn free(&self) -> u32 {
        self.half(header::STATE) & i32::MAX as u32
    }

    /// The first slots, if they are in use.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.used().map(|number| self.slot(number)).collect()
    }

    /// Who is just giving back what dead processes held, or was when it was killed.
    pub(crate) fn recoverers(&self) -> impl Iterator<Item = u32> {
        self.used().map(|number| self.half(slot_at(number) + slot::RECOVERER)).filter(|pid| *pid != 0)
    }

    fn used(&self) -> impl Iterator<Item = u16> {
        let words = (0..FEW / 32).map(|word| (word, self.half(header::USED + 4 * u64::from(word))));
        words.flat_map(|(word, used)| {
            (0..32).filter(move |bit| used >> bit & 1 != 0).map(move |bit| word * 32 + bit)
        })
    }

    fn slot(&self, number: u16) -> Slot {
        let at = slot_at(number);
        // the numbers are the upper halves
        let record = |at: u64| (self.half(at + 4), self.half(at));
        Slot {
            number,
            committed: record(at + slot::COMMITTED),
            pending: record(at + slot::PENDING),
            helped: self.half(at + slot::HELPED),
            epoch: self.half(at + slot::EPOCH),
            pid: self.half(at + slot::PID),
            waiting: self.half(at + slot::WAITING_THREADS),
            recoverer: self.half(at + slot::RECOVERER),
        }
    }

    fn half(&self, at: u64) -> u32 {
        unsafe_calls::load(&self.0, at as usize)
    }
}
