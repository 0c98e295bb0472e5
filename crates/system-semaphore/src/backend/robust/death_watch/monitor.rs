//! What this process watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::election::{Election, Subscription};
use super::events::Events;
use super::schedule::Schedule;
use crate::backend::robust::algorithm::mapped_file::Core;
use crate::backend::robust::algorithm::recovery::{is_crowd, recover};
use crate::backend::robust::platform::Notices;
use crate::backend::robust::platform::death_notices::DeathNotices;
use crate::sys::fork::PerProcess;

/// What this process watches.
#[derive(Default)]
pub(super) struct Watching {
    pub(super) notices: Option<Arc<Notices>>,
    pub(super) subjects: Vec<Subject>,
    pub(super) has_thread: bool,
}

pub(super) struct Subject {
    pub(super) waiters: u32,
    pub(super) idle_since: Instant,
    pub(super) election: Election,
    pub(super) schedule: Schedule,
}

pub(super) fn watching() -> MutexGuard<'static, Watching> {
    static WATCHING: PerProcess<Mutex<Watching>> = PerProcess::new();
    WATCHING.get().lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watching {
    pub(super) fn find(&mut self, core: &Arc<Core>) -> Option<&mut Subject> {
        self.subjects.iter_mut().find(|subject| Arc::ptr_eq(&subject.election.core, core))
    }

    pub(super) fn subject(&mut self, core: &Arc<Core>) -> &mut Subject {
        let index = self.subjects.iter().position(|subject| Arc::ptr_eq(&subject.election.core, core));
        let index = index.unwrap_or_else(|| {
            self.subjects.push(Subject {
                waiters: 0,
                idle_since: Instant::now(),
                election: Election::new(core),
                schedule: Schedule::new(Instant::now()),
            });
            self.subjects.len() - 1
        });
        let subject = &mut self.subjects[index];
        if let Some(notices) = &self.notices
            && subject.election.watch.is_none()
        {
            subject.election.listen(notices);
        }
        subject
    }

    pub(super) fn retire(&mut self, is_over: impl Fn(&Subject) -> bool) {
        let mut over = Vec::new();
        self.subjects.retain_mut(|subject| {
            let is_over = is_over(subject);
            if is_over {
                subject.election.resign();
                over.extend(subject.election.watch);
            }
            !is_over
        });
        let Some(notices) = &self.notices else { return };
        // two opens of one file in a process have one watch
        for watch in over {
            if !self.subjects.iter().any(|subject| subject.election.watch == Some(watch)) {
                notices.unsubscribe(watch);
            }
        }
    }

    /// Notes what happened.
    pub(super) fn take_note(&mut self, events: &Events<Subscription>) {
        for subject in &mut self.subjects {
            if events.concern(subject.election.watch, subject.election.role()) {
                subject.schedule.event_reported(Instant::now());
            }
        }
    }

    /// Gives up hope: waiters look for themselves.
    pub(super) fn lose_notices(&mut self) {
        self.notices = None;
        for subject in &mut self.subjects {
            subject.election.watch = None;
            subject.election.resign();
            subject.schedule.cancel();
        }
    }
}

impl Subject {
    /// Looks for the dead, or for the end of the watcher.
    pub(super) fn look(&mut self, notices: &Notices) {
        let became_watcher = self.election.candidate(notices);
        let now = Instant::now();
        if !self.election.is_watcher() && self.election.watch.is_some() {
            // who is looks, and of a thousand deputies none needs to
            self.schedule.skip_scan(now);
            return;
        }
        let scan = self.schedule.start_scan(now, became_watcher, is_crowd(&self.election.core));
        let found = recover(&self.election.core, scan.scope).unwrap_or(0);
        self.schedule.scan_ended(scan, Instant::now(), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::robust::platform::death_notices::{Notice, Role};
    use crate::backend::robust::tests::core_of_nobody;

    /// A semaphore that this process watches as a deputy, and is told of by this number.
    fn subject(watching: &mut Watching, watch: i32) {
        watching.subject(&Arc::new(core_of_nobody())).election.watch = Some(watch);
    }

    fn report(watching: &mut Watching, watch: i32) {
        let mut events = Events::new();
        events.add(Notice::Closed { subscription: watch, role: Role::Standby });
        watching.take_note(&events);
    }

    #[test]
    fn what_is_reported_of_one_takes_no_look_from_another() {
        let mut watching = Watching::default();
        subject(&mut watching, 1);
        subject(&mut watching, 2);
        report(&mut watching, 1);
        let schedules = |watching: &Watching| match &watching.subjects[..] {
            [one, two] => [one.schedule.clone(), two.schedule.clone()],
            _ => panic!("there are two"),
        };
        let [one, two] = schedules(&watching);
        assert!(one.next_scan_at().is_some() && two.next_scan_at().is_none());
        report(&mut watching, 2);
        let [same, two] = schedules(&watching);
        assert!(same == one && two.next_scan_at().is_some());
    }
}
