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

use std::io::Stdin;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::clock::Instant;
use self::layout::{Layout, Slot};
use self::operation::{Actor, Operation, Outcome};
pub(crate) use self::tests::me;
use self::trouble::Trouble;
use crate::error::{ErrorKind, Fault};
use crate::sys::memory::Mapping;

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

    pub(super) fn watch(_: &Arc<Core>) -> Watch {
        Watch
    }

    impl Watch {
        #[expect(clippy::unused_self, reason = "the real one uses it")]
        pub(super) fn longest_sleep(&self) -> Duration {
            Duration::MAX
        }
    }
}

/// The file, as a process has it open.
#[derive(Debug)]
struct Core {
    map: Mapping<Layout>,
    own: u16,
    file: Arc<Stdin>,
    recovering: Mutex<()>,
    spins: AtomicU32,
}

impl Core {
    fn layout(&self) -> &Layout {
        &self.map
    }

    fn slot(&self, number: u16) -> Result<&Slot, Trouble> {
        self.map.slots.get(usize::from(number)).ok_or(Trouble::Corrupt)
    }

    fn own_slot(&self) -> Option<u16> {
        Some(self.own)
    }

    /// Something that has a descriptor, which the locks' stand-in does not look at.
    fn file(&self) -> Result<Arc<Stdin>, Trouble> {
        Ok(Arc::clone(&self.file))
    }

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
