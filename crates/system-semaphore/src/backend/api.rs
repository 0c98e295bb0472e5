//! The traits that every backend implements, and the types of their arguments and results.
//!
//! A [`Namespace`] finds semaphores of one type by their names. A [`Backend`] is an open semaphore.
//! An [`Observe`] reads a semaphore without using it.

use std::any::Any;
use std::fmt;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::error::{Cause, ErrorKind};
use crate::types::{AccessMode, Capabilities, Epoch, Holder, Listed, Owners, Snapshot};

/// What an opener asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) mode: AccessMode,
    pub(crate) initial_value: u32,
    pub(crate) permissions: Option<u32>,
    pub(crate) max_permits: Option<u32>,
    pub(crate) persistent: bool,
}

impl Request {
    /// Opens, knowing that the initial value may be too large for the type. That is an error only where it would be
    /// used: Open of what is there ignores it.
    pub(super) fn open_with_value_up_to(
        &self,
        max: u32,
        open: impl FnOnce(&Self) -> Result<Opened, Cause>,
    ) -> Result<Opened, Cause> {
        if self.initial_value <= max {
            return open(self);
        }
        let reason =
            || format!("the initial value {} is more than the {max} that it can count", self.initial_value);
        let too_large = || Cause::new(ErrorKind::OutOfResources, reason());
        if matches!(self.mode, AccessMode::Create | AccessMode::CreateNew) {
            return Err(too_large());
        }
        let existing = Self { mode: AccessMode::OpenExisting, initial_value: 0, ..self.clone() };
        open(&existing).map_err(|cause| match self.mode {
            AccessMode::Open if cause.kind == ErrorKind::NotFound => too_large(),
            _ => cause,
        })
    }
}

/// What an open found or made.
pub(crate) struct Opened {
    pub(crate) backend: Box<dyn Backend>,
    /// What to do when the last handle of this process goes: who made something removes it.
    pub(crate) removal: Option<Removal>,
    /// Whether the count of a semaphore that was there is still to be [reset](Backend::reset).
    pub(crate) needs_reset: bool,
}

/// Takes away what this process made. It runs while the backend is still open; what fails in it is nobody's to
/// hear.
pub(crate) struct Removal {
    pub(crate) subject: Subject,
    pub(crate) run: Box<dyn FnOnce() + Send>,
}

/// What a removal takes away. A process needs no more than one of each; they run in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The semaphore, and what was made with it.
    Semaphore,
    /// The file that its key is made of.
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    KeyFile,
}

impl Removal {
    #[cfg(unix)]
    pub(super) fn of(subject: Subject, run: impl FnOnce() + Send + 'static) -> Self {
        Self { subject, run: Box::new(run) }
    }
}

/// Which semaphore of its type a backend has open: within a process, two opens of the same one are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(pub(crate) u128);

/// One open semaphore. Every method may be called from any thread.
///
/// Numbers of permits are at least 1 and at most [`Capabilities::max_permits`]; several at once are asked for
/// only where [`Capabilities::several_at_once`] says so, and deadlines where [`Capabilities::timeout`] does.
pub(crate) trait Backend: Any + fmt::Debug + Send + Sync {
    fn identity(&self) -> Identity;

    fn capabilities(&self) -> Capabilities;

    /// Takes `count` permits, all or none, so that they come back if this process dies (where the type can).
    fn acquire(&self, count: u32, wait: &mut Wait<'_>) -> Result<Epoch, Cause>;

    /// Gives back what [`acquire`](Self::acquire) took. The permits stop being this process's in any case: if
    /// the count has no room for all, it is filled up and the rest is reported lost.
    fn give_back(&self, count: u32, epoch: Epoch) -> Result<(), Cause>;

    /// In one step, gives back `held` permits of this epoch and creates `created`; all or nothing.
    fn release(&self, held: u32, epoch: Epoch, created: u32) -> Result<(), Cause>;

    /// Stops owning what [`acquire`](Self::acquire) took, without giving it back.
    fn forget(&self, count: u32, epoch: Epoch) -> Result<(), Cause>;

    /// Takes note that what the process holds, it holds for longer.
    fn holds_from_now(&self) {}

    /// How many permits are free.
    fn available(&self) -> Result<u32, Cause>;

    /// The epoch of what is acquired now.
    fn epoch(&self) -> Epoch {
        0
    }

    /// Sets the count, and begins a new epoch. Asked for only after an open that said so.
    fn reset(&self, _count: u32) -> Result<(), Cause> {
        Err(Cause::unsupported("this type of semaphore cannot be reset"))
    }

    fn waiting(&self) -> Result<u32, Cause> {
        Err(Cause::unsupported("this type of semaphore does not tell how many wait"))
    }

    fn last_pid(&self) -> Result<Option<u32>, Cause> {
        Err(Cause::unsupported("this type of semaphore does not tell who used it last"))
    }

    fn holders(&self) -> Result<Vec<Holder>, Cause> {
        Err(Cause::unsupported("this type of semaphore does not tell who holds it"))
    }

    fn recoveries(&self) -> Result<u64, Cause> {
        Err(Cause::unsupported("this type of semaphore does not count dead holders"))
    }

    fn initial_value(&self) -> Result<u32, Cause> {
        Err(Cause::unsupported("this type of semaphore does not remember its initial value"))
    }

    fn is_persistent(&self) -> Result<bool, Cause> {
        Err(Cause::unsupported("this type of semaphore ends when its maker says so"))
    }

    /// What a forked child has to open to use what it inherited; `None`: it can use that as it is.
    fn open_in_child(&self) -> Option<Result<Opened, Cause>> {
        None
    }

    /// Takes permits that live as long as anybody has the descriptor, which programs started from here inherit.
    #[cfg(unix)]
    fn acquire_inheritable(&self, _count: u32, _wait: &mut Wait<'_>) -> Result<OwnedFd, Cause> {
        Err(Cause::unsupported("permits of this type of semaphore end with the process or program"))
    }

    /// Gives back what the dead held, if the kernel does not.
    #[cfg(unix)]
    fn look_for_dead(&self) {}
}

/// Where the semaphores of one type are found by their native names.
pub(crate) trait Namespace {
    /// Whether the system has such semaphores, which its headers only promise.
    fn is_supported(&self) -> bool {
        true
    }

    /// Opens or makes the semaphore of this name.
    fn open(&self, name: &str, request: &Request) -> Result<Opened, Cause>;

    /// Whether [`open`](Self::open) by itself sees to it that nobody removes what it has opened. Where it does not, it must
    /// not run while the last handle of another thread goes.
    fn guards_what_it_opens(&self) -> bool {
        false
    }

    /// Removes it from the system.
    fn remove(&self, name: &str) -> Result<(), Cause>;

    /// Finds it, to look at it without using it.
    fn observe(&self, _name: &str) -> Result<Box<dyn Observe>, Cause> {
        Err(Cause::unsupported("semaphores of this type cannot be looked at from outside on this platform"))
    }

    /// Which there are; `None` where the platform does not tell.
    fn list(&self, _owners: Owners) -> Option<Vec<Listed>> {
        None
    }
}

/// Looks at a semaphore without using it.
pub(crate) trait Observe: Send + Sync {
    fn look(&self) -> Result<Snapshot, Cause>;
}

/// How long an acquire may wait, and who may end it.
pub(crate) struct Wait<'a> {
    pub(crate) patience: Patience,
    /// Asked before each sleep, so also after a signal interrupted one; `true` ends the wait.
    pub(crate) interrupted: Option<&'a mut dyn FnMut() -> bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    Until(Instant),
    Forever,
}

impl Patience {
    /// Whether it is at its end.
    #[cfg(target_os = "linux")]
    pub(super) fn is_exhausted(self) -> bool {
        match self {
            Self::None => true,
            Self::Until(deadline) => Instant::now() >= deadline,
            Self::Forever => false,
        }
    }

    /// What to report when it is at its end.
    pub(super) fn exhausted(self) -> Cause {
        match self {
            Self::None => Cause::new(ErrorKind::NoPermits, "there are not enough free permits now"),
            _ => Cause::new(ErrorKind::TimedOut, "not enough permits became free in time"),
        }
    }
}

impl Wait<'_> {
    /// To be called before each sleep, the first and those after a signal: goes on, or ends the wait.
    pub(super) fn before_sleep(&mut self) -> Result<(), Cause> {
        if self.interrupted.as_mut().is_some_and(|ends| ends()) {
            return Err(Cause::new(ErrorKind::Interrupted, "the wait was ended by its caller"));
        }
        Ok(())
    }
}
