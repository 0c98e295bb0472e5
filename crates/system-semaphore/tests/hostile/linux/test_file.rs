//! Names of a case's own, and what is done with the files that belong to them.

use std::fs::File;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Error, ErrorKind, SystemSemaphore};
use test_support::format::{self, header};
use test_support::robust_file::FileSnapshot;
use test_support::{Puppet, robust_file};

pub(crate) const MODES: [AccessMode; 4] =
    [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew, AccessMode::OpenExisting];

/// A call may take so long: an open waits 3 s for others, and the machine may be busy.
pub(crate) const PROMPT: Duration = Duration::from_secs(20);

/// What the names of all files of a case begin with.
pub(crate) fn prefix(case: u32) -> String {
    format!("system-semaphore-hostile-{case}-")
}

/// A name that nobody else has, and the file that stands for it. The file must be gone in the end.
pub(crate) struct TestFile(robust_file::TestFile);

impl Deref for TestFile {
    type Target = robust_file::TestFile;

    fn deref(&self) -> &robust_file::TestFile {
        &self.0
    }
}

impl TestFile {
    /// A name of this user.
    pub(crate) fn own() -> Self {
        Self(robust_file::TestFile::new(&Self::name()))
    }

    /// A name for all users.
    pub(crate) fn global() -> Self {
        Self(robust_file::TestFile::new(&format!("Global\\{}", Self::name())))
    }

    /// A name of this user, so long that its file is called by the name's hash.
    pub(crate) fn long(end: char) -> Self {
        Self(robust_file::TestFile::new(&format!("{}{}{end}", prefix(std::process::id()), "x".repeat(300))))
    }

    fn name() -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        format!("{}{}", prefix(std::process::id()), NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// A new semaphore.
    #[track_caller]
    pub(crate) fn create(&self, permits: u32) -> SystemSemaphore {
        self.open(permits, AccessMode::CreateNew).expect("nobody has the name")
    }

    pub(crate) fn open(&self, permits: u32, mode: AccessMode) -> Result<SystemSemaphore, Error> {
        promptly("open", || SystemSemaphore::new(&self.key, permits, mode))
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        promptly("remove", || SystemSemaphore::remove(&self.key))
    }

    /// Another process that has it open as `s`.
    #[track_caller]
    pub(crate) fn puppet(&self) -> Puppet {
        let mut puppet = Puppet::of_this_program();
        puppet.must(&self.opening("OpenExisting"));
        puppet
    }

    /// What lets a puppet open it as `s`, with 7 permits if it is new.
    pub(crate) fn opening(&self, mode: &str) -> String {
        format!("open\ts\t{}\t7\t{mode}", self.key)
    }

    /// The file, as a stranger opens it.
    #[track_caller]
    pub(crate) fn file(&self) -> File {
        self.0.open().expect("the semaphore has its file there")
    }

    /// The state word, as another program reads it.
    pub(crate) fn state(&self) -> u64 {
        format::read_u64(&self.file(), header::STATE).expect("it can be read")
    }

    /// Overwrites the state word, as another program does.
    pub(crate) fn set_state(&self, state: u64) {
        self.file().write_all_at(&state.to_ne_bytes(), header::STATE).expect("it can be written");
    }

    /// Opens it in every mode, and removes it: all that is refused like this, and changes nothing.
    #[track_caller]
    pub(crate) fn is_refused(&self, what: &str, kind: ErrorKind, words: &[&str]) {
        self.is_refused_at(&self.path, what, kind, words);
    }

    /// The same, where it is something else that is at fault, at this path.
    #[track_caller]
    pub(crate) fn is_refused_at(&self, at: &Path, what: &str, kind: ErrorKind, words: &[&str]) {
        self.check_refusals(at, what, kind, words, || Some(FileSnapshot::of(at)));
    }

    /// The same, where others change it meanwhile.
    #[track_caller]
    pub(crate) fn is_refused_while_used(&self, what: &str, kind: ErrorKind, words: &[&str]) {
        self.check_refusals(&self.path, what, kind, words, || None);
    }

    #[track_caller]
    fn check_refusals(
        &self,
        at: &Path,
        what: &str,
        kind: ErrorKind,
        words: &[&str],
        snapshot: impl Fn() -> Option<FileSnapshot>,
    ) {
        let before = snapshot();
        let complain = |action: &str, error: Error| {
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{action} {what}: {text}");
            let path = at.to_str().expect("it is plain");
            for word in [path].iter().chain(words) {
                assert!(text.contains(word), "{action} {what}: {word:?} is not in: {text}");
            }
            assert!(snapshot() == before, "{action} {what}: it was changed ({text})");
        };
        for mode in MODES {
            match self.open(3, mode) {
                Err(error) => complain(&format!("{mode:?}"), error),
                Ok(_) => panic!("{mode:?} {what}: it was opened"),
            }
            let builder = SystemSemaphore::builder(&self.key).mode(mode).persistent(true).max_permits(5);
            match builder.initial_value(3).permissions(0o666).build() {
                Err(error) => complain(&format!("{mode:?}, persistent,"), error),
                Ok(_) => panic!("{mode:?}, persistent, {what}: it was opened"),
            }
        }
        match self.remove() {
            Err(error) => complain("remove", error),
            Ok(()) => panic!("{what}: it was removed"),
        }
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.clear();
        } else {
            assert!(!self.exists(), "{} is left", self.path.display());
        }
    }
}

/// Does something that must not hang.
#[track_caller]
pub(crate) fn promptly<T>(what: &str, action: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let outcome = action();
    let elapsed = begin.elapsed();
    assert!(elapsed < PROMPT, "{what} took {elapsed:?}");
    outcome
}

/// How many permits are free.
#[track_caller]
pub(crate) fn free(semaphore: &SystemSemaphore) -> u32 {
    semaphore.available_permits().expect("the count can be read")
}

/// The bytes of a semaphore's file that nobody uses.
pub(crate) fn valid_bytes() -> Vec<u8> {
    robust_file::valid_bytes(&TestFile::own())
}
