//! `QSystemSemaphore`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use system_semaphore::{ErrorKind, KeyType, NativeIpcKey, Result, SystemSemaphore};

use crate::error::{During, SemaphoreError, handle_text, translate, unknown_number};
use crate::key::QNativeIpcKey;

/// The environment variable that moves programs written for Qt onto another engine, without a change to them: `robust`
/// makes the keys of all types name crash-safe semaphores (Linux). All programs that share a semaphore must have it. Not set,
/// empty, or `native`: keys mean what they mean in Qt.
pub const ENGINE_VARIABLE: &str = "SYSTEM_SEMAPHORE_QT";

/// `QSystemSemaphore::AccessMode`, with its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AccessMode {
    /// Use it if it is there, else make it.
    #[default]
    Open = 0,
    /// Make it, or set the count of the one that is there.
    Create = 1,
}

/// Qt's class. All methods may be called from any thread at once, also while another one waits in
/// [`acquire`](Self::acquire) (which Qt's do not allow).
#[derive(Debug)]
pub struct QSystemSemaphore(Mutex<State>);

#[derive(Debug)]
struct State {
    key: QNativeIpcKey,
    initial_value: i32,
    semaphore: Option<SystemSemaphore>,
    error: SemaphoreError,
    error_string: String,
}

/// Asked before each sleep of a wait; `true` ends it.
type Hook<'a> = &'a mut dyn FnMut() -> bool;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// With the permits.
    Acquired,
    /// Without: the time was over. No error is set.
    TimedOut,
    /// Without: the hook ended it. No error is set.
    Interrupted,
    /// Without: the error is set.
    Failed,
}

impl QSystemSemaphore {
    /// The constructor from a plain name.
    #[must_use]
    pub fn new(key: &str, initial_value: i32, mode: AccessMode) -> Self {
        Self::with_native_key(
            QNativeIpcKey::legacy(key, QNativeIpcKey::legacy_default_type()),
            initial_value,
            mode,
        )
    }

    /// The constructor from a native key.
    #[must_use]
    pub fn with_native_key(key: QNativeIpcKey, initial_value: i32, mode: AccessMode) -> Self {
        let semaphore = Self(Mutex::new(State {
            key: QNativeIpcKey::new("", key.type_number()),
            initial_value: 0,
            semaphore: None,
            error: SemaphoreError::NoError,
            error_string: String::new(),
        }));
        semaphore.set_native_key(key, initial_value, mode);
        semaphore
    }

    /// `setKey`.
    pub fn set_key(&self, key: &str, initial_value: i32, mode: AccessMode) {
        let key = QNativeIpcKey::legacy(key, QNativeIpcKey::legacy_default_type());
        self.set_native_key(key, initial_value, mode);
    }

    /// `setNativeKey`. The same key with `Open` changes nothing, not even the error. A key of a type that there is not is an
    /// error, and changes nothing else.
    pub fn set_native_key(&self, key: QNativeIpcKey, initial_value: i32, mode: AccessMode) {
        let mut state = self.lock();
        if key == state.key && mode == AccessMode::Open {
            return;
        }
        if !Self::is_key_type_supported(key.type_number()) {
            let text = "QSystemSemaphore::setNativeKey: unsupported key type";
            state.fail(SemaphoreError::KeyError, text.to_owned());
            return;
        }
        state.succeed();
        // the old one goes first, as in Qt: its maker removes it
        state.semaphore = None;
        state.key = key;
        state.initial_value = initial_value;
        state.open(mode);
    }

    /// `key`: the plain name, or nothing where it has a native key only.
    #[must_use]
    pub fn key(&self) -> String {
        self.lock().key.legacy_key().to_owned()
    }

    /// `nativeIpcKey`.
    #[must_use]
    pub fn native_key(&self) -> QNativeIpcKey {
        self.lock().key.clone()
    }

    /// `isKeyTypeSupported`.
    #[must_use]
    pub fn is_key_type_supported(type_number: u16) -> bool {
        KeyType::from_number(type_number).is_ok_and(SystemSemaphore::is_key_type_supported)
    }

    /// `acquire`: takes `n` permits for this process, waiting as long as it takes; they are its until it releases them, or
    /// ends. (Qt's takes one.) 0 does nothing.
    pub fn acquire(&self, n: i32) -> bool {
        self.acquire_until(n, None, &mut || false) == Waited::Acquired
    }

    /// The same, waiting no longer than until `deadline`, in a way that can be ended from outside: see
    /// [`SystemSemaphore::acquire_interruptible`].
    pub fn acquire_until(&self, n: i32, deadline: Option<Instant>, interrupted: Hook<'_>) -> Waited {
        let Some(count) = count(n, "acquire") else { return Waited::Failed };
        if count == 0 {
            return Waited::Acquired;
        }
        let Some(semaphore) = self.lock().semaphore() else { return Waited::Failed };
        // others may use this object meanwhile
        let outcome = match deadline {
            Some(at) if at <= Instant::now() => semaphore.try_acquire_many(count),
            _ => semaphore.acquire_interruptible(count, deadline, interrupted),
        };
        match outcome {
            Ok(permit) => {
                permit.detach();
                self.lock().succeed();
                Waited::Acquired
            }
            Err(error) => match error.kind() {
                ErrorKind::TimedOut | ErrorKind::NoPermits => {
                    self.lock().succeed();
                    Waited::TimedOut
                }
                ErrorKind::Interrupted => Waited::Interrupted,
                _ => {
                    self.lock().translate(&error, During::Acquire);
                    Waited::Failed
                }
            },
        }
    }

    /// `tryAcquire`, with the meaning that it has in `QSemaphore`: at most `timeout` milliseconds, without an end if that is
    /// negative. `false` without an error: there were not enough.
    pub fn try_acquire(&self, n: i32, timeout: i32) -> bool {
        self.acquire_until(n, Self::deadline(timeout), &mut || false) == Waited::Acquired
    }

    /// When so many milliseconds are over; never if they are negative.
    #[must_use]
    pub fn deadline(timeout: i32) -> Option<Instant> {
        u64::try_from(timeout).ok().map(|milliseconds| Instant::now() + Duration::from_millis(milliseconds))
    }

    /// `release`: gives back what this process holds, up to `n`, and creates the rest of `n`. 0 does nothing; a negative number
    /// is warned of on standard error and sets no error.
    pub fn release(&self, n: i32) -> bool {
        self.operate(n, "release", During::Release, |semaphore, count| {
            semaphore.release(count).map(|()| true)
        })
    }

    /// Gives up ownership of `n` permits that this process holds: they stay taken, also when it ends, until somebody releases
    /// as many. That is how a consumer takes an item for good. `false` if it held fewer, which are forgotten.
    pub fn forget(&self, n: i32) -> bool {
        self.operate(n, "forget", During::Release, |semaphore, count| {
            Ok(semaphore.forget_detached(count)? == count)
        })
    }

    /// How many permits are free; -1 on an error, which is set. (Windows does not tell.)
    pub fn available(&self) -> i64 {
        let mut state = self.lock();
        let Some(semaphore) = state.semaphore() else { return -1 };
        match semaphore.available_permits() {
            Ok(available) => {
                state.succeed();
                available.into()
            }
            Err(error) => {
                state.translate(&error, During::Ask);
                -1
            }
        }
    }

    /// `error`.
    #[must_use]
    pub fn error(&self) -> SemaphoreError {
        self.lock().error
    }

    /// `errorString`.
    #[must_use]
    pub fn error_string(&self) -> String {
        self.lock().error_string.clone()
    }

    /// The semaphore itself, opened if need be, for what Qt's class does not have; `None` after an error, which is set.
    #[must_use]
    pub fn semaphore(&self) -> Option<SystemSemaphore> {
        self.lock().semaphore()
    }

    fn operate(
        &self,
        n: i32,
        name: &str,
        during: During,
        operation: impl FnOnce(&SystemSemaphore, u32) -> Result<bool>,
    ) -> bool {
        let Some(count) = count(n, name) else { return false };
        if count == 0 {
            return true;
        }
        let mut state = self.lock();
        let Some(semaphore) = state.semaphore() else { return false };
        match operation(&semaphore, count) {
            Ok(done) => {
                state.succeed();
                done
            }
            Err(error) => {
                state.translate(&error, during);
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the systems say to a negative initial value: `EINVAL`, `ERROR_INVALID_PARAMETER`.
const INVALID_ARGUMENT: i32 = if cfg!(windows) { 87 } else { 22 };

/// A number of permits; a negative one is warned of as Qt does.
fn count(n: i32, function: &str) -> Option<u32> {
    let count = u32::try_from(n).ok();
    if count.is_none() {
        eprintln!("QSystemSemaphore::{function}: n is negative.");
    }
    count
}

impl State {
    /// The open semaphore. If opening it has failed, or was not asked for yet, it is tried again.
    fn semaphore(&mut self) -> Option<SystemSemaphore> {
        if self.semaphore.is_none() {
            self.open(AccessMode::Open);
        }
        self.semaphore.clone()
    }

    fn open(&mut self, mode: AccessMode) {
        let key_type = self.key.key_type();
        if self.key.is_empty() {
            self.fail(SemaphoreError::KeyError, handle_text(key_type, "key is empty"));
            return;
        }
        let key = match self.effective_key() {
            Ok(key) => key,
            Err(text) => return self.fail(SemaphoreError::KeyError, handle_text(key_type, &text)),
        };
        let (initial_value, mode) = match (u32::try_from(self.initial_value), key.key_type()) {
            (Ok(value), _) => (value, mode.into()),
            (Err(_), KeyType::Posix | KeyType::Windows) => {
                let text = handle_text(key_type, &unknown_number(INVALID_ARGUMENT));
                return self.fail(SemaphoreError::UnknownError, text);
            }
            // a negative one: a new semaphore has none, and one that is there keeps what it has
            (Err(_), _) => (0, system_semaphore::AccessMode::Open),
        };
        match SystemSemaphore::new(key, initial_value, mode) {
            Ok(semaphore) => self.semaphore = Some(semaphore),
            Err(error) => self.translate(&error, During::Open),
        }
    }

    /// The key that is opened, by the [engine](ENGINE_VARIABLE) that was asked for.
    fn effective_key(&self) -> std::result::Result<NativeIpcKey, String> {
        let engine = std::env::var_os(ENGINE_VARIABLE).unwrap_or_default();
        match engine.to_str() {
            Some("" | "native") => self.key.to_native().ok_or_else(|| "unsupported key type".to_owned()),
            Some("robust") => {
                let legacy = self.key.legacy_key();
                let name = if legacy.is_empty() { self.key.native_key() } else { legacy };
                Ok(NativeIpcKey::new(name, KeyType::Robust))
            }
            _ => Err(format!("{ENGINE_VARIABLE} is {engine:?}; it must be robust, native, or not set")),
        }
    }

    fn translate(&mut self, error: &system_semaphore::Error, during: During) {
        (self.error, self.error_string) = translate(error, during, self.key.key_type());
    }

    fn fail(&mut self, error: SemaphoreError, text: String) {
        (self.error, self.error_string) = (error, text);
    }

    fn succeed(&mut self) {
        self.fail(SemaphoreError::NoError, String::new());
    }
}

impl From<AccessMode> for system_semaphore::AccessMode {
    fn from(mode: AccessMode) -> Self {
        match mode {
            AccessMode::Open => Self::Open,
            // Qt's has no mode there, and uses what is there as it is
            AccessMode::Create if cfg!(windows) => Self::Open,
            AccessMode::Create => Self::Create,
        }
    }
}
