//! The thread that looks for deaths.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::events::Events;
use super::monitor::{Watching, watching};
use crate::backend::robust::platform::Notices;
use crate::backend::robust::platform::death_notices::{DeathNotices, Disconnected};
use crate::sys::thread;

/// How long a semaphore that nobody waits for is still watched: the next waiter may come soon.
const LINGER: Duration = Duration::from_secs(3);

/// Sees that there is an inotify instance and a thread, if they are to be had.
pub(super) fn start(watching: &mut Watching) {
    if watching.has_thread {
        return;
    }
    let Ok(notices) = Notices::new().map(Arc::new) else { return };
    let of_thread = Arc::clone(&notices);
    if thread::spawn_without_signals(c"sem deaths", move || run(&of_thread)) {
        watching.has_thread = true;
        watching.notices = Some(notices);
    }
}

/// The thread.
fn run(notices: &Notices) {
    let mut timeout = LINGER;
    loop {
        let mut events = Events::new();
        let outcome = notices.wait(timeout, |notice| events.add(notice));
        let mut watching = watching();
        match outcome {
            Ok(()) => watching.take_note(&events),
            Err(Disconnected) => watching.lose_notices(),
        }
        watching.retire(|subject| subject.waiters == 0 && subject.idle_since.elapsed() >= LINGER);
        if watching.subjects.is_empty() || watching.notices.is_none() {
            watching.notices = None;
            watching.has_thread = false;
            return;
        }
        let now = Instant::now();
        for subject in watching.subjects.iter_mut().filter(|subject| subject.schedule.is_due(now)) {
            subject.look(notices);
        }
        let next = watching.subjects.iter().filter_map(|subject| subject.schedule.next_scan_at()).min();
        timeout = next.map_or(LINGER, |due| due.saturating_duration_since(Instant::now()));
    }
}
