//! What is in the shared memory: the indices, the journal and the slots, and what they say about the semaphores.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use system_semaphore::Permit;

use crate::breakpoint::{BREAKPOINTS, Breakpoint};
use crate::shared_memory::{SharedMemory, WORDS};

/// Who does something to an item: puts it into the ring, or takes it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    Consumer,
}

impl Role {
    /// The semaphore that it takes a permit of for each item.
    pub(crate) fn takes(self) -> Counter {
        match self {
            Self::Producer => Counter::Free,
            Self::Consumer => Counter::Used,
        }
    }

    /// The semaphore that it adds a permit to for each item.
    pub(crate) fn gives(self) -> Counter {
        match self {
            Self::Producer => Counter::Used,
            Self::Consumer => Counter::Free,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Producer, Self::Consumer]
            .into_iter()
            .find(|role| role.to_string() == text)
            .ok_or_else(|| format!("{text:?} is neither producer nor consumer"))
    }
}

/// The two semaphores that count slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Free,
    Used,
}

/// What is being done to which item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) role: Role,
    pub(crate) item: u64,
}

impl Job {
    /// The job as one word, never 0.
    pub(crate) fn encode(self) -> u64 {
        let role = match self.role {
            Role::Producer => 1,
            Role::Consumer => 2,
        };
        self.item << 2 | role
    }

    /// `None` for 0, which is no job.
    fn decode(word: u64) -> Option<Self> {
        let role = match word & 3 {
            1 => Role::Producer,
            2 => Role::Consumer,
            _ => return None,
        };
        Some(Self { role, item: word >> 2 })
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.role {
            Role::Producer => "producing",
            Role::Consumer => "consuming",
        };
        write!(f, "{action} item {}", self.item)
    }
}

/// The sizes of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// How many slots the ring has.
    pub(crate) slots: u64,
    /// How many bytes of the file make an item; the last one may have fewer.
    pub(crate) chunk: u64,
    /// How many bytes the file has.
    pub(crate) size: u64,
}

impl Geometry {
    /// How many items the file makes.
    pub(crate) fn items(self) -> u64 {
        self.size.div_ceil(self.chunk)
    }

    /// Where the item begins in the file.
    pub(crate) fn offset(self, item: u64) -> u64 {
        item * self.chunk
    }

    /// How many bytes the item has.
    pub(crate) fn length(self, item: u64) -> usize {
        (self.size - self.offset(item)).min(self.chunk) as usize
    }

    /// How many bytes a slot needs: the length of its item, and the item.
    fn slot_size(self) -> u64 {
        LENGTH_SIZE as u64 + self.chunk
    }
}

const LENGTH_SIZE: usize = size_of::<u64>();

/// What the words at the beginning of the shared memory are.
#[derive(Clone, Copy)]
enum Word {
    Slots,
    Chunk,
    Size,
    /// How many items were ever put into the ring.
    Produced,
    /// How many were ever taken out.
    Consumed,
    /// The job in progress, 0 for none. If somebody who has just got the mutex finds a job here, its worker died.
    Journal,
    /// For the report: how many such jobs were found, how many permits were put back, how many were too many.
    Repairs,
    RestoredFree,
    RestoredUsed,
    Surplus,
    /// The first of [`BREAKPOINTS`] words.
    Breakpoints,
}

const _: () = assert!(Word::Breakpoints as usize + BREAKPOINTS <= WORDS);

/// The ring. Everything but the progress, the figures for the report and the breakpoints may only be used by
/// whoever has the mutex.
pub(crate) struct Ring {
    memory: SharedMemory,
    pub(crate) geometry: Geometry,
}

impl Ring {
    /// A new, empty ring.
    pub(crate) fn create(path: &Path, geometry: Geometry) -> io::Result<Self> {
        let ring =
            Self { memory: SharedMemory::create(path, geometry.slots * geometry.slot_size())?, geometry };
        ring.word(Word::Slots).store(geometry.slots, Ordering::Relaxed);
        ring.word(Word::Chunk).store(geometry.chunk, Ordering::Relaxed);
        ring.word(Word::Size).store(geometry.size, Ordering::Relaxed);
        Ok(ring)
    }

    /// The ring that the parent created.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let memory = SharedMemory::open(path)?;
        let read = |word: Word| memory.word(word as usize).load(Ordering::Relaxed);
        let geometry =
            Geometry { slots: read(Word::Slots), chunk: read(Word::Chunk), size: read(Word::Size) };
        Ok(Self { memory, geometry })
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        self.memory.word(word as usize)
    }

    pub(crate) fn produced(&self) -> u64 {
        self.word(Word::Produced).load(Ordering::Acquire)
    }

    pub(crate) fn consumed(&self) -> u64 {
        self.word(Word::Consumed).load(Ordering::Acquire)
    }

    fn done_by(&self, role: Role) -> u64 {
        match role {
            Role::Producer => self.produced(),
            Role::Consumer => self.consumed(),
        }
    }

    /// Whether nothing is left to do for workers of this role.
    pub(crate) fn is_finished(&self, role: Role) -> bool {
        self.done_by(role) == self.geometry.items()
    }

    /// How many permits the semaphore must have. This is the truth, which a repair brings back.
    pub(crate) fn permits_due(&self, counter: Counter) -> u64 {
        let occupied = self.produced() - self.consumed();
        match counter {
            Counter::Free => self.geometry.slots - occupied,
            Counter::Used => occupied,
        }
    }

    /// The job that is to be done next in this role; `None` if the ring is full (producers) or empty (consumers).
    pub(crate) fn next_job(&self, role: Role) -> Option<Job> {
        (self.permits_due(role.takes()) > 0).then(|| Job { role, item: self.done_by(role) })
    }

    /// Says in the journal that this job begins.
    pub(crate) fn open_journal(&self, job: Job) {
        self.word(Word::Journal).store(job.encode(), Ordering::Release);
    }

    /// Says that no job is in progress.
    pub(crate) fn close_journal(&self) {
        self.word(Word::Journal).store(0, Ordering::Release);
    }

    /// The job in progress.
    pub(crate) fn journal(&self) -> Option<Job> {
        Job::decode(self.word(Word::Journal).load(Ordering::Acquire))
    }

    /// Counts the item. From this moment the job is done.
    pub(crate) fn commit(&self, job: Job) {
        let counter = match job.role {
            Role::Producer => Word::Produced,
            Role::Consumer => Word::Consumed,
        };
        self.word(counter).store(job.item + 1, Ordering::Release);
    }

    /// The only semaphore of which a permit can be missing if the job's worker died.
    pub(crate) fn suspect(&self, job: Job) -> Counter {
        let is_committed = self.done_by(job.role) > job.item;
        if is_committed { job.role.gives() } else { job.role.takes() }
    }

    /// Puts an item into its slot. `half_way` is called half way.
    pub(crate) fn fill_slot(&self, item: u64, data: &[u8], mutex: &Permit<'_>, half_way: impl FnOnce()) {
        let slot = self.slot(item);
        let middle = data.len() / 2;
        self.memory.copy_in(slot, &(data.len() as u64).to_le_bytes(), mutex);
        self.memory.copy_in(slot + LENGTH_SIZE, &data[..middle], mutex);
        half_way();
        self.memory.copy_in(slot + LENGTH_SIZE + middle, &data[middle..], mutex);
    }

    /// The item that is in its slot.
    pub(crate) fn read_slot(&self, item: u64, mutex: &Permit<'_>) -> Vec<u8> {
        let slot = self.slot(item);
        let mut length = [0; LENGTH_SIZE];
        self.memory.copy_out(slot, &mut length, mutex);
        let mut data = vec![0; u64::from_le_bytes(length).min(self.geometry.chunk) as usize];
        self.memory.copy_out(slot + LENGTH_SIZE, &mut data, mutex);
        data
    }

    /// Where the item's slot begins.
    fn slot(&self, item: u64) -> usize {
        ((item % self.geometry.slots) * self.geometry.slot_size()) as usize
    }

    /// Counts a job that was found unfinished and is now repaired.
    pub(crate) fn count_repair(&self) {
        self.word(Word::Repairs).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a permit that was put back.
    pub(crate) fn count_restored(&self, counter: Counter) {
        let word = match counter {
            Counter::Free => Word::RestoredFree,
            Counter::Used => Word::RestoredUsed,
        };
        self.word(word).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a permit that was one too many.
    pub(crate) fn count_surplus(&self) {
        self.word(Word::Surplus).fetch_add(1, Ordering::Relaxed);
    }

    /// What was repaired so far.
    pub(crate) fn repairs(&self) -> Repairs {
        let read = |word: Word| self.word(word).load(Ordering::Relaxed);
        Repairs {
            jobs: read(Word::Repairs),
            restored_free: read(Word::RestoredFree),
            restored_used: read(Word::RestoredUsed),
            surplus: read(Word::Surplus),
        }
    }

    /// Sets the breakpoints. For the parent, before there are workers.
    pub(crate) fn set_breakpoints(&self, breakpoints: impl IntoIterator<Item = Breakpoint>) {
        for (word, breakpoint) in self.breakpoints().zip(breakpoints) {
            word.store(breakpoint.encode(), Ordering::Release);
        }
    }

    /// The words of the breakpoints.
    pub(crate) fn breakpoints(&self) -> impl Iterator<Item = &AtomicU64> {
        (0..BREAKPOINTS).map(|index| self.memory.word(Word::Breakpoints as usize + index))
    }
}

/// What the workers repaired.
pub(crate) struct Repairs {
    pub(crate) jobs: u64,
    pub(crate) restored_free: u64,
    pub(crate) restored_used: u64,
    pub(crate) surplus: u64,
}
