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

mod election;
mod events;
mod monitor;
mod schedule;
mod thread;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::monitor::watching;
use super::algorithm::mapped_file::Core;
use super::algorithm::wait::DeathWatch;
use super::platform::clock;

/// How often waiters look for deaths where nobody tells them.
const PROBE: Duration = Duration::from_millis(100);
/// How many of a crowd look at the same moment,
const LOOKERS: u64 = 8;
/// and how many others have their turns at most until it is that of the same ones again.
const MOST_TURNS: u64 = 8;

/// Somebody's wish to have a semaphore watched, until it is dropped.
pub(crate) struct Watch(Arc<Core>);

impl DeathWatch for Watch {
    fn join(core: &Arc<Core>) -> Option<Self> {
        let mut watching = watching();
        watching.find(core).filter(|subject| subject.election.watch.is_some())?.waiters += 1;
        Some(Self(Arc::clone(core)))
    }

    fn start(core: &Arc<Core>) -> Self {
        let mut watching = watching();
        thread::start(&mut watching);
        watching.subject(core).waiters += 1;
        Self(Arc::clone(core))
    }

    fn retry_setup(&self) -> bool {
        let mut watching = watching();
        if watching.subject(&self.0).election.watch.is_some() {
            return false;
        }
        thread::start(&mut watching);
        watching.subject(&self.0).election.watch.is_some()
    }

    /// Who is told of deaths looks for itself once a second, in case that somebody is stopped who
    /// should have told it; who is not, more often. Of a crowd, some do each time, by turns.
    fn longest_sleep(&self) -> Duration {
        let is_told = watching().subject(&self.0).election.watch.is_some();
        let (before, all) = self.0.waiting_processes();
        let turns = (all / LOOKERS).clamp(1, MOST_TURNS);
        clock::to_turn(before % turns, turns, if is_told { Duration::from_secs(1) } else { PROBE })
    }

    fn is_watcher(&self) -> bool {
        watching().subject(&self.0).election.is_watcher()
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
    watching.retire(|subject| Arc::ptr_eq(&subject.election.core, core));
}
