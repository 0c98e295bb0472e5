//! One operating-system mechanism a file, behind two traits: [`Namespace`], where semaphores of the type are found by
//! their names, and [`Backend`], an open one. [`namespace`] is where a key finds its mechanism, and the only place that
//! says which platform has which.
//!
//! A backend knows one semaphore and says what the system said; what a permit is, who holds what without a
//! guard, what a fork changes and which texts name the key is the business of the layer above
//! (`attachment`, `permit`, `semaphore`), the same for all.

#[cfg(unix)]
mod posix;
#[cfg(target_os = "linux")]
mod robust;
#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
mod system_v;
#[cfg(windows)]
mod windows;

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

    pub(crate) fn create(&self, _: u32) -> bool {
        match *self {}
    }

    pub(crate) fn forget(&self, _: u32, _: Epoch) -> bool {
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
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
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
    fn open(&self, name: &str, request: &Request) -> Result<Opened, Fault>;

    /// Whether [`open`](Self::open) by itself sees to it that nobody removes what it has opened. Where it does not, it must
    /// not run while the last handle of another thread goes.
    fn guards_what_it_opens(&self) -> bool {
        false
    }

    /// Removes it from the system.
    fn remove(&self, name: &str) -> Result<(), Fault>;

    /// Finds it, to look at it without using it.
    fn observe(&self, _name: &str) -> Result<Box<dyn Observe>, Fault> {
        Err(Fault::unsupported("semaphores of this type cannot be looked at from outside on this platform"))
    }

    /// Which there are; `None` where the platform does not tell.
    fn list(&self, _owners: Owners) -> Option<Vec<Listed>> {
        None
    }
}

/// Where this platform has the semaphores of this type, if it has any.
///
/// Elsewhere than here: `sys::posix::HAS_TIMEOUT` (no `sem_timedwait` on Apple's systems) and `sys::system_v::HAS_TIMEOUT`
/// (`semtimedop` is Linux's) become capabilities; what names are cut to is in `key`. Android has no System V sets, and its
/// `sem_open` only fails, which is seen at run time; QNX has no sets either; NetBSD, OpenBSD and Solaris have them, but the
/// `libc` crate does not.
fn namespace(key_type: KeyType) -> Option<Box<dyn Namespace>> {
    match key_type {
        #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
        KeyType::SystemV(project) => Some(Box::new(system_v::KeyFiles(project))),
        #[cfg(unix)]
        KeyType::Posix => Some(Box::new(posix::Names)),
        #[cfg(target_os = "linux")]
        KeyType::Robust => Some(Box::new(robust::Files)),
        #[cfg(windows)]
        KeyType::Windows => Some(Box::new(windows::KernelObjects)),
        _ => None,
    }
}

/// Where the semaphore of this key is found.
pub(crate) fn namespace_of(key: &NativeIpcKey) -> Result<Box<dyn Namespace>, Fault> {
    namespace(key.key_type()).ok_or_else(|| {
        let reason = format!("keys of type {} are not supported on this platform", key.key_type());
        Fault::new(ErrorKind::KeyError, reason)
    })
}

/// Looks at a semaphore without using it.
pub(crate) trait Observe: Send + Sync {
    fn look(&self) -> Result<Snapshot, Fault>;
}

/// What semaphores there are, of the types that the platform tells of.
pub(crate) fn list(owners: Owners) -> Result<Vec<Listed>, Fault> {
    let types = [KeyType::Robust, KeyType::SYSTEM_V, KeyType::Posix, KeyType::Windows];
    let namespaces = types.into_iter().filter_map(namespace);
    let told: Vec<Vec<Listed>> = namespaces.filter_map(|namespace| namespace.list(owners)).collect();
    if told.is_empty() {
        return Err(Fault::unsupported("this platform does not tell which semaphores there are"));
    }
    Ok(told.into_iter().flatten().collect())
}

/// Whether keys of this type name semaphores here.
pub(crate) fn is_supported(key_type: KeyType) -> bool {
    namespace(key_type).is_some_and(|namespace| namespace.is_supported())
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
