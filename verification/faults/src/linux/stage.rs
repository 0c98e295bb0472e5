//! Where a scene is played: a `/dev/shm` of its own, the traced subject, and what must hold whatever failed.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::libc::IN_CLOSE_WRITE;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use system_semaphore::{AccessMode, KeyType, NativeIpcKey, SystemSemaphore};
use test_support::robust_file::SHARED_MEMORY;
use test_support::{Failure, Puppet, TEST_TIMEOUT, format, process, wait_until};

use super::call::{Fault, Role};
use super::tracer::{Plan, Progress, Seen, trace};

/// Of the engine, in milliseconds: who waits sleeps no longer before it has deaths watched,
const FIRST_SLEEP: i64 = 2;
/// and no longer than this if nobody tells it of them.
const POLL_INTERVAL: i64 = 100;

/// One run of a scene.
pub(super) struct Stage {
    pub(super) key: NativeIpcKey,
    pub(super) subject: Puppet,
    plan: Option<Plan>,
    progress: Arc<Progress>,
    tracer: JoinHandle<Seen>,
    /// Descriptors of the subject before it has done anything.
    descriptors: usize,
    error: Option<Failure>,
    /// Other code has closed its descriptors.
    has_lost_descriptors: bool,
}

/// What came of it.
pub(super) struct Played {
    pub(super) seen: Seen,
    pub(super) hit: bool,
    /// What the subject told of.
    pub(super) error: Option<Failure>,
}

/// Gives this thread, and what it starts, an empty `/dev/shm`. It goes with them.
pub(super) fn enter_own_shared_memory() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    mount(Some("faults"), SHARED_MEMORY, Some("tmpfs"), MsFlags::empty(), Some("mode=1777,size=16m"))
}

impl Stage {
    pub(super) fn new(name: &str, plan: Option<Plan>) -> Self {
        enter_own_shared_memory().expect("it was possible before");
        let mut subject = Puppet::spawn(Puppet::this_program().process_group(0));
        // what it has of us
        subject.must("close-descriptors");
        let progress = Arc::default();
        // what it does to begin is not the library's doing
        wait_until("the subject listens", || is_listening(subject.pid()));
        let tracer = trace(subject.pid(), plan.clone(), &progress);
        Self {
            key: NativeIpcKey::new(name, KeyType::Robust),
            descriptors: process::descriptors(subject.pid()),
            subject,
            plan,
            progress,
            tracer,
            error: None,
            has_lost_descriptors: false,
        }
    }

    /// This process's own handle.
    pub(super) fn open(&self, permits: u32, mode: AccessMode) -> SystemSemaphore {
        SystemSemaphore::new(&self.key, permits, mode).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Another process that has it open as `s`, and that nothing happens to.
    pub(super) fn puppet(&self) -> Puppet {
        let mut puppet = Puppet::of_this_program();
        puppet.must(&self.opening("s", 7, "Open"));
        puppet
    }

    pub(super) fn opening(&self, handle: &str, permits: u32, mode: &str) -> String {
        format!("open\t{handle}\t{}\t{permits}\t{mode}", self.key)
    }

    /// Has the subject do something. If the fault makes that an error, nothing has happened, and it can be done again.
    pub(super) fn ask(&mut self, command: &str) -> String {
        self.subject.send(command);
        self.answer(command)
    }

    /// The answer to what it was told.
    pub(super) fn answer(&mut self, command: &str) -> String {
        match self.subject.answer() {
            Ok(value) => value,
            Err(failure) => {
                self.excuse(command, failure);
                self.subject.ask(command).unwrap_or_else(|again| {
                    panic!(
                        "{command:?} fails again, without a fault: {again:?}; the first was {:?}",
                        self.error
                    )
                })
            }
        }
    }

    /// The same for what is to be refused.
    pub(super) fn refused(&mut self, command: &str, kind: &str) {
        loop {
            match self.subject.ask(command) {
                Ok(value) => panic!("{command:?} was to be refused, but the answer is {value:?}"),
                Err(failure) if failure.kind == kind => return,
                Err(failure) => self.excuse(command, failure),
            }
        }
    }

    /// An error is in order if a call was made to fail, once, and it says so.
    fn excuse(&mut self, command: &str, failure: Failure) {
        let Some(plan) = self.plan.as_ref().filter(|_| self.is_hit()) else {
            panic!("{command:?} fails without a fault: {failure:?}");
        };
        if let Some(first) = &self.error {
            panic!("{command:?}: a second error of one fault: {failure:?}; the first was {first:?}");
        }
        let tells_of_loss =
            self.has_lost_descriptors && failure.message.contains("has closed the descriptor");
        if !tells_of_loss && let Some(what) = unclear(&failure, plan, &self.key.to_string()) {
            panic!("{command:?}: {what}: {failure:?}");
        }
        self.error = Some(failure);
    }

    /// Tells the subject to do something that takes long, and waits until it sleeps, or has answered.
    pub(super) fn begin(&mut self, command: &str) {
        let answers = || self.progress.answers.load(Ordering::SeqCst);
        let before = answers();
        // who is told of deaths sleeps until the next full second: at its end, no longer than who is not
        wait_until("a second is young", || milliseconds_of_second() < 500);
        self.subject.send(command);
        // it says that it begins, and then how it ended
        let is_over = || answers() >= before + 2 || process::is_gone(self.subject.pid());
        wait_until(format_args!("{command:?} blocks"), || self.sleeps_for() > FIRST_SLEEP || is_over());
        self.rest();
        // what fails in the thread, who sleeps already does not know yet
        if self.sleeps_for() > FIRST_SLEEP
            && self.plan.as_ref().is_none_or(|plan| plan.call.role != Role::Thread)
        {
            wait_until("it is seen in one sleep", || self.check_watch() || is_over());
        }
    }

    fn sleeps_for(&self) -> i64 {
        self.progress.sleeps_for.load(Ordering::SeqCst)
    }

    /// It waits. Who is not told of deaths looks for itself often, and who listens for them in the name of all does so. Between
    /// two sleeps it may be about to, so this tells whether all that was seen was within one.
    fn check_watch(&self) -> bool {
        let pid = self.subject.pid();
        let sleeps = || self.progress.sleeps.load(Ordering::SeqCst);
        let (number, sleep) = (sleeps(), self.sleeps_for());
        let (mask, is_watcher) = (listens_for(pid), is_watcher(pid));
        if sleep <= FIRST_SLEEP || self.sleeps_for() == 0 || sleeps() != number {
            return false;
        }
        assert!(
            mask != 0 || sleep <= POLL_INTERVAL,
            "it sleeps for {sleep} ms, and nobody tells it of deaths"
        );
        assert!(!is_watcher || mask & IN_CLOSE_WRITE != 0, "it is the watcher, and does not listen");
        true
    }

    fn is_hit(&self) -> bool {
        self.progress.hit.load(Ordering::SeqCst)
    }

    /// Whether the subject was told that somebody else has the lock of the dead, and so gives back what they held.
    pub(super) fn lets_others_recover(&self) -> bool {
        let is_lock = |plan: &Plan| plan.call.name == "fcntl" && plan.fault == Fault::Instead(Errno::EAGAIN);
        self.is_hit() && self.plan.as_ref().is_some_and(is_lock)
    }

    /// Waits until the library's thread has looked often enough.
    pub(super) fn rest(&self) {
        wait_until("the thread rests", || !self.progress.thread_is_busy.load(Ordering::SeqCst));
    }

    /// Asks from another process how many are free.
    pub(super) fn check(&self, free: u32) {
        let now = self.open(9, AccessMode::OpenExisting).available_permits();
        assert_eq!(now.map_err(|error| error.to_string()), Ok(free), "free permits");
    }

    /// Lets other code of the subject close its descriptors.
    pub(super) fn lose_descriptors(&mut self) {
        self.subject.must("close-descriptors");
        self.has_lost_descriptors = true;
    }

    /// Makes the semaphore one whose remover was killed before it was done.
    pub(super) fn half_remove(&self) {
        let pid = self.subject.pid();
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").flatten();
        let mut paths = entries.map(|entry| entry.path());
        let is_file =
            |path: &std::path::PathBuf| fs::read_link(path).is_ok_and(|file| file.starts_with(SHARED_MEMORY));
        let path = paths.find(is_file).expect("it has it open");
        let file = OpenOptions::new().write(true).open(path).expect("it can be opened");
        let removed = format::removed_state().to_ne_bytes();
        file.write_all_at(&removed, format::header::STATE).expect("it can be written to");
    }

    /// The subject has `s` open, and holds nothing. So many are free in the end, and all of it still works.
    pub(super) fn works(&mut self, free: u32) {
        self.check(free);
        let semaphore = self.open(9, AccessMode::OpenExisting);
        self.ask(&format!("acquire\ts\t{free}"));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| semaphore.acquire_many_timeout(free, TEST_TIMEOUT).map(drop));
            wait_until("somebody waits", || semaphore.waiting().is_ok_and(|waiting| waiting == 1));
            self.ask("drop\ts");
            waiter.join().expect("it does not panic").expect("who waits gets what comes back");
        });
        drop(semaphore);
        self.check(free);
    }

    /// The same, and the subject closes it, as the last one. Nothing of it is left, in the subject or elsewhere.
    pub(super) fn end(mut self, free: u32) -> Played {
        self.works(free);
        self.ask("close\ts");
        self.leave()
    }

    /// All have closed it.
    pub(super) fn leave(self) -> Played {
        self.check_subject();
        // what a close could not take along, the next one does: the subject lives, but has no lock of it
        if is_anything_left() {
            drop(self.open(1, AccessMode::Open));
        }
        assert!(!is_anything_left(), "the file is left: {:?}", left());
        // and in any case it can be made anew
        let semaphore = self.open(2, AccessMode::CreateNew);
        assert_eq!(semaphore.available_permits().expect("it is new"), 2);
        drop(semaphore);
        drop(self.subject);
        let seen = self.tracer.join().expect("the tracer does not panic");
        Played { seen, hit: self.progress.hit.load(Ordering::SeqCst), error: self.error }
    }

    /// It has closed whatever it had.
    fn check_subject(&self) {
        self.rest();
        let pid = self.subject.pid();
        let inotify = usize::from(process::threads(pid) > 1 && process::has_inotify(pid));
        assert_eq!(process::descriptors(pid), self.descriptors + inotify, "descriptors of the subject");
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it lives");
        let mapped: Vec<_> = maps.lines().filter(|line| line.contains(SHARED_MEMORY)).collect();
        assert!(mapped.is_empty(), "the subject has it mapped still: {mapped:?}");
    }
}

/// What is wrong with an error.
fn unclear(failure: &Failure, plan: &Plan, key: &str) -> Option<String> {
    use Errno::*;
    let Failure { kind, message } = failure;
    // that is no operation on a semaphore
    if plan.call.name == "clone" && kind == "Forked" {
        return None;
    }
    if !message.contains(&format!("{key:?}")) {
        return Some("the error does not name the key".to_owned());
    }
    let (Fault::Instead(errno) | Fault::After(errno)) = plan.fault else {
        return Some("this fault is not to show".to_owned());
    };
    if errno == EINTR {
        return Some("a signal is no error".to_owned());
    }
    // what these tell happens without faults, too
    let means = match errno {
        ENOENT => &["NotFound"][..],
        EOPNOTSUPP => &["Unsupported"],
        // somebody else has the lock
        EAGAIN if plan.call.name == "fcntl" => &["NoPermits", "TimedOut"],
        _ => &[],
    };
    if means.contains(&kind.as_str()) {
        return None;
    }
    let expected = match errno {
        EMFILE | ENFILE | ENOMEM | ENOSPC | ENOLCK | EAGAIN => "OutOfResources",
        EACCES | EPERM => "PermissionDenied",
        // those that have no kind of their own
        _ => "Unknown",
    };
    if kind != expected {
        return Some(format!("it is to be of kind {expected}"));
    }
    let number = format!("(os error {})", errno as i32);
    (!message.contains(&number)).then(|| format!("it is to tell of {errno:?}"))
}

/// By the clock of those who sleep.
fn milliseconds_of_second() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is this clock").tv_nsec() / 1_000_000
}

/// Whether it waits for what it is told.
fn is_listening(pid: u32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall"));
    // a read of the standard input
    call.is_ok_and(|call| call.starts_with("0 0x0 "))
}

/// What the kernel tells of its descriptors.
fn descriptor_lines(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it lives").flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Whether it has the lock of the watcher.
pub(super) fn is_watcher(pid: u32) -> bool {
    // lock: 1: OFDLCK ADVISORY WRITE -1 00:2b:3 FIRST LAST
    let lines = descriptor_lines(pid);
    let mut locks = lines.iter().filter(|line| line.starts_with("lock:")).filter_map(|line| {
        let mut words = line.split_whitespace().rev();
        Some((words.next()?.parse::<u16>().ok()?, words.next()?.parse::<u16>().ok()?))
    });
    locks.any(|(last, first)| (first..=last).contains(&format::WATCHER_BYTE))
}

/// Of what inotify tells it.
fn listens_for(pid: u32) -> u32 {
    // inotify wd:1 ino:2 sdev:2b mask:18 ...
    let lines = descriptor_lines(pid);
    let watches = lines.iter().filter(|line| line.starts_with("inotify "));
    let masks = watches.filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix("mask:")));
    masks.map(|mask| u32::from_str_radix(mask, 16).expect("it is a number")).fold(0, |all, mask| all | mask)
}

/// What is in shared memory.
pub(super) fn left() -> Vec<String> {
    let entries = fs::read_dir(SHARED_MEMORY).expect("it can be listed").flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

pub(super) fn is_anything_left() -> bool {
    !left().is_empty()
}
