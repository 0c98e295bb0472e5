//! What all processes of a run share: what the round is, and for each process what it is about.
//!
//! A process says what it is going to do before it does it, and what it has done afterwards. What it has said last stays there when
//! it is killed, so the driver knows what it was doing.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};

/// The most workers; behind their seats are those of the children of workers.
pub(crate) const WORKERS: usize = 32;
const CHILDREN: usize = 12;
pub(crate) const THREADS: usize = 3;
pub(crate) const SEMAPHORES: usize = 2;

#[repr(C)]
pub(crate) struct SharedState {
    pub(crate) driver: AtomicU32,
    pub(crate) scene: AtomicU32,
    pub(crate) semaphores: AtomicU32,
    /// How many permits each has at first.
    pub(crate) permits: AtomicU32,
    /// Whether processes fork and become other programs.
    pub(crate) families: AtomicU32,
    /// Everybody is to finish what it does, and leave.
    pub(crate) over: AtomicU32,
    /// Heirs may begin.
    pub(crate) is_time: AtomicU32,
    /// Who is inside, where there is one permit.
    pub(crate) inside: AtomicU64,
    /// In a queue: who gets through keeps its permit until so many have. 0: nobody does.
    pub(crate) together: AtomicU64,
    /// How many waiters of a queue got through,
    pub(crate) through: AtomicU64,
    /// and how many of them not before their sleep was at its bound.
    pub(crate) late: AtomicU64,
    complaint_length: AtomicU32,
    complaint: [AtomicU8; 1000],
    pub(crate) seats: [Seat; WORKERS + CHILDREN],
}

#[repr(C)]
pub(crate) struct Seat {
    /// 0: the seat is free.
    pub(crate) pid: AtomicU32,
    /// So many threads it is to have.
    pub(crate) threads: AtomicU32,
    /// How many permits it creates and forgets at once; 0 if it does not. In a queue, how many it takes and keeps.
    pub(crate) amount: AtomicU32,
    /// It is to be killed within so many microseconds from its beginning, or as an heir; 0: it is not.
    pub(crate) doom: AtomicU32,
    /// It becomes another program, or ends: it may hold less than it says.
    pub(crate) is_leaving: AtomicU32,
    pub(crate) seed: AtomicU64,
    pub(crate) ledger: Ledger,
    pub(crate) hands: [Hand; THREADS],
}

/// One thread.
#[repr(C)]
pub(crate) struct Hand {
    stage: AtomicU32,
    /// What it holds of each semaphore, for sure: written after permits are taken and before they are given back.
    pub(crate) held: [AtomicU32; SEMAPHORES],
    /// How often it went to sleep in this wait.
    pub(crate) naps: AtomicU32,
}

/// What a process has created and forgotten, in all, and what it is just about to: one word, so that a kill leaves no
/// doubt but whether the operation that was under way has happened.
#[repr(C)]
pub(crate) struct Ledger {
    word: AtomicU64,
}

impl Ledger {
    /// Permits created less those forgotten; and what the operation that is under way will add.
    pub(crate) fn read(&self) -> (i32, i32) {
        let word = self.word.load(SeqCst);
        ((word >> 32) as i32, word as i32)
    }

    pub(crate) fn write(&self, balance: i32, under_way: i32) {
        self.word.store(u64::from(balance as u32) << 32 | u64::from(under_way as u32), SeqCst);
    }
}

/// What a thread is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Stage {
    Absent,
    /// It has nothing open yet.
    Starting,
    Idle,
    Asking,
    Acquiring,
    Asleep,
    Holding,
    GivingBack,
    Hammering,
    Forking,
    Becoming,
    Closing,
    Opening,
    Minting,
    Resetting,
}

const STAGES: [Stage; 15] = [
    Stage::Absent,
    Stage::Starting,
    Stage::Idle,
    Stage::Asking,
    Stage::Acquiring,
    Stage::Asleep,
    Stage::Holding,
    Stage::GivingBack,
    Stage::Hammering,
    Stage::Forking,
    Stage::Becoming,
    Stage::Closing,
    Stage::Opening,
    Stage::Minting,
    Stage::Resetting,
];

impl Hand {
    pub(crate) fn stage(&self) -> Stage {
        STAGES[self.stage.load(SeqCst) as usize % STAGES.len()]
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u32, SeqCst);
    }

    pub(crate) fn holds(&self) -> u32 {
        self.held.iter().map(|held| held.load(SeqCst)).sum()
    }

    fn clear(&self) {
        self.set_stage(Stage::Absent);
        self.naps.store(0, SeqCst);
        self.held.iter().for_each(|held| held.store(0, SeqCst));
    }
}

impl Seat {
    /// What its process is about: the rarest of what its threads are.
    pub(crate) fn stage(&self) -> Stage {
        self.hands.iter().map(Hand::stage).max().unwrap_or(Stage::Absent)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.stage() > Stage::Starting
    }

    /// What its process holds of a semaphore, at least.
    pub(crate) fn holds_of(&self, semaphore: usize) -> u32 {
        if self.is_leaving.load(SeqCst) != 0 {
            return 0;
        }
        self.hands.iter().map(|hand| hand.held[semaphore].load(SeqCst)).sum()
    }

    /// Forgets its process, but not what that has created and forgotten.
    pub(crate) fn clear(&self) {
        self.hands.iter().for_each(Hand::clear);
        self.is_leaving.store(0, SeqCst);
        self.pid.store(0, SeqCst);
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (balance, under_way) = self.ledger.read();
        write!(f, "pid {}:", self.pid.load(SeqCst))?;
        for hand in self.hands.iter().filter(|hand| hand.stage() != Stage::Absent) {
            let held: Vec<u32> = hand.held.iter().map(|held| held.load(SeqCst)).collect();
            write!(f, " {:?} holding {held:?},", hand.stage())?;
        }
        write!(f, " created - forgotten {balance}, under way {under_way}")
    }
}

impl SharedState {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(SeqCst) != 0
    }

    /// The seats of the children of workers.
    pub(crate) fn children(&self) -> &[Seat] {
        &self.seats[WORKERS..]
    }

    /// Says what is wrong, if nobody has before.
    pub(crate) fn complain(&self, text: &str) {
        if self.complaint().is_some() {
            return;
        }
        let length = text.len().min(self.complaint.len());
        for (cell, byte) in self.complaint.iter().zip(text.bytes()) {
            cell.store(byte, SeqCst);
        }
        self.complaint_length.store(length as u32, SeqCst);
    }

    pub(crate) fn complaint(&self) -> Option<String> {
        let length = self.complaint_length.load(SeqCst) as usize;
        let bytes: Vec<u8> = self.complaint.iter().take(length).map(|cell| cell.load(SeqCst)).collect();
        (length > 0).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}
