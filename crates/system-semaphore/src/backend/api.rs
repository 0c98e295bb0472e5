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

/// The options of an open.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenRequest {
    pub(crate) mode: AccessMode,
    pub(crate) initial_value: u32,
    pub(crate) permissions: Option<u32>,
    pub(crate) max_permits: Option<u32>,
    pub(crate) persistent: bool,
}

impl OpenRequest {
    /// Runs `open`, and fails if the semaphore would need an initial value above `max`.
    ///
    /// The mode Open of an existing semaphore ignores the initial value.
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

/// The result of an open.
pub(crate) struct Opened {
    pub(crate) backend: Box<dyn Backend>,
    /// The removal that the last handle of this process runs, if this open created something.
    pub(crate) removal: Option<Removal>,
    /// Whether the opener must [reset](Backend::reset) the semaphore, which existed before.
    pub(crate) needs_reset: bool,
}

/// Removes an object that this process created. It runs while the backend is open, and ignores errors.
pub(crate) struct Removal {
    pub(crate) kind: RemovalKind,
    pub(crate) run: Box<dyn FnOnce() + Send>,
}

/// The object that a removal removes.
///
/// A process needs at most one removal of each kind for a semaphore. The last handle runs them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RemovalKind {
    /// The semaphore, and its key file if this process created both.
    Semaphore,
    /// The key file alone.
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    KeyFile,
}

impl Removal {
    #[cfg(unix)]
    pub(super) fn new(kind: RemovalKind, run: impl FnOnce() + Send + 'static) -> Self {
        Self { kind, run: Box::new(run) }
    }
}

/// Identifies a semaphore among those of its type. Within a process, two opens of one semaphore are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(pub(crate) u128);

/// One open semaphore. Every method may be called from any thread.
///
/// The caller passes counts from 1 to [`Capabilities::max_permits`]. It acquires several permits at once only if
/// [`Capabilities::several_at_once`] is set, and passes a deadline only if [`Capabilities::timeout`] is set.
pub(crate) trait Backend: Any + fmt::Debug + Send + Sync {
    fn identity(&self) -> Identity;

    fn capabilities(&self) -> Capabilities;

    /// Acquires `count` permits, all or none. If the type can, they are returned when this process dies.
    fn acquire(&self, count: u32, wait: &mut WaitOptions<'_>) -> Result<Epoch, Cause>;

    /// Releases permits that [`acquire`](Self::acquire) returned.
    ///
    /// This process no longer holds them, even after an error. If the count would pass the maximum, it becomes the
    /// maximum, and the error reports the number of lost permits.
    fn release(&self, count: u32, epoch: Epoch) -> Result<(), Cause>;

    /// Releases `held` permits of this epoch and adds `added` new ones, in one step, all or none.
    fn release_and_add(&self, held: u32, epoch: Epoch, added: u32) -> Result<(), Cause>;

    /// Disowns permits that [`acquire`](Self::acquire) returned, without releasing them.
    fn forget(&self, count: u32, epoch: Epoch) -> Result<(), Cause>;

    /// Records that this process holds its permits from now on, for [`Holder::since`].
    fn record_hold_start(&self) {}

    /// Returns the number of free permits.
    fn available(&self) -> Result<u32, Cause>;

    /// Returns the epoch of a permit that is acquired now.
    fn epoch(&self) -> Epoch {
        0
    }

    /// Sets the count, and begins a new epoch. The caller resets only if [`Opened::needs_reset`] is set.
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

    /// Opens the semaphore anew for a forked child. `None` means that the child can use the inherited backend.
    fn reopen_after_fork(&self) -> Option<Result<Opened, Cause>> {
        None
    }

    /// Acquires permits that are returned when no process has the descriptor open. Child processes inherit it.
    #[cfg(unix)]
    fn acquire_inheritable(&self, _count: u32, _wait: &mut WaitOptions<'_>) -> Result<OwnedFd, Cause> {
        Err(Cause::unsupported("permits of this type of semaphore end with the process or program"))
    }

    /// Returns the permits of dead holders, if the kernel does not.
    #[cfg(unix)]
    fn recover_dead(&self) {}
}

/// The semaphores of one type, by their native names.
pub(crate) trait Namespace {
    /// Whether the system has such semaphores, as its headers promise.
    fn is_supported(&self) -> bool {
        true
    }

    /// Opens or creates the semaphore of this name.
    fn open(&self, name: &str, request: &OpenRequest) -> Result<Opened, Cause>;

    /// Whether [`open`](Self::open) can run while another thread drops its last handle of the semaphore.
    ///
    /// If `false`, the caller must exclude that, or the other thread could remove the semaphore just opened.
    fn open_is_race_free(&self) -> bool {
        false
    }

    /// Removes the semaphore of this name from the system.
    fn remove(&self, name: &str) -> Result<(), Cause>;

    /// Opens the semaphore of this name for observation.
    fn observe(&self, _name: &str) -> Result<Box<dyn Observe>, Cause> {
        Err(Cause::unsupported("semaphores of this type cannot be observed on this platform"))
    }

    /// Lists the semaphores of this type, or returns `None` if the platform cannot.
    fn list(&self, _owners: Owners) -> Option<Vec<Listed>> {
        None
    }
}

/// A semaphore that is observed and not used.
pub(crate) trait Observe: Send + Sync {
    fn snapshot(&self) -> Result<Snapshot, Cause>;
}

/// How an acquire waits.
pub(crate) struct WaitOptions<'a> {
    pub(crate) limit: WaitLimit,
    /// Called before each sleep, including the one after a signal. `true` ends the wait.
    pub(crate) interrupted: Option<&'a mut dyn FnMut() -> bool>,
}

/// How long an acquire waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitLimit {
    None,
    Until(Instant),
    Forever,
}

impl WaitLimit {
    /// Whether the waiter must not sleep any more.
    #[cfg(target_os = "linux")]
    pub(super) fn is_expired(self) -> bool {
        match self {
            Self::None => true,
            Self::Until(deadline) => Instant::now() >= deadline,
            Self::Forever => false,
        }
    }

    /// Returns the error of a wait that has reached its limit.
    pub(super) fn timeout_error(self) -> Cause {
        match self {
            Self::None => Cause::new(ErrorKind::NoPermits, "there are not enough free permits now"),
            _ => Cause::new(ErrorKind::TimedOut, "not enough permits became free in time"),
        }
    }
}

impl WaitOptions<'_> {
    /// Calls the interrupt hook, and fails if it ends the wait. A waiter calls this before each sleep.
    pub(super) fn check_interrupt(&mut self) -> Result<(), Cause> {
        if self.interrupted.as_mut().is_some_and(|ends| ends()) {
            return Err(Cause::new(ErrorKind::Interrupted, "the wait was ended by its caller"));
        }
        Ok(())
    }
}
