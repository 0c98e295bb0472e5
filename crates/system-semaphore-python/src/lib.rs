//! The native half of the Python package `system_semaphore`.
//!
//! It adds Python's manners to the two Rust crates and nothing else: whatever may take time lets the interpreter's other
//! threads run, and a wait answers signals ([`wait`]). To let them run costs more than an operation, so what is a matter of
//! nanoseconds (`try_acquire_uncontended`, `release_uncontended`) is tried first. What Python programmers see is in
//! `python/system_semaphore`.

mod direct;
mod error;
mod key;
mod list;
mod permit;
mod qt;
mod semaphore;
mod wait;

use pyo3::prelude::*;

/// What `system_semaphore/__init__.py` and `qt.py` are made of.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::key::{NativeKey, is_key_type_supported, legacy_native_key, platform_safe_key};
    #[pymodule_export]
    use crate::list::list;
    #[pymodule_export]
    use crate::permit::Permit;
    #[pymodule_export]
    use crate::qt::{QtKey, QtSemaphore};
    #[pymodule_export]
    use crate::semaphore::Semaphore;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::direct::install(module.py())
    }
}
