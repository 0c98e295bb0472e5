//! Permits as guards.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use system_semaphore::OwnedPermit;

use crate::error::raise;
use crate::wait::count;

/// Permits taken from a semaphore. They go back at the end of a with statement, and when nobody has the guard any more.
#[pyclass(frozen, module = "system_semaphore")]
pub(crate) struct Permit {
    /// Only a thread that runs Python code has the lock, so that no fork of Python's finds it locked.
    guard: Mutex<Option<OwnedPermit>>,
}

impl Permit {
    pub(crate) fn new(guard: OwnedPermit) -> Self {
        Self { guard: Mutex::new(Some(guard)) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<OwnedPermit>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(
        &self,
        py: Python<'_>,
        end: impl FnOnce(OwnedPermit) -> system_semaphore::Result<()> + Send,
    ) -> PyResult<()> {
        let Some(guard) = self.lock().take() else { return Ok(()) };
        py.detach(|| end(guard)).map_err(|error| raise(py, &error))
    }
}

#[pymethods]
impl Permit {
    /// How many they are: 0 when they have gone, and in a forked child, where the guard is void.
    #[getter]
    fn num_permits(&self) -> u32 {
        self.lock().as_ref().map_or(0, OwnedPermit::num_permits)
    }

    /// Gives them back now. Does nothing if they have gone.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let mut guard = self.lock();
        if guard.as_mut().is_some_and(OwnedPermit::release_uncontended) {
            *guard = None;
            return Ok(());
        }
        drop(guard);
        self.end(py, OwnedPermit::release)
    }

    /// Gives up ownership: they stay taken, owed by nobody, until somebody creates as many.
    fn forget(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, OwnedPermit::forget)
    }

    /// Detaches the permits from this guard: the process holds them until Semaphore.release, or until it ends.
    fn detach(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, |guard| {
            guard.detach();
            Ok(())
        })
    }

    /// Makes a guard of its own of n of them.
    fn split(&self, n: i64) -> PyResult<Self> {
        let count = count(n)?;
        let part = self.lock().as_mut().and_then(|guard| guard.split(count));
        part.map(Self::new).ok_or_else(|| PyValueError::new_err("there are fewer permits in this guard"))
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.release(py)
    }

    fn __repr__(&self) -> String {
        format!("<Permit: {}>", self.num_permits())
    }
}
