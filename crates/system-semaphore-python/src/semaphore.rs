//! The semaphore as Python programmers know one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use system_semaphore::{
    AccessMode, Builder, ErrorKind, Holder, OwnedPermit, Permit as Guard, Result, SystemSemaphore,
};

use crate::error::{raise, types};
use crate::key::{KeyArgument, NativeKey, parse_type};
use crate::permit::Permit;
use crate::wait::{Patience, count, interruptible};

/// A counting semaphore shared by processes, named by a key.
#[pyclass(frozen, subclass, weakref, module = "system_semaphore")]
pub(crate) struct Semaphore {
    semaphore: SystemSemaphore,
    opening: Opening,
    /// What `with` statements hold. Guards, not detached permits: so that leaving one in a forked child, or after a reset, gives
    /// nothing back that is not owed. As for [`Permit`], only a thread that runs Python code has the lock.
    entered: Mutex<Vec<OwnedPermit>>,
}

/// What it was opened with, to open it so again where it is unpickled.
struct Opening {
    value: u32,
    max_permits: Option<u32>,
    permissions: Option<u32>,
    persistent: bool,
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (key, value = 1, *, mode = "open", r#type = None, max_permits = None, permissions = None, persistent = false))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        py: Python<'_>,
        key: KeyArgument,
        value: i64,
        mode: &str,
        r#type: Option<&str>,
        max_permits: Option<i64>,
        permissions: Option<u32>,
        persistent: bool,
    ) -> PyResult<Self> {
        let value = natural(value, "value")?;
        let max_permits = max_permits.map(|n| natural(n, "max_permits")).transpose()?;
        let mut builder =
            builder(key, r#type)?.initial_value(value).mode(parse_mode(mode)?).persistent(persistent);
        if let Some(permits) = max_permits {
            builder = builder.max_permits(permits);
        }
        if let Some(mode) = permissions {
            builder = builder.permissions(mode);
        }
        let semaphore = outside_python(py, || builder.build())?;
        let opening = Opening { value, max_permits, permissions, persistent };
        Ok(Self { semaphore, opening, entered: Mutex::default() })
    }

    /// Removes a semaphore from the system by its key, whoever uses it.
    #[staticmethod]
    #[pyo3(signature = (key, *, r#type = None))]
    fn remove(py: Python<'_>, key: KeyArgument, r#type: Option<&str>) -> PyResult<()> {
        let builder = builder(key, r#type)?;
        outside_python(py, || SystemSemaphore::remove(builder.native_key()?))
    }

    /// Acquires n detached permits, all or none: this process holds them until it releases them, or until it ends.
    ///
    /// Tells whether it did: False if there were not enough without blocking, or within timeout seconds.
    #[pyo3(signature = (blocking = true, timeout = None, n = 1))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: Option<f64>, n: i64) -> PyResult<bool> {
        // what takes no time was tried before: `direct`
        let (patience, count) = (Patience::new(blocking, timeout)?, count(n)?);
        match self.take(py, count, patience, |guard| guard.detach())? {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::NoPermits) => Ok(false),
            Err(error) => Err(raise(py, &error)),
        }
    }

    /// Takes n permits, all or none, and returns a guard of them, for a with statement or to be kept.
    ///
    /// Raises TimedOutError, a TimeoutError, after timeout seconds.
    #[pyo3(signature = (n = 1, timeout = None))]
    fn permits(&self, py: Python<'_>, n: i64, timeout: Option<f64>) -> PyResult<Permit> {
        self.guard(py, n, Patience::new(true, timeout)?).map(Permit::new)
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        let guard = self.guard(py, 1, Patience::Forever)?;
        self.entered().push(guard);
        Ok(true)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        let Some(mut guard) = self.entered().pop() else { return Ok(()) };
        if guard.release_uncontended() { Ok(()) } else { outside_python(py, || guard.release()) }
    }

    /// Releases up to n detached permits of this process, and adds the rest of n.
    #[pyo3(signature = (n = 1))]
    fn release(&self, py: Python<'_>, n: i64) -> PyResult<()> {
        let count = count(n)?;
        outside_python(py, || self.semaphore.release(count))
    }

    /// Creates n permits: a post that never gives back what this process holds.
    #[pyo3(signature = (n = 1))]
    fn add_permits(&self, py: Python<'_>, n: i64) -> PyResult<()> {
        let count = count(n)?;
        outside_python(py, || self.semaphore.add_permits(count))
    }

    /// Forgets up to n detached permits of this process, and returns their number.
    ///
    /// They stay acquired when the process ends, and no process holds them: that is how a consumer takes an item for good.
    #[pyo3(signature = (n = 1))]
    fn forget_detached(&self, py: Python<'_>, n: i64) -> PyResult<u32> {
        let count = count(n)?;
        outside_python(py, || self.semaphore.forget_detached(count))
    }

    /// The number of detached permits of this process: acquired, and neither released nor forgotten.
    #[getter]
    fn detached(&self, py: Python<'_>) -> u32 {
        py.detach(|| self.semaphore.detached_permits())
    }

    /// How many permits are free at this moment.
    #[getter]
    fn available(&self, py: Python<'_>) -> PyResult<u32> {
        outside_python(py, || self.semaphore.available_permits())
    }

    /// What available is, under the name that it has in multiprocessing.
    fn get_value(&self, py: Python<'_>) -> PyResult<u32> {
        self.available(py)
    }

    /// How many threads, of all processes, wait at this moment.
    #[getter]
    fn waiting(&self, py: Python<'_>) -> PyResult<u32> {
        outside_python(py, || self.semaphore.waiting())
    }

    /// How many holders have died and had their permits given back so far.
    ///
    /// Who guards data compares it before and after: what a dead holder guarded may be half written.
    #[getter]
    fn recoveries(&self, py: Python<'_>) -> PyResult<u64> {
        outside_python(py, || self.semaphore.recoveries())
    }

    /// Who holds how many permits.
    fn holders<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let holders = outside_python(py, || self.semaphore.holders())?;
        holders.into_iter().map(|holder| python_holder(py, holder)).collect()
    }

    /// The plain name that it was opened by; empty if it was a native key.
    #[getter]
    fn key(&self) -> &str {
        self.semaphore.key()
    }

    /// The exact name in the operating system.
    #[getter]
    fn native_key(&self) -> NativeKey {
        NativeKey(self.semaphore.native_key().clone())
    }

    /// Pickles by the key.
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((NativeKey, u32), Bound<'py, PyDict>)> {
        let Opening { value, max_permits, permissions, persistent } = self.opening;
        let keywords = PyDict::new(py);
        keywords.set_item("max_permits", max_permits)?;
        keywords.set_item("permissions", permissions)?;
        keywords.set_item("persistent", persistent)?;
        Ok(((self.native_key(), value), keywords))
    }

    fn __repr__(&self) -> String {
        format!("<Semaphore {:?}>", self.semaphore.native_key().to_string())
    }
}

impl Semaphore {
    /// Acquires detached permits if the fast path can, and returns whether it did.
    #[inline(always)]
    pub(crate) fn try_acquire_uncontended(&self, count: u32) -> bool {
        self.semaphore.try_acquire_uncontended(count).map(Guard::detach).is_some()
    }

    /// Releases detached permits if the fast path can, and returns whether it did.
    #[inline(always)]
    pub(crate) fn release_uncontended(&self, count: u32) -> bool {
        self.semaphore.release_uncontended(count)
    }

    /// Acquires where that may take time, and does something with the guard before the interpreter goes on.
    #[cold]
    fn take<T: Send>(
        &self,
        py: Python<'_>,
        count: u32,
        patience: Patience,
        then: impl FnOnce(Guard<'_>) -> T + Send,
    ) -> PyResult<Result<T>> {
        let semaphore = &self.semaphore;
        let end = match patience {
            Patience::For(timeout) => Instant::now().checked_add(timeout),
            Patience::None | Patience::Forever => None,
        };
        interruptible(py, |interrupted| {
            let guard = match patience {
                Patience::None => semaphore.try_acquire_many(count),
                // an end too far for the clock is none
                Patience::For(_) | Patience::Forever => {
                    semaphore.acquire_interruptible(count, end, interrupted)
                }
            };
            guard.map(then)
        })
    }

    fn guard(&self, py: Python<'_>, n: i64, patience: Patience) -> PyResult<OwnedPermit> {
        let count = count(n)?;
        match self.semaphore.try_acquire_uncontended(count) {
            Some(guard) => Ok(guard.into_owned()),
            None => {
                self.take(py, count, patience, |guard| guard.into_owned())?.map_err(|error| raise(py, &error))
            }
        }
    }

    fn entered(&self) -> MutexGuard<'_, Vec<OwnedPermit>> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does something that may have to wait for other processes a moment, while other threads run Python code.
fn outside_python<T: Send>(py: Python<'_>, operation: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(operation).map_err(|error| raise(py, &error))
}

fn builder(key: KeyArgument, key_type: Option<&str>) -> PyResult<Builder> {
    let builder = SystemSemaphore::builder(key);
    Ok(match key_type {
        Some(name) => builder.key_type(parse_type(name)?),
        None => builder,
    })
}

fn parse_mode(name: &str) -> PyResult<AccessMode> {
    match name {
        "open" => Ok(AccessMode::Open),
        "create" => Ok(AccessMode::Create),
        "create_new" => Ok(AccessMode::CreateNew),
        "open_existing" => Ok(AccessMode::OpenExisting),
        _ => Err(PyValueError::new_err(format!(
            "{name:?} is no mode; there are 'open', 'create', 'create_new' and 'open_existing'"
        ))),
    }
}

fn natural(n: i64, what: &str) -> PyResult<u32> {
    u32::try_from(n)
        .map_err(|_| PyValueError::new_err(format!("{what} must be from 0 to 2147483647, not {n}")))
}

/// `_types.Holder`.
pub(crate) fn python_holder(py: Python<'_>, holder: Holder) -> PyResult<Bound<'_, PyAny>> {
    types(py)?.call_method1("Holder", (holder.pid, holder.command, holder.permits, holder.since))
}
