//! The notices that arrived together, each one once.

use crate::backend::robust::platform::death_notices::{Notice, Role};

/// How many different notices are told apart. If more arrive together, all semaphores are scanned.
const DISTINCT: usize = 16;

/// The notices of one wait.
///
/// This is no list, because the first allocation of the thread would take longer, 40 us, than all
/// else that it does for a death.
#[derive(Debug)]
pub(super) struct Events<Subscription> {
    distinct: [Option<Notice<Subscription>>; DISTINCT],
    /// Whether any semaphore may be concerned, because notices were lost or did not fit.
    concern_all: bool,
}

impl<Subscription: Copy + Eq> Events<Subscription> {
    /// Creates an empty set.
    pub(super) fn new() -> Self {
        Self { distinct: [None; DISTINCT], concern_all: false }
    }

    /// Adds a notice.
    pub(super) fn add(&mut self, notice: Notice<Subscription>) {
        if notice == Notice::Lost {
            self.concern_all = true;
            return;
        }
        match self.distinct.iter_mut().find(|entry| entry.is_none_or(|other| other == notice)) {
            Some(entry) => *entry = Some(notice),
            None => self.concern_all = true,
        }
    }

    /// Returns whether they may concern a semaphore with this subscription in this role, if it has
    /// one.
    pub(super) fn concern(&self, subscription: Option<Subscription>, role: Role) -> bool {
        let is_among_them =
            |subscription| self.distinct.contains(&Some(Notice::Closed { subscription, role }));
        self.concern_all || subscription.is_some_and(is_among_them)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::{Standby, Watcher};

    /// The users' closes on these subscriptions.
    fn events(subscriptions: impl IntoIterator<Item = i32>) -> Events<i32> {
        let mut events = Events::new();
        for subscription in subscriptions {
            events.add(Notice::Closed { subscription, role: Watcher });
        }
        events
    }

    #[test]
    fn no_notice_concerns_no_semaphore() {
        let events = events([]);
        assert!(!events.concern(Some(1), Watcher) && !events.concern(None, Standby));
    }

    #[test]
    fn notice_concerns_one_subscription_in_one_role() {
        let events = events([1]);
        assert!(events.concern(Some(1), Watcher));
        assert!(!events.concern(Some(1), Standby) && !events.concern(Some(2), Watcher));
        assert!(!events.concern(None, Watcher));
    }

    #[test]
    fn lost_notices_concern_all_semaphores() {
        let mut events = events([]);
        events.add(Notice::Lost);
        assert!(events.concern(Some(1), Standby) && events.concern(None, Watcher));
    }

    #[test]
    fn equal_notices_take_one_entry() {
        assert!(!events([1; 1000]).concern(Some(2), Watcher));
    }

    #[test]
    fn notices_that_do_not_fit_concern_all_semaphores() {
        let most = DISTINCT as i32;
        assert!(!events(1..=most).concern(Some(0), Watcher));
        assert!(events(1..=most).concern(Some(most), Watcher));
        assert!(events(0..=most).concern(Some(-1), Standby));
    }
}
