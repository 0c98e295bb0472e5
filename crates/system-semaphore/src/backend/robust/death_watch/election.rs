//! Which of the waiting processes is the watcher.

use std::sync::Arc;

use crate::backend::robust::algorithm::layout::WATCHER_BYTE;
use crate::backend::robust::algorithm::mapped_file::Core;
use crate::backend::robust::error::Trouble;
use crate::backend::robust::platform::LivenessLocks;
use crate::backend::robust::platform::Notices;
use crate::backend::robust::platform::death_notices::{DeathNotices, Role};

/// Names a semaphore's file among those that the process has subscribed.
pub(super) type Subscription = <Notices as DeathNotices>::Subscription;

pub(super) struct Election {
    pub(super) core: Arc<Core>,
    pub(super) watch: Option<Subscription>,
    /// What makes this process the watcher: a descriptor whose close calls the deputies.
    tripwire: Option<<Notices as DeathNotices>::StandbySignal>,
}

impl Election {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), watch: None, tripwire: None }
    }

    pub(super) fn is_watcher(&self) -> bool {
        self.tripwire.is_some()
    }

    pub(super) fn role(&self) -> Role {
        if self.is_watcher() { Role::Watcher } else { Role::Standby }
    }

    /// Listens for the end of the watcher, or as the watcher.
    pub(super) fn listen(&mut self, notices: &Notices) {
        // first, so that no watcher can go unseen between the two
        self.add_watch(notices, Role::Standby);
        if self.watch.is_some() {
            let _: bool = self.candidate(notices);
        }
    }

    fn add_watch(&mut self, notices: &Notices, role: Role) {
        self.watch = None;
        let Ok(file) = self.core.locks() else { return };
        self.watch = notices.subscribe(&file, role).ok();
    }

    /// Becomes the watcher, if there is none; tells whether it has.
    pub(super) fn candidate(&mut self, notices: &Notices) -> bool {
        match self.run_for_it(notices) {
            Ok(true) => self.add_watch(notices, Role::Watcher),
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

    fn run_for_it(&mut self, notices: &Notices) -> Result<bool, Trouble> {
        let file = self.core.locks()?;
        if self.is_watcher() || !file.try_lock(WATCHER_BYTE)? {
            return Ok(false);
        }
        match notices.open_standby_signal(&file) {
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
    pub(super) fn resign(&mut self) {
        if self.tripwire.is_some()
            && let Ok(file) = self.core.locks()
        {
            // before the tripwire calls the deputies
            let _ = file.unlock(WATCHER_BYTE);
        }
        self.tripwire = None;
    }
}
