//! Waking waiters when a holder dies: one thread a process, and only while somebody waits.
//!
//! When the last descriptor of an open is closed, which is what a death does, inotify reports it for the file. The
//! *watcher* of a semaphore, whoever has the lock on [`WATCHER_BYTE`], listens for the close of descriptors that could
//! write: those of its users, and of who looks on. Every other waiting process is a *deputy*. If all listened, each close
//! would wake a thread in each; so the watcher keeps one more descriptor that can only read, and deputies listen for the close of such ones. So
//! the death of a watcher calls its deputies, of whom one follows it, even if it dies together with a holder. A watcher that
//! is stopped is covered by the bounded sleeps of the waiters.
//!
//! Where there is no inotify instance to be had, or no thread, waiters look for themselves every [`PROBE`], some of a crowd at a time,
//! and try again.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, inotify};
use rustix::io::Errno;

use super::algorithm::layout::WATCHER_BYTE;
use super::algorithm::mapped_file::Core;
use super::algorithm::recovery::{Pass, is_crowd, recover};
use super::error::Trouble;
use super::platform::LivenessLocks;
use super::platform::clock;
use crate::sys::descriptor::{PrivateDescriptor, undisturbed};
use crate::sys::fork::PerProcess;
use crate::sys::thread;

/// How often waiters look for deaths where nobody tells them.
const PROBE: Duration = Duration::from_millis(100);
/// How many of a crowd look at the same moment,
const LOOKERS: u64 = 8;
/// and how many others have their turns at most until it is that of the same ones again.
const MOST_TURNS: u64 = 8;
/// How long a semaphore that nobody waits for is still watched: the next waiter may come soon.
const LINGER: Duration = Duration::from_secs(3);
/// The close is reported moments before the locks are gone, and who is dying may be put aside between the two for as long as
/// others run. (The watcher's tripwire goes some 10 ms before its lock: the kernel closes its inotify instance between the two.) So
/// long after a report, and then after each look, it is looked again (the last one stands first).
const AGAIN: [Duration; 7] = [
    Duration::from_millis(400),
    Duration::from_millis(80),
    Duration::from_millis(14),
    Duration::from_millis(4),
    Duration::from_millis(2),
    Duration::from_micros(300),
    SOON,
];
/// The last look but so many, 20 ms after the report, is at all: not all who are gone seem to be dead (who executes another program,
/// for one).
const LATE: usize = 2;
/// The shortest pause between two looks, in which who was woken by the first can run.
const SOON: Duration = Duration::from_micros(50);
/// Where one report follows the other, and there are many: so often at most all are looked at who seem to be dead, and not only the
/// first of them who holds something,
const ROUND: Duration = Duration::from_millis(20);
/// and so often all.
const THOROUGH: Duration = Duration::from_millis(100);

/// Somebody's wish to have a semaphore watched, until it is dropped.
pub(crate) struct Watch(Arc<Core>);

/// Has the semaphore watched. Deaths of before may have gone unseen.
pub(crate) fn watch(core: &Arc<Core>) -> Watch {
    let mut watching = watching();
    watching.start();
    watching.subject(core).waiters += 1;
    Watch(Arc::clone(core))
}

/// The same if this process watches the semaphore already: then none has gone unseen.
pub(crate) fn join(core: &Arc<Core>) -> Option<Watch> {
    let mut watching = watching();
    watching.find(core).filter(|subject| subject.watch.is_some())?.waiters += 1;
    Some(Watch(Arc::clone(core)))
}

impl Watch {
    /// Where there was nothing to be told of deaths by, this is tried again; tells whether there is now. Deaths of before may
    /// have gone unseen then.
    pub(crate) fn begins(&self) -> bool {
        let mut watching = watching();
        if watching.subject(&self.0).watch.is_some() {
            return false;
        }
        watching.start();
        watching.subject(&self.0).watch.is_some()
    }

    /// The longest sleep that is safe. Who is told of deaths looks for itself once a second, in case that somebody is stopped who
    /// should have told it; who is not, more often. Of a crowd, some do each time, by turns.
    pub(crate) fn longest_sleep(&self) -> Duration {
        let is_told = watching().subject(&self.0).watch.is_some();
        let (before, all) = self.0.waiting_processes();
        let turns = (all / LOOKERS).clamp(1, MOST_TURNS);
        clock::to_turn(before % turns, turns, if is_told { Duration::from_secs(1) } else { PROBE })
    }

    /// Whether it is this process that listens for all. If it has just begun, nobody has before.
    pub(crate) fn is_watcher(&self) -> bool {
        watching().subject(&self.0).is_watcher()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watching = watching();
        // none in a child that was forked during the wait
        let Some(subject) = watching.find(&self.0) else { return };
        subject.waiters -= 1;
        subject.idle_since = Instant::now();
        if !watching.has_thread {
            watching.retire(|subject| subject.waiters == 0);
        }
    }
}

/// Ends the watch of a semaphore that is to be closed.
pub(crate) fn forget(core: &Arc<Core>) {
    let mut watching = watching();
    watching.retire(|subject| Arc::ptr_eq(&subject.core, core));
}

/// What this process watches.
#[derive(Default)]
struct Watching {
    inotify: Option<Arc<PrivateDescriptor>>,
    subjects: Vec<Subject>,
    has_thread: bool,
}

struct Subject {
    core: Arc<Core>,
    waiters: u32,
    idle_since: Instant,
    /// The number of the inotify watch.
    watch: Option<i32>,
    /// What makes this process the watcher: a descriptor whose close calls the deputies.
    tripwire: Option<PrivateDescriptor>,
    /// When it is to be looked, if it is;
    due: Option<Instant>,
    /// how often again, after a report;
    again: usize,
    /// and at whom a moment after the look before, besides.
    soon: Option<Pass>,
    /// When all who seemed to be dead were looked at, and not only the first of them who held something.
    round: Instant,
    /// When all were.
    thorough: Instant,
}

fn watching() -> MutexGuard<'static, Watching> {
    static WATCHING: PerProcess<Mutex<Watching>> = PerProcess::new();
    WATCHING.get().lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watching {
    /// Sees that there is an inotify instance and a thread, if they are to be had.
    fn start(&mut self) {
        if self.has_thread {
            return;
        }
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let Ok(inotify) = undisturbed(|| PrivateDescriptor::new(inotify::init(flags)?)) else { return };
        let inotify = Arc::new(inotify);
        let of_thread = Arc::clone(&inotify);
        if thread::spawn_without_signals(c"sem deaths", move || run(&of_thread)) {
            self.has_thread = true;
            self.inotify = Some(inotify);
        }
    }

    fn find(&mut self, core: &Arc<Core>) -> Option<&mut Subject> {
        self.subjects.iter_mut().find(|subject| Arc::ptr_eq(&subject.core, core))
    }

    fn subject(&mut self, core: &Arc<Core>) -> &mut Subject {
        let index = self.subjects.iter().position(|subject| Arc::ptr_eq(&subject.core, core));
        let index = index.unwrap_or_else(|| {
            self.subjects.push(Subject {
                core: Arc::clone(core),
                waiters: 0,
                idle_since: Instant::now(),
                watch: None,
                tripwire: None,
                due: None,
                again: 0,
                soon: None,
                round: Instant::now(),
                thorough: Instant::now(),
            });
            self.subjects.len() - 1
        });
        let subject = &mut self.subjects[index];
        if let Some(inotify) = &self.inotify
            && subject.watch.is_none()
        {
            subject.listen(inotify);
        }
        subject
    }

    fn retire(&mut self, is_over: impl Fn(&Subject) -> bool) {
        let mut over = Vec::new();
        self.subjects.retain_mut(|subject| {
            let is_over = is_over(subject);
            if is_over {
                subject.resign();
                over.extend(subject.watch);
            }
            !is_over
        });
        let Some(inotify) = &self.inotify else { return };
        // two opens of one file in a process have one watch
        for watch in over {
            if !self.subjects.iter().any(|subject| subject.watch == Some(watch)) {
                // it fails only if it is gone already
                let _ = inotify::remove_watch(&**inotify, watch);
            }
        }
    }

    /// Notes what happened.
    fn take_note(&mut self, reports: &Reports) {
        for subject in &mut self.subjects {
            if reports.concern(subject) {
                subject.again = AGAIN.len() + 1;
                subject.due = Some(Instant::now());
            }
        }
    }

    /// Gives up hope: waiters look for themselves.
    fn lose_inotify(&mut self) {
        self.inotify = None;
        for subject in &mut self.subjects {
            subject.watch = None;
            subject.resign();
            (subject.due, subject.again, subject.soon) = (None, 0, None);
        }
    }
}

/// What inotify reports: that somebody has closed a descriptor of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Report {
    watch: i32,
    /// One that could write, as users have (and who looks on, if it may).
    is_users: bool,
}

/// What was read at once. (It is no list: the first piece of memory that the thread gets from the allocator would take longer than all
/// that it does for a death.)
#[derive(Default)]
struct Reports {
    different: [Option<Report>; 16],
    /// There were more, or some were lost, so it may have been any.
    is_any: bool,
}

impl Reports {
    fn add(&mut self, report: Report) {
        match self.different.iter_mut().find(|other| other.is_none_or(|other| other == report)) {
            Some(place) => *place = Some(report),
            None => self.is_any = true,
        }
    }

    fn concern(&self, subject: &Subject) -> bool {
        let is_its =
            |report: &Report| subject.watch == Some(report.watch) && subject.is_watcher() == report.is_users;
        self.is_any || self.different.iter().flatten().any(is_its)
    }
}

/// Reads what happened; `None` if the descriptor does not work, or is no longer ours.
fn read_reports(inotify: &PrivateDescriptor) -> Option<Reports> {
    let mut reports = Reports::default();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    if !inotify.is_ours() {
        return None;
    }
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => reports.is_any = true,
            Ok(event) => reports.add(Report {
                watch: event.wd(),
                is_users: event.events().contains(inotify::ReadFlags::CLOSE_WRITE),
            }),
            Err(Errno::AGAIN | Errno::INTR) => return Some(reports),
            Err(_) => return None,
        }
        // if there are more, the next poll tells
        if reader.is_buffer_empty() {
            return Some(reports);
        }
    }
}

impl Subject {
    fn is_watcher(&self) -> bool {
        self.tripwire.is_some()
    }

    /// Listens for the end of the watcher, or as the watcher.
    fn listen(&mut self, inotify: &PrivateDescriptor) {
        // first, so that no watcher can go unseen between the two
        self.add_watch(inotify, inotify::WatchFlags::CLOSE_NOWRITE);
        if self.watch.is_some() {
            let _: bool = self.candidate(inotify);
        }
    }

    fn add_watch(&mut self, inotify: &PrivateDescriptor, flags: inotify::WatchFlags) {
        self.watch = None;
        let Ok(file) = self.core.locks() else { return };
        // by number: the file's name may be another one's by now
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let flags = flags | inotify::WatchFlags::MASK_ADD;
        self.watch = inotify::add_watch(inotify, path, flags).ok();
    }

    /// Becomes the watcher, if there is none; tells whether it has.
    fn candidate(&mut self, inotify: &PrivateDescriptor) -> bool {
        match self.run_for_it() {
            Ok(true) => self.add_watch(inotify, inotify::WatchFlags::CLOSE_WRITE),
            Ok(false) => return false,
            // perhaps nobody watches: the waiters are to look for themselves, and this is tried again
            Err(_) => self.watch = None,
        }
        if self.watch.is_none() {
            // who does not listen is not to keep others from it
            self.resign();
        }
        self.watch.is_some()
    }

    fn run_for_it(&mut self) -> Result<bool, Trouble> {
        let file = self.core.locks()?;
        if self.is_watcher() || !file.try_lock(WATCHER_BYTE)? {
            return Ok(false);
        }
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let open = || rustix::fs::open(&*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        match undisturbed(|| PrivateDescriptor::new(open()?)) {
            Ok(tripwire) => {
                self.tripwire = Some(tripwire);
                Ok(true)
            }
            Err(error) => {
                file.unlock(WATCHER_BYTE)?;
                Err(error.into())
            }
        }
    }

    /// Lets somebody else be the watcher.
    fn resign(&mut self) {
        if self.tripwire.is_some()
            && let Ok(file) = self.core.locks()
        {
            // before the tripwire calls the deputies
            let _ = file.unlock(WATCHER_BYTE);
        }
        self.tripwire = None;
    }

    /// Looks for the dead, or for the end of the watcher.
    fn look(&mut self, inotify: &PrivateDescriptor) {
        let soon = self.soon.take();
        if soon.is_none() {
            self.again -= 1;
        }
        if self.candidate(inotify) {
            // some may be dying that nobody has watched
            self.again = AGAIN.len();
        }
        if !self.is_watcher() && self.watch.is_some() {
            // who is looks, and of a thousand deputies none needs to
            return;
        }
        let is_thorough =
            self.again == LATE || self.again < AGAIN.len() && self.thorough.elapsed() >= THOROUGH;
        let pass = match soon {
            Some(pass) => pass,
            None if is_thorough => Pass::All,
            None if is_crowd(&self.core) => Pass::NextHolder,
            None => Pass::Suspects,
        };
        let now = Instant::now();
        match pass {
            Pass::All => (self.thorough, self.round) = (now, now),
            Pass::Suspects => self.round = now,
            _ => {}
        }
        let is_found = recover(&self.core, pass).is_ok_and(|found| found > 0);
        if is_found {
            // others may have died with it
            self.again = self.again.min(LATE + 1);
        }
        if pass == Pass::NextHolder {
            // Others may have died, too. But first it is the turn of who was woken, which may need this very processor.
            let is_time = now.duration_since(self.round) >= ROUND;
            self.soon = if is_time { Some(Pass::Suspects) } else { is_found.then_some(Pass::NextHolder) };
        }
    }

    /// How long it is until the next look.
    fn pause(&self) -> Option<Duration> {
        match (self.soon, self.again) {
            (Some(_), _) => Some(SOON),
            (None, 0) => None,
            // there was a report meanwhile
            (None, again) if again > AGAIN.len() => Some(Duration::ZERO),
            (None, again) => Some(AGAIN[again - 1]),
        }
    }
}

/// The thread.
fn run(inotify: &Arc<PrivateDescriptor>) {
    let mut timeout = LINGER;
    loop {
        let mut descriptors = [PollFd::from_borrowed_fd(inotify.as_fd(), PollFlags::IN)];
        let timespec = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let reports = match poll(&mut descriptors, Some(&timespec)) {
            Ok(0) if inotify.is_ours() => Some(Reports::default()),
            Ok(_) | Err(Errno::INTR) => read_reports(inotify),
            Err(_) => None,
        };
        let mut watching = watching();
        match reports {
            Some(reports) => watching.take_note(&reports),
            None => watching.lose_inotify(),
        }
        watching.retire(|subject| subject.waiters == 0 && subject.idle_since.elapsed() >= LINGER);
        if watching.subjects.is_empty() || watching.inotify.is_none() {
            watching.inotify = None;
            watching.has_thread = false;
            return;
        }
        let now = Instant::now();
        for subject in
            watching.subjects.iter_mut().filter(|subject| subject.due.is_some_and(|due| due <= now))
        {
            subject.look(inotify);
            subject.due = subject.pause().map(|pause| Instant::now() + pause);
        }
        let next = watching.subjects.iter().filter_map(|subject| subject.due).min();
        timeout = next.map_or(LINGER, |due| due.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::core_of_nobody;
    use super::*;

    /// A semaphore that this process watches as a deputy, and is told of by this number.
    fn subject(watching: &mut Watching, watch: i32) {
        watching.subject(&Arc::new(core_of_nobody())).watch = Some(watch);
    }

    fn report(watching: &mut Watching, watch: i32) {
        let mut reports = Reports::default();
        reports.add(Report { watch, is_users: false });
        watching.take_note(&reports);
    }

    #[test]
    fn what_is_reported_of_one_takes_no_look_from_another() {
        let mut watching = Watching::default();
        subject(&mut watching, 1);
        subject(&mut watching, 2);
        report(&mut watching, 1);
        let [one, two] = &mut watching.subjects[..] else { panic!("there are two") };
        assert_eq!((one.again, two.again, two.due), (AGAIN.len() + 1, 0, None));
        // it has looked some times
        one.again = 2;
        let due = one.due;
        report(&mut watching, 2);
        let [one, two] = &watching.subjects[..] else { panic!("there are two") };
        assert_eq!((one.again, one.due), (2, due));
        assert!(two.again == AGAIN.len() + 1 && two.due.is_some());
    }

    /// The kernel reports a close before it drops the locks: much later on a busy machine.
    #[test]
    fn a_report_is_followed_by_looks_at_once_and_for_some_time() {
        let mut watching = Watching::default();
        subject(&mut watching, 1);
        report(&mut watching, 1);
        let one = &mut watching.subjects[0];
        let pauses: Vec<Duration> = std::iter::from_fn(|| {
            let pause = one.pause();
            one.again = one.again.saturating_sub(1);
            pause
        })
        .collect();
        assert_eq!(pauses[0], Duration::ZERO);
        assert!(pauses.is_sorted() && pauses[1] <= Duration::from_micros(100), "{pauses:?}");
        let until = |again: usize| pauses[..=AGAIN.len() - again].iter().sum::<Duration>().as_millis();
        assert_eq!((until(LATE), until(1), until(0)), (20, 100, 500), "{pauses:?}");
    }
}
