//! The library's errors as Python's exceptions, whose classes are in `_types.py`.

use pyo3::prelude::*;
use system_semaphore::{Error, ErrorKind};

/// The module with the classes that are written in Python.
pub(crate) fn types(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("system_semaphore._types")
}

/// The exception that says the same.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let made = types(py).and_then(|types| {
        let arguments = (name(error.kind()), error.raw_os_error(), error.to_string(), error.key());
        types.call_method1("error_of", arguments)
    });
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// What `error_of` knows the kind by.
fn name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied => "PermissionDenied",
        ErrorKind::KeyError => "Key",
        ErrorKind::AlreadyExists => "AlreadyExists",
        ErrorKind::NotFound => "NotFound",
        ErrorKind::OutOfResources => "OutOfResources",
        ErrorKind::TimedOut => "TimedOut",
        ErrorKind::NoPermits => "NoPermits",
        ErrorKind::Unsupported => "Unsupported",
        ErrorKind::Corrupt => "Corrupt",
        _ => "Unknown",
    }
}
