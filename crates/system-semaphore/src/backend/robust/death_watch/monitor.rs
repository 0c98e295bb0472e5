//! All semaphores that this process watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::election::{Election, Subscription};
use super::events::Events;
use super::schedule::Schedule;
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::algorithm::recovery::{has_many_users, recover};
use crate::backend::robust::platform::Notices;
use crate::backend::robust::platform::death_notices::DeathNotices;
use crate::sys::fork::PerProcess;

/// The death watch of this process.
#[derive(Default)]
pub(super) struct Monitor {
    /// The instance from which the thread gets notices. `None` if there is no thread.
    pub(super) notices: Option<Arc<Notices>>,
    pub(super) semaphores: Vec<WatchedSemaphore>,
    pub(super) has_thread: bool,
}

/// A semaphore that this process watches.
pub(super) struct WatchedSemaphore {
    /// The number of handles that waiters hold.
    pub(super) waiters: u32,
    /// When the last handle was dropped.
    pub(super) idle_since: Instant,
    pub(super) election: Election,
    pub(super) schedule: Schedule,
}

/// Locks this process's monitor. A forked child starts with an empty one.
pub(super) fn lock_monitor() -> MutexGuard<'static, Monitor> {
    static MONITOR: PerProcess<Mutex<Monitor>> = PerProcess::new();
    MONITOR.get().lock().unwrap_or_else(PoisonError::into_inner)
}

impl Monitor {
    /// Returns a semaphore if this process watches it already.
    pub(super) fn find(&mut self, mapped: &Arc<MappedFile>) -> Option<&mut WatchedSemaphore> {
        self.semaphores.iter_mut().find(|semaphore| semaphore.is_of(mapped))
    }

    /// Returns a semaphore, and subscribes it if it has no subscription.
    pub(super) fn get_or_watch(&mut self, mapped: &Arc<MappedFile>) -> &mut WatchedSemaphore {
        let index = self.semaphores.iter().position(|semaphore| semaphore.is_of(mapped));
        let index = index.unwrap_or_else(|| {
            self.semaphores.push(WatchedSemaphore::new(mapped));
            self.semaphores.len() - 1
        });
        let semaphore = &mut self.semaphores[index];
        if let Some(notices) = &self.notices
            && !semaphore.election.is_subscribed()
        {
            semaphore.election.enter(notices);
        }
        semaphore
    }

    /// Ends the watch of all semaphores for which `is_over` returns `true`.
    pub(super) fn unwatch_if(&mut self, is_over: impl Fn(&WatchedSemaphore) -> bool) {
        let mut ended = Vec::new();
        self.semaphores.retain_mut(|semaphore| {
            let is_over = is_over(semaphore);
            if is_over {
                semaphore.election.step_down();
                ended.extend(semaphore.election.subscription);
            }
            !is_over
        });
        let Some(notices) = &self.notices else { return };
        // If a process has opened a semaphore twice, both opens have the same subscription.
        for subscription in ended {
            let is_in_use = |other: &WatchedSemaphore| other.election.subscription == Some(subscription);
            if !self.semaphores.iter().any(is_in_use) {
                notices.unsubscribe(subscription);
            }
        }
    }

    /// Schedules scans of the semaphores that these notices may concern.
    pub(super) fn handle_events(&mut self, events: &Events<Subscription>) {
        for semaphore in &mut self.semaphores {
            if events.concern(semaphore.election.subscription, semaphore.election.role()) {
                semaphore.schedule.event_reported(Instant::now());
            }
        }
    }

    /// Gives the instance up, because it is lost. The waiters poll from now on.
    pub(super) fn disable(&mut self) {
        self.notices = None;
        for semaphore in &mut self.semaphores {
            semaphore.election.leave();
            semaphore.schedule.cancel();
        }
    }
}

impl WatchedSemaphore {
    fn new(mapped: &Arc<MappedFile>) -> Self {
        let now = Instant::now();
        Self { waiters: 0, idle_since: now, election: Election::new(mapped), schedule: Schedule::new(now) }
    }

    /// Returns whether this is the watch of that open semaphore.
    pub(super) fn is_of(&self, mapped: &Arc<MappedFile>) -> bool {
        Arc::ptr_eq(&self.election.mapped, mapped)
    }

    /// Makes the scan that is due. A standby only becomes the watcher if there is none, and leaves
    /// the scan to the watcher: of a thousand standbys none needs to scan.
    pub(super) fn scan(&mut self, notices: &Notices) {
        let became_watcher = self.election.try_become_watcher(notices);
        let now = Instant::now();
        if self.election.is_subscribed() && !self.election.is_watcher() {
            self.schedule.skip_scan(now);
            return;
        }
        let scan = self.schedule.start_scan(now, became_watcher, has_many_users(&self.election.mapped));
        let found = recover(&self.election.mapped, scan.scope).unwrap_or(0);
        self.schedule.scan_ended(scan, Instant::now(), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::robust::platform::death_notices::{Notice, Role};
    use crate::backend::robust::tests::unnamed_mapped_file;

    /// Watches a semaphore as a standby with this subscription.
    fn watch(monitor: &mut Monitor, subscription: Subscription) {
        monitor.get_or_watch(&Arc::new(unnamed_mapped_file())).election.subscription = Some(subscription);
    }

    /// Reports the close of a standby signal.
    fn report(monitor: &mut Monitor, subscription: Subscription) {
        let mut events = Events::new();
        events.add(Notice::Closed { subscription, role: Role::Standby });
        monitor.handle_events(&events);
    }

    #[test]
    fn event_on_one_semaphore_leaves_the_schedule_of_another() {
        let mut monitor = Monitor::default();
        watch(&mut monitor, 1);
        watch(&mut monitor, 2);
        report(&mut monitor, 1);
        let schedules = |monitor: &Monitor| match &monitor.semaphores[..] {
            [one, two] => [one.schedule.clone(), two.schedule.clone()],
            _ => panic!("there are two"),
        };
        let [one, two] = schedules(&monitor);
        assert!(one.next_scan_at().is_some() && two.next_scan_at().is_none());
        report(&mut monitor, 2);
        let [same, two] = schedules(&monitor);
        assert!(same == one && two.next_scan_at().is_some());
    }

    #[test]
    fn lost_instance_ends_all_subscriptions_and_scans() {
        let mut monitor = Monitor::default();
        watch(&mut monitor, 1);
        report(&mut monitor, 1);
        monitor.disable();
        let semaphore = &monitor.semaphores[0];
        assert!(!semaphore.election.is_subscribed() && semaphore.schedule.next_scan_at().is_none());
    }
}
