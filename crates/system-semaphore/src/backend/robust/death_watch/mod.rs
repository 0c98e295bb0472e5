//! Waking waiters when a holder dies: one thread for each process, and only while a thread waits.
//!
//! The platform gives [notice](DeathNotices) of the close of a shared file, which is part of every
//! death. For each semaphore, one waiting process is the *watcher*. It holds the lock on
//! `WATCHER_BYTE`, hears the closes of users, and scans for dead users afterwards. Every other
//! waiting process is a *standby*. If all processes heard the closes of users, each close would
//! wake a thread in each process.
//!
//! A standby hears only the close of the watcher's *standby signal*. The death of a watcher closes
//! its signal, which wakes the standbys, and one of them becomes the watcher. A watcher may
//! therefore die at the same time as a holder. If a watcher is stopped, the limited sleeps of the
//! waiters take its place.
//!
//! If no notices or no thread are available, each waiter polls every [`POLL_INTERVAL`] and retries
//! the setup. Many waiting processes poll in groups.
//!
//! | file | concern |
//! |---|---|
//! | this one | the handle that a waiter holds |
//! | `monitor` | all semaphores that this process watches |
//! | `election` | which process is the watcher of a semaphore |
//! | `events` | the notices that arrived together |
//! | `schedule` | when to scan which slots |
//! | `thread` | the thread that waits for notices |

mod election;
mod events;
mod monitor;
mod schedule;
mod thread;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::monitor::lock_monitor;
use super::algorithm::mapped_file::MappedFile;
use super::algorithm::wait::DeathWatch;
use super::platform::clock;
#[cfg(doc)]
use super::platform::death_notices::DeathNotices;

/// The interval at which a waiter scans for dead users if it gets no notices: 100 ms.
///
/// Permits of a dead holder come back this late then. A shorter interval costs idle processes more
/// CPU time.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The interval at which a waiter scans for dead users although it gets notices: 1 s.
///
/// The scan finds permits whose waiter was not woken because the watcher or a releaser is stopped.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The number of waiting processes, 8, that poll at the same tick. With twice as many and more,
/// they form groups, and one group polls at each tick.
const POLLERS_PER_TICK: u64 = 8;
/// The maximum number of groups: 8. Each waiting process polls at least at every eighth tick, even
/// if more than [`POLLERS_PER_TICK`] share the tick.
const MAX_POLL_GROUPS: u64 = 8;

/// A waiter's handle of the watch of its semaphore.
pub(crate) struct WatchHandle(Arc<MappedFile>);

impl DeathWatch for WatchHandle {
    fn join(mapped: &Arc<MappedFile>) -> Option<Self> {
        let mut monitor = lock_monitor();
        monitor.find(mapped).filter(|semaphore| semaphore.election.is_subscribed())?.waiters += 1;
        Some(Self(Arc::clone(mapped)))
    }

    fn start(mapped: &Arc<MappedFile>) -> Self {
        let mut monitor = lock_monitor();
        thread::start(&mut monitor);
        monitor.get_or_watch(mapped).waiters += 1;
        Self(Arc::clone(mapped))
    }

    fn retry_setup(&self) -> bool {
        let mut monitor = lock_monitor();
        if monitor.get_or_watch(&self.0).election.is_subscribed() {
            return false;
        }
        thread::start(&mut monitor);
        monitor.get_or_watch(&self.0).election.is_subscribed()
    }

    /// Returns the time until this process's group polls next. With 16 or more waiting processes
    /// that is up to eight intervals.
    fn longest_sleep(&self) -> Duration {
        let is_notified = lock_monitor().get_or_watch(&self.0).election.is_subscribed();
        let interval = if is_notified { CHECK_INTERVAL } else { POLL_INTERVAL };
        let (before, all) = self.0.waiting_processes();
        let groups = (all / POLLERS_PER_TICK).clamp(1, MAX_POLL_GROUPS);
        clock::until_next_tick(before % groups, groups, interval)
    }

    fn is_watcher(&self) -> bool {
        lock_monitor().get_or_watch(&self.0).election.is_watcher()
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        let mut monitor = lock_monitor();
        // A child that was forked during the wait watches nothing.
        let Some(semaphore) = monitor.find(&self.0) else { return };
        semaphore.waiters -= 1;
        semaphore.idle_since = Instant::now();
        if !monitor.has_thread {
            monitor.unwatch_if(|semaphore| semaphore.waiters == 0);
        }
    }
}

/// Ends the watch of a semaphore that this process closes.
pub(crate) fn forget(mapped: &Arc<MappedFile>) {
    lock_monitor().unwatch_if(|semaphore| semaphore.is_of(mapped));
}
