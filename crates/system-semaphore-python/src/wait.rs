//! Waiting without blocking the interpreter.

use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;

/// Does what may wait while other threads run Python code. It gets a hook that ends the wait when a signal handler of
/// Python's has raised an exception, such as `KeyboardInterrupt`, which this returns then.
///
/// Python's handlers are installed without `SA_RESTART`, so that a signal wakes the main thread from its sleep and the hook
/// is asked at once; no polling is needed.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    wait: impl FnOnce(&mut dyn FnMut() -> bool) -> T + Send,
) -> PyResult<T> {
    let mut raised = None;
    let outcome = py.detach(|| {
        wait(&mut || match Python::try_attach(|py| py.check_signals()) {
            Some(Ok(())) => false,
            Some(Err(exception)) => {
                raised = Some(exception);
                true
            }
            // the interpreter has come to its end
            None => true,
        })
    });
    raised.map_or(Ok(outcome), Err)
}

/// How long to wait.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    None,
    For(Duration),
    Forever,
}

impl Patience {
    /// From what `acquire` is told, with the meaning that it has in `threading` and `multiprocessing`.
    pub(crate) fn new(blocking: bool, timeout: Option<f64>) -> PyResult<Self> {
        match timeout {
            Some(_) if !blocking => {
                Err(PyValueError::new_err("can't specify timeout for non-blocking acquire"))
            }
            Some(seconds) if seconds.is_nan() => Err(PyValueError::new_err("timeout is not a number")),
            None if blocking => Ok(Self::Forever),
            Some(seconds) if seconds > 0.0 => {
                Ok(Duration::try_from_secs_f64(seconds).map_or(Self::Forever, Self::For))
            }
            _ => Ok(Self::None),
        }
    }
}

/// A number of permits, of which there must be some.
pub(crate) fn count(n: i64) -> PyResult<u32> {
    if n < 1 {
        return Err(PyValueError::new_err("n must be one or more"));
    }
    u32::try_from(n).map_err(|_| PyOverflowError::new_err("n is too large"))
}
