//! The engine, and stand-ins for its neighbours.

#![allow(dead_code)]

#[path = "../../../../crates/system-semaphore/src/backend/robust/breakpoint.rs"]
mod breakpoint;
#[path = "../../../../crates/system-semaphore/src/backend/robust/layout.rs"]
mod layout;
#[path = "../../../../crates/system-semaphore/src/backend/robust/operation.rs"]
mod operation;
#[path = "../../../../crates/system-semaphore/src/backend/robust/quick.rs"]
mod quick;
#[path = "../../../../crates/system-semaphore/src/backend/robust/recovery.rs"]
mod recovery;
#[path = "../../../../crates/system-semaphore/src/backend/robust/reset.rs"]
mod reset;
#[path = "../../../../crates/system-semaphore/src/backend/robust/trouble.rs"]
mod trouble;
#[path = "../../../../crates/system-semaphore/src/backend/robust/turn.rs"]
mod turn;
#[path = "../../../../crates/system-semaphore/src/backend/robust/waiting.rs"]
mod waiting;

mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::clock::Instant;
use self::layout::{Layout, Map, Slot};
use self::operation::{Actor, Operation, Outcome};
pub(crate) use self::tests::me;
use self::trouble::Trouble;
use crate::error::{ErrorKind, Fault};
use crate::sys::descriptor::PrivateDescriptor;

mod place {
    pub(super) const MAX_NAME: usize = 1;
}

mod clock {
    use std::time::Duration;

    use rustix::time::Timespec;

    pub(super) fn milliseconds() -> u64 {
        1
    }

    pub(super) fn after(_: Duration) -> Timespec {
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

mod death_watch {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Core;

    pub(super) struct Watch;

    pub(super) fn join(_: &Arc<Core>) -> Option<Watch> {
        Some(Watch)
    }

    pub(super) fn watch(_: &Arc<Core>) -> Watch {
        Watch
    }

    impl Watch {
        #[expect(clippy::unused_self, reason = "the real one uses it")]
        pub(super) fn longest_sleep(&self) -> Duration {
            Duration::MAX
        }

        #[expect(clippy::unused_self, reason = "the real one tries")]
        pub(super) fn begins(&self) -> bool {
            false
        }

        #[expect(clippy::unused_self, reason = "the real one looks")]
        pub(super) fn is_watcher(&self) -> bool {
            true
        }
    }
}

mod spinning {
    use std::time::Duration;

    use super::clock::Instant;
    use super::layout::{Layout, State};

    /// Nobody looks for a moment: that is only more of the looks which there are anyway.
    #[derive(Debug)]
    pub(super) struct Experience;

    impl Experience {
        #[expect(clippy::unused_self, reason = "the real one uses it")]
        pub(super) fn look(&self, _: &Layout, _: Instant, _: Duration, _: impl Fn(State) -> bool) -> bool {
            false
        }

        #[expect(clippy::unused_self, reason = "the real one uses it")]
        pub(super) fn note(&self, _: Duration, _: bool) {}
    }
}

/// The file, as a process has it open.
#[derive(Debug)]
struct Core {
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
        reset::epoch(&self.map)
    }
}

/// A process's open semaphore.
struct Robust {
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

fn holds_too_many() -> Fault {
    Fault::new(ErrorKind::OutOfResources, "too many")
}
