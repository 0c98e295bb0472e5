//! The engine, and stand-ins for its neighbours.

#![allow(dead_code)]

#[path = "../../../../crates/system-semaphore/src/backend/robust/error.rs"]
mod error;
#[path = "../../../../crates/system-semaphore/src/backend/robust/failpoint.rs"]
mod failpoint;

/// The files of the library's `backend/robust/algorithm`, as they are.
#[path = "../../../../crates/system-semaphore/src/backend/robust/algorithm"]
mod algorithm {
    #[path = "epoch.rs"]
    pub(crate) mod epoch;
    #[path = "fairness.rs"]
    pub(crate) mod fairness;
    #[path = "fast_path.rs"]
    pub(crate) mod fast_path;
    #[path = "layout.rs"]
    pub(crate) mod layout;
    #[path = "operation.rs"]
    pub(crate) mod operation;
    #[path = "recovery.rs"]
    pub(crate) mod recovery;
    #[path = "reset.rs"]
    pub(crate) mod reset;
    #[path = "slot_lock.rs"]
    pub(crate) mod slot_lock;
    #[path = "state.rs"]
    pub(crate) mod state;
    #[path = "wait.rs"]
    pub(crate) mod wait;
    #[path = "wake.rs"]
    pub(crate) mod wake;
}

mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::algorithm::epoch;
use self::algorithm::layout::{self, Layout, Map, Slot};
use self::algorithm::operation::{Actor, Operation, Outcome};
use self::algorithm::wait::DeathWatch;
pub(crate) use self::clock::Instant;
use self::error::Trouble;
pub(crate) use self::tests::me;
use crate::error::{Cause, ErrorKind};
use crate::sys::descriptor::PrivateDescriptor;

mod clock {
    use std::time::Duration;

    use rustix::time::Timespec;

    pub(crate) fn milliseconds() -> u64 {
        1
    }

    pub(crate) fn after(_: Duration) -> Timespec {
        Timespec::default()
    }

    /// No time passes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Instant;

    impl Instant {
        pub(crate) fn now() -> Self {
            Self
        }

        pub(crate) fn elapsed(self) -> Duration {
            Duration::ZERO
        }

        pub(crate) fn saturating_duration_since(self, _: Self) -> Duration {
            Duration::MAX
        }
    }
}

/// A death watch that never polls: a sleep ends only by a wake.
pub(crate) struct Watch;

impl DeathWatch for Watch {
    fn join(_: &Arc<Core>) -> Option<Self> {
        Some(Self)
    }

    fn start(_: &Arc<Core>) -> Self {
        Self
    }

    fn retry_setup(&self) -> bool {
        false
    }

    fn longest_sleep(&self) -> Duration {
        Duration::MAX
    }

    fn is_watcher(&self) -> bool {
        true
    }
}

mod spinning {
    use std::time::Duration;

    use super::algorithm::layout::Layout;
    use super::algorithm::state::State;
    use super::clock::Instant;

    /// Nobody looks for a moment: that is only more of the looks which there are anyway.
    #[derive(Debug)]
    pub(crate) struct Experience;

    impl Experience {
        #[expect(clippy::unused_self, reason = "the real one uses it")]
        pub(crate) fn look(&self, _: &Layout, _: Instant, _: Duration, _: impl Fn(State) -> bool) -> bool {
            false
        }

        #[expect(clippy::unused_self, reason = "the real one uses it")]
        pub(crate) fn note(&self, _: Duration, _: bool) {}
    }
}

pub(crate) mod mapped_file {
    pub(crate) use super::Core;
}

pub(crate) mod participant {
    pub(crate) use super::{Robust, holds_too_many};
}

/// The file, as a process has it open.
#[derive(Debug)]
pub(crate) struct Core {
    map: Map,
    own: u16,
    file: Arc<PrivateDescriptor>,
    recovering: Mutex<()>,
    experience: spinning::Experience,
}

impl Core {
    fn layout(&self) -> &Layout {
        &self.map
    }

    fn slot(&self, number: u16) -> Result<&Slot, Trouble> {
        layout::slot(&self.map, self.map.rest(), number).ok_or(Trouble::Corrupt)
    }

    fn own_slot(&self) -> Option<u16> {
        Some(self.own)
    }

    fn file(&self) -> Result<Arc<PrivateDescriptor>, Trouble> {
        Ok(Arc::clone(&self.file))
    }

    #[expect(clippy::unused_self, reason = "the real one looks")]
    fn seems_alive(&self, _: u16) -> Result<bool, Trouble> {
        Ok(false)
    }

    #[expect(clippy::unused_self, reason = "the real one remembers")]
    fn last_dead(&self) -> u16 {
        0
    }

    #[expect(clippy::unused_self, reason = "the real one remembers")]
    fn note_dead(&self, _: u16) {}

    fn recovering(&self) -> MutexGuard<'_, ()> {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fair_now(&self) -> bool {
        false
    }

    fn stopped_recoverer(&self) -> Option<(u32, u32)> {
        None
    }

    fn epoch(&self) -> u32 {
        epoch::epoch(&self.map)
    }
}

/// A process's open semaphore.
pub(crate) struct Robust {
    core: Arc<Core>,
    generation: u32,
}

impl Robust {
    fn actor(&self) -> Actor<'_> {
        Actor::new(&self.core, self.core.own).expect("it has a slot")
    }

    fn own(&self) -> &Slot {
        self.actor().slot
    }

    /// Every process has one thread here, whose turn it always is.
    fn operate(&self, operation: &Operation) -> Result<Outcome, Trouble> {
        self.actor().operate(operation)
    }

    fn note_since(&self) {}
}

pub(crate) fn holds_too_many() -> Cause {
    Cause::new(ErrorKind::OutOfResources, "too many")
}
