//! Who is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

/// In which language a contestant is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// From this very program.
    Rust,
    /// By the program of this name in `bench/workers`.
    Cpp(&'static str),
    Python,
}

/// What its permits can do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A count, and a death gives back.
    CountsAndReturns,
    /// A count; what the dead had is lost.
    Counts,
    /// One permit, which its taker gives back; a death does, too.
    Lock,
    /// At most so many at once, by files that are tried one after the other, again and again; a death gives back.
    Limit,
}

pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// By which name its worker knows it.
    worker: &'static str,
    pub(crate) language: Language,
    kind: Kind,
    /// The most items that can go through a ring before Qt's class is out of resources.
    pub(crate) most_items: u64,
}

const fn new(name: &'static str, worker: &'static str, language: Language, kind: Kind) -> Contestant {
    Contestant { name, worker, language, kind, most_items: u64::MAX }
}

const fn with_undo(contestant: Contestant) -> Contestant {
    Contestant { most_items: 30_000, ..contestant }
}

use Kind::{Counts, CountsAndReturns, Limit, Lock};
use Language::{Cpp, Python, Rust};

/// The first is what the others are compared with.
pub(crate) const ALL: [Contestant; 20] = [
    new(SEM_T, "sem_t", Rust, Counts),
    new(SEM_T_THREADS, "sem_t-threads", Rust, Counts),
    new(ROBUST, "robust", Rust, CountsAndReturns),
    new(ROBUST_THREADS, "robust-threads", Rust, CountsAndReturns),
    new("ours, System V", "system-v", Rust, CountsAndReturns),
    new("ours, POSIX", "posix", Rust, Counts),
    new(SEMOP, "semop", Rust, Counts),
    with_undo(new(SEMOP_UNDO, "semop-undo", Rust, CountsAndReturns)),
    new("robust mutex", "mutex", Rust, Lock),
    new("robust mutex + condvar", "condvar", Rust, Counts),
    new("Boost named_semaphore", "boost", Cpp("boost"), Counts),
    with_undo(new(QT, "qt", Cpp("qt"), CountsAndReturns)),
    new(PYTHON, "ours", Python, CountsAndReturns),
    new(PYTHON_MULTIPROCESSING, "multiprocessing", Python, Counts),
    new("Python: posix_ipc", "posix_ipc", Python, Counts),
    with_undo(new("Python: sysv_ipc, undo", "sysv_ipc", Python, CountsAndReturns)),
    with_undo(new("Python: PySide6, System V", "pyside6-system-v", Python, CountsAndReturns)),
    new("Python: PySide6, POSIX", "pyside6-posix", Python, Counts),
    new("Python: portalocker", "portalocker", Python, Limit),
    new("Python: our Qt class", "our-qt", Python, CountsAndReturns),
];

/// In the names of all that are ours.
pub(crate) const OURS: &str = "our";
pub(crate) const SEM_T: &str = "sem_t";
pub(crate) const SEM_T_THREADS: &str = "sem_t, other threads";
pub(crate) const ROBUST: &str = "ours, robust";
pub(crate) const ROBUST_THREADS: &str = "ours, robust, other threads";
pub(crate) const SEMOP: &str = "semop";
pub(crate) const SEMOP_UNDO: &str = "semop, SEM_UNDO";
pub(crate) const QT: &str = "Qt, C++";
pub(crate) const PYTHON: &str = "Python: ours";
pub(crate) const PYTHON_MULTIPROCESSING: &str = "Python: multiprocessing";

impl Contestant {
    /// What starts its worker.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.program();
        // where Qt, and we where we share with it, keep key files
        command.env("XDG_RUNTIME_DIR", built().join("runtime"));
        command
    }

    fn program(&self) -> Command {
        match self.language {
            Rust => {
                let mut command = Command::new("/proc/self/exe");
                command.arg("--worker").arg(self.worker);
                command
            }
            Cpp(program) => Command::new(built().join(program)),
            Python => {
                let mut command = Command::new(built().join("python/bin/python"));
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("workers/worker.py")).arg(self.worker);
                command
            }
        }
    }

    pub(crate) fn counts(&self) -> bool {
        matches!(self.kind, Counts | CountsAndReturns)
    }

    /// Whether it can be opened as a thing of its own, and its waiters sleep until they are woken.
    pub(crate) fn is_object(&self) -> bool {
        self.kind != Limit
    }

    pub(crate) fn returns_on_death(&self) -> bool {
        self.kind != Counts
    }

    /// Whether it is one of the two that only have another thread in their process.
    pub(crate) fn has_threads(&self) -> bool {
        [SEM_T_THREADS, ROBUST_THREADS].contains(&self.name)
    }

    pub(crate) fn is_one_of(&self, names: &[&str]) -> bool {
        names.contains(&self.name)
    }
}

/// Where `bench/setup` puts the contestants that are not in this program.
pub(crate) fn built() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench")
}
