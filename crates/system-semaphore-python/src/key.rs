//! Native keys.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use system_semaphore::{Key, KeyType, NativeIpcKey, SystemSemaphore};

/// The exact name of a semaphore in the operating system: a type and a name, as text "type:name".
#[pyclass(frozen, eq, hash, from_py_object, module = "system_semaphore")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct NativeKey(pub(crate) NativeIpcKey);

#[pymethods]
impl NativeKey {
    #[new]
    fn new(name: String, r#type: &str) -> PyResult<Self> {
        Ok(Self(NativeIpcKey::new(name, parse_type(r#type)?)))
    }

    /// Reads the text form.
    #[staticmethod]
    fn parse(text: &str) -> PyResult<Self> {
        text.parse()
            .map(Self)
            .map_err(|error: system_semaphore::Error| PyValueError::new_err(error.to_string()))
    }

    /// The name that the operating system is asked for.
    #[getter]
    fn name(&self) -> &str {
        self.0.native_key()
    }

    /// 'robust', 'systemv' (or 'systemv-1' to 'systemv-255'), 'posix' or 'windows'.
    #[getter]
    fn r#type(&self) -> String {
        self.0.key_type().to_string()
    }

    /// The plain name that it was derived from, if it was.
    #[getter]
    fn legacy_name(&self) -> Option<&str> {
        self.0.legacy_key()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("NativeKey.parse({:?})", self.0.to_string())
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<(Py<PyAny>, (String,))> {
        Ok((slf.get_type().getattr("parse")?.unbind(), (slf.get().__str__(),)))
    }
}

/// What a semaphore may be named by.
#[derive(FromPyObject)]
pub(crate) enum KeyArgument {
    #[pyo3(transparent, annotation = "str")]
    Name(String),
    #[pyo3(transparent, annotation = "NativeKey")]
    Native(NativeKey),
}

impl From<KeyArgument> for Key {
    fn from(key: KeyArgument) -> Self {
        match key {
            KeyArgument::Name(name) => name.into(),
            KeyArgument::Native(key) => key.0.into(),
        }
    }
}

/// A type by what its keys' texts begin with.
pub(crate) fn parse_type(name: &str) -> PyResult<KeyType> {
    let key: Result<NativeIpcKey, _> = format!("{name}:").parse();
    match key {
        Ok(key) if key.is_empty() => Ok(key.key_type()),
        _ => Err(PyValueError::new_err(format!(
            "{name:?} is no type of key; there are 'robust', 'systemv' ('systemv-1' to 'systemv-255'), 'posix' and 'windows'"
        ))),
    }
}

/// The native key of this type that keeps the name readable, as Qt's platformSafeKey makes it.
#[pyfunction]
pub(crate) fn platform_safe_key(name: &str, r#type: &str) -> PyResult<NativeKey> {
    Ok(NativeKey(system_semaphore::platform_safe_key(name, parse_type(r#type)?)))
}

/// The native key of this type that a plain name means, as Qt's legacyNativeKey makes it.
#[pyfunction]
pub(crate) fn legacy_native_key(name: &str, r#type: &str) -> PyResult<NativeKey> {
    Ok(NativeKey(system_semaphore::legacy_native_key(name, parse_type(r#type)?)))
}

/// Whether this platform has semaphores of this type.
#[pyfunction]
pub(crate) fn is_key_type_supported(r#type: &str) -> PyResult<bool> {
    Ok(SystemSemaphore::is_key_type_supported(parse_type(r#type)?))
}
