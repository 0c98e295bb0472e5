//! Which of the waiting processes is the watcher of a semaphore.
//!
//! The watcher has the lock on [`WATCHER_BYTE`] and an open standby signal. The system releases the
//! lock and closes the signal when the watcher dies. The close of the signal wakes the standbys,
//! and the first that gets the lock is the next watcher.

use std::sync::Arc;

use crate::backend::robust::algorithm::layout::WATCHER_BYTE;
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::error::EngineError;
use crate::backend::robust::platform::LivenessLocks;
use crate::backend::robust::platform::Notices;
use crate::backend::robust::platform::death_notices::{DeathNotices, Role};

/// Names a semaphore's file among those to which the process has subscribed.
pub(super) type Subscription = <Notices as DeathNotices>::Subscription;

/// This process's part in the election for one semaphore.
pub(super) struct Election {
    pub(super) mapped: Arc<MappedFile>,
    /// The subscription to the closes of the semaphore's file. `None` if there is none yet or it
    /// failed.
    pub(super) subscription: Option<Subscription>,
    /// The object whose close wakes the standbys. The process that has one is the watcher.
    standby_signal: Option<<Notices as DeathNotices>::StandbySignal>,
}

impl Election {
    /// Creates the part of a process that has not subscribed.
    pub(super) fn new(mapped: &Arc<MappedFile>) -> Self {
        Self { mapped: Arc::clone(mapped), subscription: None, standby_signal: None }
    }

    /// Returns whether this process is the watcher.
    pub(super) fn is_watcher(&self) -> bool {
        self.standby_signal.is_some()
    }

    /// Returns whether this process gets notices, as watcher or as standby.
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscription.is_some()
    }

    /// Returns the role whose notices concern this process.
    pub(super) fn role(&self) -> Role {
        if self.is_watcher() { Role::Watcher } else { Role::Standby }
    }

    /// Subscribes as a standby, and then becomes the watcher if there is none.
    pub(super) fn enter(&mut self, notices: &Notices) {
        // The order matters: a watcher that dies between the two steps wakes this standby.
        self.subscribe(notices, Role::Standby);
        if self.is_subscribed() {
            let _: bool = self.try_become_watcher(notices);
        }
    }

    /// Becomes the watcher if there is none. Returns whether this process has become the watcher
    /// now.
    pub(super) fn try_become_watcher(&mut self, notices: &Notices) -> bool {
        match self.try_lock_watcher(notices) {
            Ok(true) => self.subscribe(notices, Role::Watcher),
            Ok(false) => return false,
            // There may be no watcher. The waiters must poll, and each of them retries the setup.
            Err(_) => self.subscription = None,
        }
        if !self.is_subscribed() {
            // A watcher without notices would keep other processes from the role.
            self.step_down();
        }
        self.is_subscribed()
    }

    /// Stops being the watcher, so that another process can become it.
    pub(super) fn step_down(&mut self) {
        if self.is_watcher()
            && let Ok(file) = self.mapped.ensure_locks()
        {
            // The order matters: the signal wakes the standbys, which then find the lock free.
            let _ = file.unlock(WATCHER_BYTE);
        }
        self.standby_signal = None;
    }

    /// Ends the election, because the instance of the subscription is lost.
    pub(super) fn leave(&mut self) {
        self.subscription = None;
        self.step_down();
    }

    fn subscribe(&mut self, notices: &Notices, role: Role) {
        self.subscription = None;
        let Ok(file) = self.mapped.ensure_locks() else { return };
        self.subscription = notices.subscribe(&file, role).ok();
    }

    /// Takes the watcher's lock and opens the standby signal. Returns `false` if a process, perhaps
    /// this one, is the watcher already.
    fn try_lock_watcher(&mut self, notices: &Notices) -> Result<bool, EngineError> {
        let file = self.mapped.ensure_locks()?;
        if self.is_watcher() || !file.try_lock(WATCHER_BYTE)? {
            return Ok(false);
        }
        match notices.open_standby_signal(&file) {
            Ok(signal) => {
                self.standby_signal = Some(signal);
                Ok(true)
            }
            Err(error) => {
                file.unlock(WATCHER_BYTE)?;
                Err(error.into())
            }
        }
    }
}
