//! What only the engine's file shows: who is just giving back what a dead process held, and the records, to be printed.
//!
//! Nothing here decides whether something is wrong. It reads the file as `backend/robust/layout.rs` describes it, and
//! [`Inside::open`] checks that it still does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::{fmt, process};

use rustix::process::geteuid;
use system_semaphore::SystemSemaphore;

const STATE: usize = 64;
const USED: usize = 128;
const SLOTS: usize = 640;
const SLOT: usize = 64;
/// So many slots are looked at.
const FEW: usize = 64;

pub(crate) struct Inside(File);

/// One slot in use.
pub(crate) struct Slot {
    number: usize,
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

/// Where the file of a name is.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/system-semaphore-{}/{name}", geteuid().as_raw()))
}

impl Inside {
    /// Looks into the semaphore of this name, which this process has open and nobody else uses yet.
    pub(crate) fn open(name: &str, semaphore: &SystemSemaphore) -> Result<Self, String> {
        let file = File::open(path(name)).map_err(|error| format!("{}: {error}", path(name).display()))?;
        let inside = Self(file);
        let looks_right = |held| {
            let free = semaphore.available_permits().unwrap_or(u32::MAX);
            let slots = inside.slots().unwrap_or_default();
            inside.free().is_ok_and(|it| it == free)
                && matches!(&slots[..], [own] if own.pid == process::id() && own.committed.1 == held)
        };
        let before = looks_right(0);
        let permit = semaphore.try_acquire().map_err(|error| error.to_string())?;
        let with_one = looks_right(1);
        drop(permit);
        if before && with_one {
            return Ok(inside);
        }
        Err("the file is laid out otherwise than inside.rs says: bring it up to date".to_owned())
    }

    pub(crate) fn free(&self) -> io::Result<u32> {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, STATE as u64)?;
        Ok(u64::from_ne_bytes(word) as u32 & i32::MAX as u32)
    }

    /// The first slots, if they are in use.
    pub(crate) fn slots(&self) -> io::Result<Vec<Slot>> {
        let mut bytes = [0; SLOTS + FEW * SLOT];
        self.0.read_exact_at(&mut bytes, 0)?;
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let half = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let record = |at: usize| ((word(at) >> 32) as u32, word(at) as u32);
        let used = word(USED);
        let slot = |number: usize| {
            let at = SLOTS + number * SLOT;
            Slot {
                number,
                committed: record(at),
                pending: record(at + 8),
                helped: half(at + 16),
                epoch: half(at + 20),
                pid: half(at + 24),
                waiting: half(at + 40),
                recoverer: half(at + 56),
            }
        };
        Ok((0..FEW).filter(|number| used >> number & 1 != 0).map(slot).collect())
    }

    /// Who is just giving back what dead processes held, or was when it was killed.
    pub(crate) fn recoverers(&self) -> Vec<u32> {
        let slots = self.slots().unwrap_or_default();
        slots.iter().map(|slot| slot.recoverer).filter(|pid| *pid != 0).collect()
    }
}
