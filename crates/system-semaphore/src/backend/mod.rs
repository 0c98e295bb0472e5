//! One operating-system mechanism a file, behind one trait. [`open`] is where a key finds its backend.
//!
//! A backend knows one semaphore and says what the system said; what a permit is, who holds what without a
//! guard, what a fork changes and which texts name the key is the business of the layer above
//! (`attachment`, `permit`, `semaphore`), the same for all.

#[cfg(unix)]
mod posix;
#[cfg(target_os = "linux")]
mod robust;
#[cfg(unix)]
mod system_v;

use std::fmt;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::error::{ErrorKind, Fault};
use crate::key::{KeyType, NativeIpcKey};
use crate::observer::{Listed, Owners, Snapshot};
use crate::semaphore::{AccessMode, Capabilities, Holder};

#[cfg(target_os = "linux")]
pub(crate) use robust::Quick;

/// There is no quick way.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) enum Quick {}

#[cfg(not(target_os = "linux"))]
impl Quick {
    pub(crate) fn acquire_alone(&self, _: u32) -> Option<Epoch> {
        match *self {}
    }

    pub(crate) fn acquire(&self, _: u32) -> Option<Epoch> {
        match *self {}
    }

    pub(crate) fn give_back_alone(&self, _: u32, _: Epoch) -> bool {
        match *self {}
    }

    pub(crate) fn give_back(&self, _: u32, _: Epoch) -> bool {
        match *self {}
    }
}

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
    #[cfg(unix)]
    fn open_with_value_up_to(
        &self,
        max: u32,
        open: impl FnOnce(&Self) -> Result<Opened, Fault>,
    ) -> Result<Opened, Fault> {
        if self.initial_value <= max {
            return open(self);
        }
        let reason =
            || format!("the initial value {} is more than the {max} that it can count", self.initial_value);
        let too_large = || Fault::new(ErrorKind::OutOfResources, reason());
        if matches!(self.mode, AccessMode::Create | AccessMode::CreateNew) {
            return Err(too_large());
        }
        let existing = Self { mode: AccessMode::OpenExisting, initial_value: 0, ..self.clone() };
        open(&existing).map_err(|fault| match self.mode {
            AccessMode::Open if fault.kind == ErrorKind::NotFound => too_large(),
            _ => fault,
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
    KeyFile,
}

impl Removal {
    #[cfg(unix)]
    fn of(subject: Subject, run: impl FnOnce() + Send + 'static) -> Self {
        Self { subject, run: Box::new(run) }
    }
}

/// Which semaphore of its type a backend has open: within a process, two opens of the same one are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(pub(crate) u128);

/// Counts the resets that this process knows of; a permit from an earlier epoch is no longer what it was.
pub(crate) type Epoch = u32;

/// One open semaphore. Every method may be called from any thread.
///
/// Numbers of permits are at least 1 and at most [`Capabilities::max_permits`]; several at once are asked for
/// only where [`Capabilities::several_at_once`] says so, and deadlines where [`Capabilities::timeout`] does.
pub(crate) trait Backend: fmt::Debug + Send + Sync {
    fn identity(&self) -> Identity;

    fn capabilities(&self) -> Capabilities;

    /// Takes `count` permits, all or none, so that they come back if this process dies (where the type can).
    fn acquire(&self, count: u32, wait: &mut Wait<'_>) -> Result<Epoch, Fault>;

    /// Gives back what [`acquire`](Self::acquire) took. The permits stop being this process's in any case: if
    /// the count has no room for all, it is filled up and the rest is reported lost.
    fn give_back(&self, count: u32, epoch: Epoch) -> Result<(), Fault>;

    /// In one step, gives back `held` permits of this epoch and creates `created`; all or nothing.
    fn release(&self, held: u32, epoch: Epoch, created: u32) -> Result<(), Fault>;

    /// Stops owning what [`acquire`](Self::acquire) took, without giving it back.
    fn forget(&self, count: u32, epoch: Epoch) -> Result<(), Fault>;

    /// Takes note that what the process holds, it holds for longer.
    fn holds_from_now(&self) {}

    /// How many permits are free.
    fn available(&self) -> Result<u32, Fault>;

    /// The epoch of what is acquired now.
    fn epoch(&self) -> Epoch {
        0
    }

    /// Sets the count, and begins a new epoch. Asked for only after an open that said so.
    fn reset(&self, _count: u32) -> Result<(), Fault> {
        Err(Fault::unsupported("this type of semaphore cannot be reset"))
    }

    fn waiting(&self) -> Result<u32, Fault> {
        Err(Fault::unsupported("this type of semaphore does not tell how many wait"))
    }

    fn last_pid(&self) -> Result<Option<u32>, Fault> {
        Err(Fault::unsupported("this type of semaphore does not tell who used it last"))
    }

    fn holders(&self) -> Result<Vec<Holder>, Fault> {
        Err(Fault::unsupported("this type of semaphore does not tell who holds it"))
    }

    fn recoveries(&self) -> Result<u64, Fault> {
        Err(Fault::unsupported("this type of semaphore does not count dead holders"))
    }

    fn initial_value(&self) -> Result<u32, Fault> {
        Err(Fault::unsupported("this type of semaphore does not remember its initial value"))
    }

    fn is_persistent(&self) -> Result<bool, Fault> {
        Err(Fault::unsupported("this type of semaphore ends when its maker says so"))
    }

    /// What a forked child has to open to use what it inherited; `None`: it can use that as it is.
    fn open_in_child(&self) -> Option<Result<Opened, Fault>> {
        None
    }

    /// Takes permits that live as long as anybody has the descriptor, which programs started from here inherit.
    #[cfg(unix)]
    fn acquire_inheritable(&self, _count: u32, _wait: &mut Wait<'_>) -> Result<OwnedFd, Fault> {
        Err(Fault::unsupported("permits of this type of semaphore end with the process or program"))
    }

    /// A way around this trait for operations that are a matter of nanoseconds.
    fn quick(&self) -> Option<Quick> {
        None
    }

    /// Gives back what the dead held, if the kernel does not.
    fn look_for_dead(&self) {}
}

/// Opens or makes the semaphore of this key.
pub(crate) fn open(key: &NativeIpcKey, request: &Request) -> Result<Opened, Fault> {
    match key.key_type() {
        #[cfg(unix)]
        KeyType::SystemV(project) => system_v::open(key.native_key(), project, request),
        #[cfg(unix)]
        KeyType::Posix => posix::open(key.native_key(), request),
        #[cfg(target_os = "linux")]
        KeyType::Robust => robust::open(key.native_key(), request),
        other => Err(unsupported_type(other)),
    }
}

/// Whether [`open`] by itself sees to it that nobody removes what it has opened. Where it does not, it must not run while
/// the last handle of another thread goes.
pub(crate) fn guards_what_it_opens(key_type: KeyType) -> bool {
    key_type == KeyType::Robust
}

/// Removes the semaphore of this key from the system.
pub(crate) fn remove(key: &NativeIpcKey) -> Result<(), Fault> {
    match key.key_type() {
        #[cfg(unix)]
        KeyType::SystemV(project) => system_v::remove(key.native_key(), project),
        #[cfg(unix)]
        KeyType::Posix => posix::remove(key.native_key()),
        #[cfg(target_os = "linux")]
        KeyType::Robust => robust::remove(key.native_key()),
        other => Err(unsupported_type(other)),
    }
}

/// Looks at a semaphore without using it.
pub(crate) trait Observe: Send + Sync {
    fn look(&self) -> Result<Snapshot, Fault>;
}

/// Finds the semaphore of this key, to look at it.
pub(crate) fn observe(key: &NativeIpcKey) -> Result<Box<dyn Observe>, Fault> {
    match key.key_type() {
        #[cfg(unix)]
        KeyType::SystemV(project) => system_v::observe(key.native_key(), project),
        #[cfg(unix)]
        KeyType::Posix => posix::observe(key.native_key()),
        #[cfg(target_os = "linux")]
        KeyType::Robust => robust::observe(key.native_key()),
        other => Err(unsupported_type(other)),
    }
}

/// What semaphores there are.
pub(crate) fn list(owners: Owners) -> Vec<Listed> {
    let mut listed = Vec::new();
    #[cfg(target_os = "linux")]
    listed.extend(robust::list(owners));
    #[cfg(target_os = "linux")]
    listed.extend(system_v::list(owners));
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    listed.extend(posix::list(owners));
    listed
}

/// Whether [`open`] can work for keys of this type, here.
pub(crate) fn is_supported(key_type: KeyType) -> bool {
    match key_type {
        #[cfg(unix)]
        KeyType::SystemV(_) => system_v::is_supported(),
        #[cfg(unix)]
        KeyType::Posix => posix::is_supported(),
        KeyType::Robust => cfg!(target_os = "linux"),
        _ => false,
    }
}

fn unsupported_type(key_type: KeyType) -> Fault {
    let reason = format!("keys of type {key_type} are not supported on this platform");
    Fault::new(ErrorKind::KeyError, reason)
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
    fn is_exhausted(self) -> bool {
        match self {
            Self::None => true,
            Self::Until(deadline) => Instant::now() >= deadline,
            Self::Forever => false,
        }
    }

    /// What to report when it is at its end.
    fn exhausted(self) -> Fault {
        match self {
            Self::None => Fault::new(ErrorKind::NoPermits, "there are not enough free permits now"),
            _ => Fault::new(ErrorKind::TimedOut, "not enough permits became free in time"),
        }
    }
}

impl Wait<'_> {
    /// To be called before each sleep, the first and those after a signal: goes on, or ends the wait.
    fn before_sleep(&mut self) -> Result<(), Fault> {
        if self.interrupted.as_mut().is_some_and(|ends| ends()) {
            return Err(Fault::new(ErrorKind::Interrupted, "the wait was ended by its caller"));
        }
        Ok(())
    }
}
