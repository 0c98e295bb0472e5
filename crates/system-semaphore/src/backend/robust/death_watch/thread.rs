//! The thread that waits for notices and makes the scans.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::events::Events;
use super::monitor::{Monitor, lock_monitor};
use crate::backend::robust::platform::Notices;
use crate::backend::robust::platform::death_notices::{DeathNotices, Disconnected};
use crate::sys::thread;

/// How long a semaphore is watched after its last waiter has left: 3 s.
///
/// The next waiter often comes soon, and then needs no setup. The thread ends when it watches no
/// semaphore, so a longer time keeps an idle thread longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Starts the thread if there is none and the system allows one. Otherwise the monitor stays
/// without notices.
pub(super) fn start(monitor: &mut Monitor) {
    if monitor.has_thread {
        return;
    }
    let Ok(notices) = Notices::new().map(Arc::new) else { return };
    let of_thread = Arc::clone(&notices);
    if thread::spawn_without_signals(c"sem deaths", move || run(&of_thread)) {
        monitor.has_thread = true;
        monitor.notices = Some(notices);
    }
}

/// Waits for notices and makes the scans until the process watches no semaphore.
///
/// The thread allocates no memory until it has woken waiters, because the first allocation of a
/// thread takes 40 us.
fn run(notices: &Notices) {
    let mut timeout = IDLE_TIMEOUT;
    loop {
        let mut events = Events::new();
        let outcome = notices.wait(timeout, |notice| events.add(notice));
        let mut monitor = lock_monitor();
        match outcome {
            Ok(()) => monitor.handle_events(&events),
            Err(Disconnected) => monitor.disable(),
        }
        monitor
            .unwatch_if(|semaphore| semaphore.waiters == 0 && semaphore.idle_since.elapsed() >= IDLE_TIMEOUT);
        if monitor.semaphores.is_empty() || monitor.notices.is_none() {
            monitor.notices = None;
            monitor.has_thread = false;
            return;
        }
        let now = Instant::now();
        for semaphore in monitor.semaphores.iter_mut().filter(|semaphore| semaphore.schedule.is_due(now)) {
            semaphore.scan(notices);
        }
        let next = monitor.semaphores.iter().filter_map(|semaphore| semaphore.schedule.next_scan_at()).min();
        timeout = next.map_or(IDLE_TIMEOUT, |next| next.saturating_duration_since(Instant::now()));
    }
}
