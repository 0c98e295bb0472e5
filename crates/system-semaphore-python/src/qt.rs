//! What `qt.py` is made of: Qt's class with numbers for its enums.

use pyo3::prelude::*;
use system_semaphore_qt::{AccessMode, QNativeIpcKey, QSystemSemaphore, Waited};

use crate::wait::interruptible;

#[pyclass(eq, hash, frozen, from_py_object)]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct QtKey(QNativeIpcKey);

#[pymethods]
impl QtKey {
    #[new]
    fn new(native_key: String, type_number: u16) -> Self {
        Self(QNativeIpcKey::new(native_key, type_number))
    }

    #[staticmethod]
    fn default_type() -> u16 {
        QNativeIpcKey::default_type()
    }

    #[staticmethod]
    fn legacy_default_type() -> u16 {
        QNativeIpcKey::legacy_default_type()
    }

    #[staticmethod]
    fn platform_safe(name: &str, type_number: u16) -> Self {
        Self(QNativeIpcKey::platform_safe(name, type_number))
    }

    #[staticmethod]
    fn legacy(name: &str, type_number: u16) -> Self {
        Self(QNativeIpcKey::legacy(name, type_number))
    }

    #[staticmethod]
    fn from_text(text: &str) -> Self {
        Self(QNativeIpcKey::from_text(text))
    }

    fn to_text(&self) -> String {
        self.0.to_text()
    }

    fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn type_number(&self) -> u16 {
        self.0.type_number()
    }

    fn native_key(&self) -> &str {
        self.0.native_key()
    }

    fn with_type(&self, type_number: u16) -> Self {
        let mut key = self.0.clone();
        key.set_type(type_number);
        Self(key)
    }

    fn with_native_key(&self, native_key: &str) -> Self {
        let mut key = self.0.clone();
        key.set_native_key(native_key);
        Self(key)
    }
}

#[pyclass(frozen)]
pub(crate) struct QtSemaphore(QSystemSemaphore);

#[pymethods]
impl QtSemaphore {
    #[new]
    fn new(py: Python<'_>, key: QtKey, initial_value: i32, create: bool) -> Self {
        Self(py.detach(|| QSystemSemaphore::with_native_key(key.0, initial_value, mode(create))))
    }

    #[staticmethod]
    fn is_key_type_supported(type_number: u16) -> bool {
        QSystemSemaphore::is_key_type_supported(type_number)
    }

    fn set_native_key(&self, py: Python<'_>, key: QtKey, initial_value: i32, create: bool) {
        py.detach(|| self.0.set_native_key(key.0, initial_value, mode(create)));
    }

    /// Without a timeout it waits as long as it takes; a negative one is none.
    #[pyo3(signature = (n, timeout = None))]
    fn acquire(&self, py: Python<'_>, n: i32, timeout: Option<i32>) -> PyResult<bool> {
        let deadline = timeout.and_then(QSystemSemaphore::deadline);
        let waited = interruptible(py, |interrupted| self.0.acquire_until(n, deadline, interrupted))?;
        Ok(waited == Waited::Acquired)
    }

    fn release(&self, py: Python<'_>, n: i32) -> bool {
        py.detach(|| self.0.release(n))
    }

    fn forget(&self, py: Python<'_>, n: i32) -> bool {
        py.detach(|| self.0.forget(n))
    }

    fn available(&self, py: Python<'_>) -> i64 {
        py.detach(|| self.0.available())
    }

    fn key(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.key())
    }

    fn native_key(&self, py: Python<'_>) -> QtKey {
        QtKey(py.detach(|| self.0.native_key()))
    }

    fn error(&self, py: Python<'_>) -> u8 {
        py.detach(|| self.0.error() as u8)
    }

    fn error_string(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.error_string())
    }
}

fn mode(create: bool) -> AccessMode {
    if create { AccessMode::Create } else { AccessMode::Open }
}
