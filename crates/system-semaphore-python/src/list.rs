//! What is there.

use pyo3::prelude::*;
use system_semaphore::{Listed, Owners};

use crate::error::{raise, types};
use crate::key::NativeKey;
use crate::semaphore::python_holder;

/// The semaphores on this machine that are this user's, or all users'. `UnsupportedError` where the platform does not tell.
#[pyfunction]
#[pyo3(signature = (*, all_users = false))]
pub(crate) fn list(py: Python<'_>, all_users: bool) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let owners = if all_users { Owners::All } else { Owners::User };
    let listed = py.detach(|| system_semaphore::list(owners)).map_err(|error| raise(py, &error))?;
    listed.into_iter().map(|listed| python_listed(py, listed)).collect()
}

/// `_types.Listed`. What cannot be seen, or not any more, is `None`.
fn python_listed(py: Python<'_>, listed: Listed) -> PyResult<Bound<'_, PyAny>> {
    let snapshot = listed.snapshot.ok();
    let holders = snapshot.as_ref().and_then(|sight| sight.holders.clone());
    let holders = holders.map(|holders| {
        holders.into_iter().map(|holder| python_holder(py, holder)).collect::<PyResult<Vec<_>>>()
    });
    let arguments = (
        listed.native_key.map(NativeKey),
        listed.key_type.to_string(),
        listed.name,
        listed.path,
        listed.owner,
        snapshot.as_ref().map(|sight| sight.available),
        holders.transpose()?,
        snapshot.as_ref().and_then(|sight| sight.waiting),
    );
    types(py)?.call_method1("Listed", arguments)
}
