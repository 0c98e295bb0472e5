//! The thread that looks for deaths.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use super::events::{Reports, read_reports};
use super::monitor::{Watching, watching};
use crate::sys::descriptor::{PrivateDescriptor, undisturbed};
use crate::sys::thread;

/// How long a semaphore that nobody waits for is still watched: the next waiter may come soon.
const LINGER: Duration = Duration::from_secs(3);

/// Sees that there is an inotify instance and a thread, if they are to be had.
pub(super) fn start(watching: &mut Watching) {
    if watching.has_thread {
        return;
    }
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let Ok(inotify) = undisturbed(|| PrivateDescriptor::new(inotify::init(flags)?)) else { return };
    let inotify = Arc::new(inotify);
    let of_thread = Arc::clone(&inotify);
    if thread::spawn_without_signals(c"sem deaths", move || run(&of_thread)) {
        watching.has_thread = true;
        watching.inotify = Some(inotify);
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
        for subject in watching.subjects.iter_mut().filter(|subject| subject.schedule.is_due(now)) {
            subject.look(inotify);
        }
        let next = watching.subjects.iter().filter_map(|subject| subject.schedule.next_scan_at()).min();
        timeout = next.map_or(LINGER, |due| due.saturating_duration_since(Instant::now()));
    }
}
