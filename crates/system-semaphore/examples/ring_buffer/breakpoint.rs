//! Places at which a worker stops and waits to be killed, so that workers can be killed at every point of a turn,
//! however short it is.
//!
//! A breakpoint is a word in the shared memory: first the place, then the process that stopped there.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::ring::{Job, Ring};

/// How many there can be at once.
pub(crate) const BREAKPOINTS: usize = 16;

/// A point of a worker's turn (the first seven) or of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    BeforeJournal,
    AfterJournal,
    AfterForget,
    MiddleOfCopy,
    AfterCommit,
    AfterAdd,
    AfterClean,
    RepairBeforeAdd,
    RepairAfterAdd,
}

impl Step {
    pub(crate) const ALL: [Self; 9] = [
        Self::BeforeJournal,
        Self::AfterJournal,
        Self::AfterForget,
        Self::MiddleOfCopy,
        Self::AfterCommit,
        Self::AfterAdd,
        Self::AfterClean,
        Self::RepairBeforeAdd,
        Self::RepairAfterAdd,
    ];

    /// Those after which a permit is missing until somebody repairs it.
    pub(crate) const LOSING_A_PERMIT: [Self; 3] = [Self::AfterForget, Self::MiddleOfCopy, Self::AfterCommit];

    /// Whether it is passed only by those who find a permit missing.
    pub(crate) fn is_in_repair(self) -> bool {
        matches!(self, Self::RepairBeforeAdd | Self::RepairAfterAdd)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeJournal => "before-journal",
            Self::AfterJournal => "after-journal",
            Self::AfterForget => "after-forget",
            Self::MiddleOfCopy => "middle-of-copy",
            Self::AfterCommit => "after-commit",
            Self::AfterAdd => "after-add",
            Self::AfterClean => "after-clean",
            Self::RepairBeforeAdd => "repair-before-add",
            Self::RepairAfterAdd => "repair-after-add",
        })
    }
}

/// A step of one job. In a repair that is the job being repaired, not one of the repairing worker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breakpoint {
    pub(crate) job: Job,
    pub(crate) step: Step,
}

/// The highest bit says that a process has stopped; the others are its id then.
const STOPPED: u64 = 1 << 63;
const STEP_BITS: u32 = 4;

impl Breakpoint {
    pub(crate) fn encode(self) -> u64 {
        self.job.encode() << STEP_BITS | self.step as u64
    }
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repairing = if self.step.is_in_repair() { "repairing what a dead worker left of " } else { "" };
        write!(f, "step {}, {repairing}{}", self.step, self.job)
    }
}

/// `consumer:middle-of-copy:320`
impl FromStr for Breakpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let [role, step, item] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(format!("{text:?} is not of the form ROLE:STEP:ITEM"));
        };
        let step = Step::ALL.into_iter().find(|known| known.to_string() == step).ok_or_else(|| {
            format!("there is no step {step:?}, but {}", Step::ALL.map(|step| step.to_string()).join(", "))
        })?;
        let item = item.parse().map_err(|_| format!("{item:?} is not the number of an item"))?;
        Ok(Self { job: Job { role: role.parse()?, item }, step })
    }
}

/// A worker tells that it is here. If there is a breakpoint, it goes no further. Each stops one worker only.
pub(crate) fn passing(ring: &Ring, here: Breakpoint) {
    let stopped = STOPPED | u64::from(std::process::id());
    let stop = |word: &AtomicU64| {
        word.compare_exchange(here.encode(), stopped, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    if ring.breakpoints().any(stop) {
        loop {
            thread::park();
        }
    }
}

/// The process that stopped at a breakpoint.
pub(crate) fn stopped_process(word: &AtomicU64) -> Option<u32> {
    let word = word.load(Ordering::Acquire);
    (word & STOPPED != 0).then_some(word as u32)
}
