//! The semaphore as its users see it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend;
use crate::backend::api::{Backend, WaitLimit, WaitOptions};
use crate::error::{Cause, Error, Result};
#[cfg(unix)]
use crate::inheritable::InheritablePermit;
use crate::key::{Key, KeyType, NativeIpcKey};
use crate::options::Builder;
use crate::permit::Permit;
use crate::process::{Attachment, attach};
use crate::sys::arc_or_ref::ArcOrRef;
use crate::sys::standard_descriptors::Reservation;
use crate::types::{AccessMode, Capabilities, Holder};

/// A counting semaphore shared by processes, named by a key.
///
/// A handle: clones, and other handles that this process opens by the same key, are the same semaphore. All
/// methods may be called from any thread at once.
///
/// # When it ends
///
/// A *robust* semaphore ends with its last user, whichever that is; [`Builder::persistent`] keeps it. If the last user
/// ends without dropping its handles (it is killed, calls [`exit`](std::process::exit), or keeps them in a `static`),
/// the next one to open it starts afresh, with its own initial value.
///
/// A *Windows* semaphore ends with its last user, too, and cannot be persistent.
///
/// A *System V* or *POSIX* semaphore is removed when the last handle of the process that made it is dropped, whoever
/// still uses it (Qt's rule); [`Builder::persistent`] keeps it. Who opened an existing one with
/// [`AccessMode::Create`] counts as its maker, too. Those who still use a removed System V semaphore get
/// [`NotFound`](crate::ErrorKind::NotFound); those of a POSIX one keep it among themselves. A maker that ends without dropping
/// its handles leaves the semaphore to those who use it and to later ones.
///
/// # Threads, forks and other programs
///
/// Permits are the process's: any thread may give back what another took. After a `fork` the child owns nothing:
/// permits of its parent are void in it, and it removes nothing. It can use the handles that it inherited. Permits
/// end when the process becomes another program by `exec`, but for [inheritable](Self::acquire_inheritable) ones.
///
/// The methods are not to be called in signal handlers. (On a robust semaphore, a handler that comes upon an operation of its
/// own thread gets an error.)
#[derive(Clone)]
pub struct SystemSemaphore {
    attachment: Arc<Attachment>,
    name: Arc<Name>,
}

/// The key that a handle was opened by, and its text for messages.
struct Name {
    key: NativeIpcKey,
    text: Arc<str>,
}

impl SystemSemaphore {
    /// Opens or creates a semaphore, with the parameters of Qt's constructor.
    ///
    /// # Errors
    /// [`KeyError`](crate::ErrorKind::KeyError) if the key cannot name a semaphore,
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if it belongs to another user,
    /// [`OutOfResources`](crate::ErrorKind::OutOfResources) if the initial value is above the maximum or the system has no more
    /// semaphores (for a robust one: shared memory is full, or 4,093 processes use it already),
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if something else stands in its place,
    /// [`TimedOut`](crate::ErrorKind::TimedOut) if another process that is opening or closing it is stopped, and what the mode
    /// says.
    pub fn new(key: impl Into<Key>, initial_value: u32, mode: AccessMode) -> Result<Self> {
        Self::builder(key).initial_value(initial_value).mode(mode).build()
    }

    /// [`new`](Self::new) with [`AccessMode::Create`].
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn create(key: impl Into<Key>, initial_value: u32) -> Result<Self> {
        Self::new(key, initial_value, AccessMode::Create)
    }

    /// [`new`](Self::new) with [`AccessMode::Open`]: the initial value counts only if there was none.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn open(key: impl Into<Key>, initial_value: u32) -> Result<Self> {
        Self::new(key, initial_value, AccessMode::Open)
    }

    /// Says more about the semaphore before it is opened.
    pub fn builder(key: impl Into<Key>) -> Builder {
        Builder::new(key.into())
    }

    /// Removes a semaphore from the system by its key, whoever uses it. Those who do learn it on robust and System V
    /// semaphores ([`NotFound`](crate::ErrorKind::NotFound)), and keep it among themselves on POSIX. A Windows semaphore goes with its last
    /// user, and not before ([`Unsupported`](crate::ErrorKind::Unsupported)).
    ///
    /// With a System V semaphore goes its key file, if it is one that was made for a plain name; any other file
    /// named in a native key stays.
    ///
    /// ```
    /// # use system_semaphore::SystemSemaphore;
    /// # let name = &format!("doc-remove-{}", std::process::id());
    /// drop(SystemSemaphore::builder(name).persistent(true).build()?);
    /// SystemSemaphore::remove(name)?;
    /// # Ok::<(), system_semaphore::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none, [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if it
    /// belongs to another user.
    pub fn remove(key: impl Into<Key>) -> Result<()> {
        let key = key.into().resolve(None)?;
        let _reservation = Reservation::new();
        backend::namespace_of(&key)
            .and_then(|namespace| namespace.remove(key.native_key()))
            .map_err(|cause| Error::new("remove", key.to_string(), cause))
    }

    /// Whether this platform has semaphores of this type.
    #[must_use]
    pub fn is_key_type_supported(key_type: KeyType) -> bool {
        backend::is_supported(key_type)
    }

    /// The plain name that the key was derived from; empty for other keys.
    #[must_use]
    pub fn key(&self) -> &str {
        self.name.key.legacy_key().unwrap_or("")
    }

    /// The native key.
    #[must_use]
    pub fn native_key(&self) -> &NativeIpcKey {
        &self.name.key
    }

    /// Makes this handle one of another semaphore.
    ///
    /// Only this handle changes: its clones keep the old semaphore. The same key with [`AccessMode::Open`] changes
    /// nothing (Qt's rule). The new semaphore is opened before the old one is let go, so that after an error
    /// everything is as it was. (Qt lets go first.) What the [builder](Self::builder) said of the old one is not said
    /// of the new: a plain name is of the platform's best type.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn set_key(&mut self, key: impl Into<Key>, initial_value: u32, mode: AccessMode) -> Result<()> {
        let key = key.into().resolve(None)?;
        if key == self.name.key && mode == AccessMode::Open {
            return Ok(());
        }
        *self = Self::new(key, initial_value, mode)?;
        Ok(())
    }

    /// [`set_key`](Self::set_key) under the name that Qt gives it for native keys.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn set_native_key(&mut self, key: NativeIpcKey, initial_value: u32, mode: AccessMode) -> Result<()> {
        self.set_key(key, initial_value, mode)
    }

    /// What this type of semaphore can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let now = self.attachment.with_open(|open| Ok(open.backend.capabilities()));
        now.unwrap_or(self.attachment.capabilities)
    }

    /// Takes a permit, waiting as long as it takes.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore is removed from the system, also while waiting (where the
    /// type tells: robust and System V).
    #[inline]
    pub fn acquire(&self) -> Result<Permit<'_>> {
        match self.attachment.fast_path().and_then(|fast_path| fast_path.acquire_single_threaded(1)) {
            Some(epoch) => Ok(Permit::new(ArcOrRef::from_ref(&self.attachment), 1, epoch)),
            None => self.acquire_fast_mt(),
        }
    }

    /// Acquires a permit in a process with several threads, or by the slow path.
    ///
    /// It is a function with the same signature as `acquire`, so that `acquire` needs no stack frame: saving registers for a
    /// call within it would cost as much as the rest.
    #[inline(never)]
    fn acquire_fast_mt(&self) -> Result<Permit<'_>> {
        self.acquire_impl(1, WaitLimit::Forever, None)
    }

    /// Takes `count` permits, all or none, waiting as long as it takes. None at all (0) come at once.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire); [`OutOfResources`](crate::ErrorKind::OutOfResources) if there can never be so
    /// many; [`Unsupported`](crate::ErrorKind::Unsupported) if the type cannot take several at once.
    pub fn acquire_many(&self, count: u32) -> Result<Permit<'_>> {
        self.acquire_impl(count, WaitLimit::Forever, None)
    }

    /// Takes a permit if that needs no wait.
    ///
    /// # Errors
    /// [`NoPermits`](crate::ErrorKind::NoPermits) if it would, and as for [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Permit<'_>> {
        self.acquire_impl(1, WaitLimit::None, None)
    }

    /// Takes `count` permits, all or none, if that needs no wait.
    ///
    /// # Errors
    /// [`NoPermits`](crate::ErrorKind::NoPermits) if it would, and as for [`acquire_many`](Self::acquire_many).
    pub fn try_acquire_many(&self, count: u32) -> Result<Permit<'_>> {
        self.acquire_impl(count, WaitLimit::None, None)
    }

    /// Takes a permit, waiting no longer than `timeout`, on a clock that cannot be set.
    ///
    /// ```
    /// # use system_semaphore::{ErrorKind, SystemSemaphore};
    /// # use std::time::Duration;
    /// # let name = &format!("doc-timeout-{}", std::process::id());
    /// let printers = SystemSemaphore::open(name, 0)?;
    /// let error = printers.acquire_timeout(Duration::from_millis(10)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// # Ok::<(), system_semaphore::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](crate::ErrorKind::TimedOut), and as for [`acquire`](Self::acquire);
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the type has no timeouts.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>> {
        self.acquire_many_timeout(1, timeout)
    }

    /// Takes `count` permits, all or none, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// [`TimedOut`](crate::ErrorKind::TimedOut), and as for [`acquire_many`](Self::acquire_many).
    pub fn acquire_many_timeout(&self, count: u32, timeout: Duration) -> Result<Permit<'_>> {
        // a deadline too far for the clock is none
        let limit = Instant::now().checked_add(timeout).map_or(WaitLimit::Forever, WaitLimit::Until);
        self.acquire_impl(count, limit, None)
    }

    /// Takes a permit, waiting no longer than until `deadline`.
    ///
    /// # Errors
    /// As for [`acquire_timeout`](Self::acquire_timeout).
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<Permit<'_>> {
        self.acquire_many_deadline(1, deadline)
    }

    /// Takes `count` permits, all or none, waiting no longer than until `deadline`.
    ///
    /// # Errors
    /// As for [`acquire_many_timeout`](Self::acquire_many_timeout).
    pub fn acquire_many_deadline(&self, count: u32, deadline: Instant) -> Result<Permit<'_>> {
        self.acquire_impl(count, WaitLimit::Until(deadline), None)
    }

    /// Takes `count` permits, all or none, waiting until `deadline` (`None`: as long as it takes), in a way that can
    /// be ended from outside.
    ///
    /// `interrupted` is called before each sleep: before the first, if there has to be one, and each time a signal has
    /// woken the thread. (On a robust semaphore also about once a second, and of 16 waiting processes and more by turns, each
    /// after eight seconds at most.) When it returns `true`, the wait ends. That is how a language's runtime gets its Ctrl+C
    /// handled without polling, and how one thread ends the wait of another: set a flag, then send the thread signals
    /// until the wait has ended (one that comes in the instant between the read and the sleep goes unseen). The
    /// handler must have been installed without `SA_RESTART`, or a POSIX semaphore's wait goes on without asking.
    /// On Windows, where no signal ends a wait, it is asked every 50 ms.
    ///
    /// # Errors
    /// [`Interrupted`](crate::ErrorKind::Interrupted) if the wait was ended, and as for
    /// [`acquire_many_timeout`](Self::acquire_many_timeout).
    pub fn acquire_interruptible(
        &self,
        count: u32,
        deadline: Option<Instant>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Permit<'_>> {
        self.acquire_impl(count, deadline.map_or(WaitLimit::Forever, WaitLimit::Until), Some(interrupted))
    }

    /// Takes `count` permits, all or none, waiting until `deadline` (`None`: as long as it takes), that belong to a
    /// descriptor instead of this process: they come back when nobody has that open any more.
    ///
    /// Children inherit the descriptor, and so does the program that this process becomes by `exec`. So the permits
    /// follow a command that is started with them, even if the one who started it is killed. (A program that closes
    /// descriptors it does not know ends the permits' way there.) All other permits end with the process or program.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use system_semaphore::SystemSemaphore;
    /// # let name = &format!("doc-inheritable-{}", std::process::id());
    /// let printers = SystemSemaphore::open(name, 1)?;
    /// let permit = printers.acquire_inheritable(1, None)?;
    /// let mut child = std::process::Command::new("sleep").arg("0.01").spawn().expect("there is sleep");
    /// drop(permit); // the child has it still
    /// assert_eq!(printers.available_permits()?, 0);
    /// child.wait().expect("it can be waited for");
    /// assert_eq!(printers.available_permits()?, 1);
    /// # }
    /// # Ok::<(), system_semaphore::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the type has no such permits
    /// ([`Capabilities::inheritable_permits`]); [`OutOfResources`](crate::ErrorKind::OutOfResources) if no descriptor, or no place
    /// among the semaphore's users, is left; and as for [`acquire_many_deadline`](Self::acquire_many_deadline).
    #[cfg(unix)]
    pub fn acquire_inheritable(&self, count: u32, deadline: Option<Instant>) -> Result<InheritablePermit> {
        let limit = deadline.map_or(WaitLimit::Forever, WaitLimit::Until);
        let descriptor = self.attachment.with_open(|open| {
            open.backend.capabilities().check_count(count)?;
            open.backend.acquire_inheritable(count, &mut WaitOptions { limit, interrupted: None })
        });
        match descriptor {
            Ok(descriptor) => Ok(InheritablePermit::new(Arc::clone(&self.attachment), descriptor, count)),
            Err(cause) => Err(self.error(format!("acquire {count} inheritable permits of"), cause)),
        }
    }

    /// Acquires `count` permits, all or none, if the fast path can: without a system call, a wait, or a recovery of dead
    /// holders.
    ///
    /// `None` does not mean that permits are missing. The caller then calls another method that acquires. A language's
    /// runtime tries this first, because it must let its other threads run during any of the other methods.
    /// The fast path exists for robust semaphores only; for others the result is always `None`.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use system_semaphore::SystemSemaphore;
    /// # let name = &format!("doc-uncontended-{}", std::process::id());
    /// let printers = SystemSemaphore::open(name, 1)?;
    /// let permit = match printers.try_acquire_uncontended(1) {
    ///     Some(permit) => permit,
    ///     None => printers.acquire()?,
    /// };
    /// # drop(permit);
    /// # }
    /// # Ok::<(), system_semaphore::Error>(())
    /// ```
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub fn try_acquire_uncontended(&self, count: u32) -> Option<Permit<'_>> {
        let epoch = self.attachment.fast_path()?.acquire(count)?;
        Some(Permit::new(ArcOrRef::from_ref(&self.attachment), count, epoch))
    }

    #[inline(always)]
    fn acquire_impl(
        &self,
        count: u32,
        limit: WaitLimit,
        interrupted: Option<&mut dyn FnMut() -> bool>,
    ) -> Result<Permit<'_>> {
        match self.attachment.fast_path().and_then(|fast_path| fast_path.acquire(count)) {
            Some(epoch) => Ok(Permit::new(ArcOrRef::from_ref(&self.attachment), count, epoch)),
            None => self.acquire_slow(count, limit, interrupted),
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(
        &self,
        count: u32,
        limit: WaitLimit,
        interrupted: Option<&mut dyn FnMut() -> bool>,
    ) -> Result<Permit<'_>> {
        let outcome = self.attachment.in_this_process().and_then(|attachment| {
            let backend = &attachment.open.backend;
            let epoch = match count {
                0 => backend.epoch(),
                _ => {
                    let has_deadline = matches!(limit, WaitLimit::Until(_));
                    backend.capabilities().check_acquire(count, has_deadline)?;
                    backend.acquire(count, &mut WaitOptions { limit, interrupted })?
                }
            };
            Ok(Permit::new(attachment, count, epoch))
        });
        match outcome {
            Ok(permit) => Ok(permit),
            Err(cause) if count == 1 => Err(self.error("acquire a permit of", cause)),
            Err(cause) => Err(self.error(format!("acquire {count} permits of"), cause)),
        }
    }

    /// Releases up to `count` [detached](Permit::detach) permits of this process, and *adds* the rest of `count`.
    ///
    /// Added permits stay when the process exits. (Qt on System V removes them then.) A `count` of 0 does nothing.
    ///
    /// Both happen in one step. POSIX semaphores get the permits one by one, so that other processes can see some of
    /// them before the last.
    ///
    /// # Errors
    /// [`OutOfResources`](crate::ErrorKind::OutOfResources) if the count would pass the maximum. Nothing has changed then,
    /// except on POSIX, if other processes acquired some of the permits meanwhile.
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed from the system.
    pub fn release(&self, count: u32) -> Result<()> {
        if self.release_uncontended(count) { Ok(()) } else { self.release_slow(count) }
    }

    /// Releases `count` detached permits if the fast path can, and returns whether it did.
    ///
    /// It adds no permits. After `false` nothing has changed, and the caller calls [`release`](Self::release). See
    /// [`try_acquire_uncontended`](Self::try_acquire_uncontended).
    #[doc(hidden)]
    #[inline]
    #[must_use = "if it is false, they are still held"]
    pub fn release_uncontended(&self, count: u32) -> bool {
        count == 0
            || self
                .attachment
                .fast_path()
                .is_some_and(|fast_path| self.attachment.open.release_uncontended(count, fast_path))
    }

    #[inline(never)]
    fn release_slow(&self, count: u32) -> Result<()> {
        self.attachment
            .with_open(|open| {
                open.backend.capabilities().check_count(count)?;
                open.release(count)
            })
            .map_err(|cause| self.error(format!("release {count} permits of"), cause))
    }

    /// Creates `count` permits. Unlike [`release`](Self::release) it can never discharge what another thread of the
    /// process holds.
    ///
    /// # Errors
    /// As for [`release`](Self::release).
    pub fn add_permits(&self, count: u32) -> Result<()> {
        if count == 0 || self.attachment.fast_path().is_some_and(|fast_path| fast_path.add(count)) {
            return Ok(());
        }
        self.attachment
            .with_open(|open| {
                open.backend.capabilities().check_count(count)?;
                open.backend.release_and_add(0, 0, count)
            })
            .map_err(|cause| self.error(format!("add {count} permits to"), cause))
    }

    /// Forgets up to `count` [detached](Permit::detach) permits of this process, and returns their number.
    ///
    /// Forgotten permits stay acquired, and no process holds them, as after [`Permit::forget`].
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed from the system.
    pub fn forget_detached(&self, count: u32) -> Result<u32> {
        self.attachment
            .with_open(|open| open.forget_detached(count))
            .map_err(|cause| self.error(format!("forget {count} of"), cause))
    }

    /// Returns the number of [detached](Permit::detach) permits of this process.
    #[must_use]
    pub fn detached_permits(&self) -> u32 {
        self.attachment.with_open(|open| Ok(open.detached_permits())).unwrap_or(0)
    }

    /// How many permits are free at this moment. Others may take them in the next.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the semaphore was removed from the system,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the type does not tell.
    pub fn available_permits(&self) -> Result<u32> {
        self.query("count the free permits of", |backend| backend.available())
    }

    /// How many threads, of all processes, wait at this moment.
    ///
    /// # Errors
    /// As for [`available_permits`](Self::available_permits).
    pub fn waiting(&self) -> Result<u32> {
        self.query("count those who wait for", |backend| backend.waiting())
    }

    /// The process that operated on the semaphore last; `None` if none has, or if it cannot be seen from here.
    ///
    /// # Errors
    /// As for [`available_permits`](Self::available_permits).
    pub fn last_pid(&self) -> Result<Option<u32>> {
        self.query("ask for the last user of", |backend| backend.last_pid())
    }

    /// Who holds how many permits.
    ///
    /// # Errors
    /// As for [`available_permits`](Self::available_permits).
    pub fn holders(&self) -> Result<Vec<Holder>> {
        self.query("list the holders of", |backend| backend.holders())
    }

    /// How many holders have died and had their permits given back so far. Who guards data by the semaphore
    /// compares it before and after: what a dead holder guarded may be half written. It counts before the permits can
    /// be taken, and so may count a death twice if who gives back dies in the middle.
    ///
    /// # Errors
    /// As for [`available_permits`](Self::available_permits).
    pub fn recoveries(&self) -> Result<u64> {
        self.query("count the recoveries of", |backend| backend.recoveries())
    }

    /// How many permits it was made with, or reset to.
    ///
    /// # Errors
    /// As for [`available_permits`](Self::available_permits).
    pub fn initial_value(&self) -> Result<u32> {
        self.query("ask for the initial value of", |backend| backend.initial_value())
    }

    /// Whether it stays when its last user leaves.
    ///
    /// # Errors
    /// As for [`available_permits`](Self::available_permits).
    pub fn is_persistent(&self) -> Result<bool> {
        self.query("ask for the end of", |backend| backend.is_persistent())
    }

    fn query<T>(
        &self,
        action: &'static str,
        read: impl FnOnce(&dyn Backend) -> Result<T, Cause>,
    ) -> Result<T> {
        self.attachment.with_open(|open| read(&*open.backend)).map_err(|cause| self.error(action, cause))
    }

    fn error(&self, action: impl Into<std::borrow::Cow<'static, str>>, cause: Cause) -> Error {
        Error::new(action, Arc::clone(&self.name.text), cause)
    }
}

impl fmt::Debug for SystemSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemSemaphore").field("key", &self.name.text).finish_non_exhaustive()
    }
}

impl Builder {
    /// Opens or creates the semaphore.
    ///
    /// # Errors
    /// As for [`SystemSemaphore::new`]; [`Unsupported`](crate::ErrorKind::Unsupported) for what the type cannot do;
    /// [`KeyError`](crate::ErrorKind::KeyError) if a native key is not of the type asked for.
    pub fn build(self) -> Result<SystemSemaphore> {
        let key = self.key.resolve(self.key_type)?;
        let text: Arc<str> = key.text().into();
        let attachment = attach(&key, &text, &self.request)
            .map_err(|cause| Error::new(open_action(self.request.mode), Arc::clone(&text), cause))?;
        Ok(SystemSemaphore { attachment, name: Arc::new(Name { key, text }) })
    }
}

fn open_action(mode: AccessMode) -> &'static str {
    match mode {
        AccessMode::Open | AccessMode::OpenExisting => "open the semaphore",
        AccessMode::Create | AccessMode::CreateNew => "create the semaphore",
    }
}
