//! `Semaphore.acquire` and `release`, right from Python's call, if they are a matter of nanoseconds: PyO3's way to a method takes
//! longer than what these two do there.
//!
//! They stand before the methods of the same names that PyO3 has made, to which everything else goes on: permits that are not
//! to be had in a moment, errors, and odd arguments.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::{iter, ptr, slice};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple, PyType};

use crate::semaphore::Semaphore;
use crate::wait::{Patience, count};

/// What PyO3 has made.
struct Ordinary {
    acquire: Py<PyAny>,
    release: Py<PyAny>,
}

static ORDINARY: PyOnceLock<Ordinary> = PyOnceLock::new();

/// Puts the two methods into the class.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    ORDINARY.get_or_try_init(py, || {
        let class = py.get_type::<Semaphore>();
        Ok::<_, PyErr>(Ordinary {
            acquire: replace(&class, "acquire", acquire)?,
            release: replace(&class, "release", release)?,
        })
    })?;
    Ok(())
}

/// Puts a function into the class in the place of a method, under its name, signature and description; returns the method.
fn replace(
    class: &Bound<'_, PyType>,
    name: &str,
    function: ffi::PyCFunctionFastWithKeywords,
) -> PyResult<Py<PyAny>> {
    let method = class.getattr(name)?;
    let signature: String = method.getattr("__text_signature__")?.extract()?;
    let description: String = method.getattr("__doc__")?.extract()?;
    // what a descriptor is made of has to stay as long as it
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: CString::new(name)?.into_raw(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: CString::new(format!("{name}{signature}\n--\n\n{description}"))?.into_raw(),
    }));
    // SAFETY: a class, and a definition that stays, whose flags say what the function takes
    let made = unsafe { ffi::PyDescr_NewMethod(class.as_type_ptr(), definition) };
    // SAFETY: a new reference, or null with an exception
    let descriptor = unsafe { Bound::from_owned_ptr_or_err(class.py(), made) }?;
    class.setattr(name, descriptor)?;
    Ok(method.unbind())
}

unsafe extern "C" fn acquire(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let call = Call { this, arguments, count, keywords };
    // SAFETY: this is what Python calls, on an object of the class
    unsafe { call.answer(try_acquire_uncontended, |ordinary| &ordinary.acquire) }
}

unsafe extern "C" fn release(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let call = Call { this, arguments, count, keywords };
    // SAFETY: this is what Python calls, on an object of the class
    unsafe { call.answer(release_uncontended, |ordinary| &ordinary.release) }
}

#[inline(always)]
fn try_acquire_uncontended<'py>(
    py: Python<'py>,
    semaphore: &Semaphore,
    given: &Given<'_, 'py>,
) -> Option<Answer<'py>> {
    let [blocking, timeout, n] = given.find(["blocking", "timeout", "n"])?;
    let blocking = blocking.map_or(Some(true), |blocking| blocking.extract().ok())?;
    let timeout = timeout.map_or(Some(None), |timeout| timeout.extract().ok())?;
    Patience::new(blocking, timeout).ok()?;
    semaphore.try_acquire_uncontended(number(n)?).then(|| PyBool::new(py, true).to_owned().into_any())
}

#[inline(always)]
fn release_uncontended<'py>(
    py: Python<'py>,
    semaphore: &Semaphore,
    given: &Given<'_, 'py>,
) -> Option<Answer<'py>> {
    let [n] = given.find(["n"])?;
    semaphore.release_uncontended(number(n)?).then(|| py.None().into_bound(py))
}

fn number(n: Option<Argument<'_, '_>>) -> Option<u32> {
    n.map_or(Some(1), |n| count(n.extract().ok()?).ok())
}

type Answer<'py> = Bound<'py, PyAny>;
type Argument<'a, 'py> = Borrowed<'a, 'py, PyAny>;

/// What Python calls a method with: so many arguments by position, then as many as there are names of keywords.
struct Call {
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
}

/// The same as what it is.
struct Given<'a, 'py> {
    arguments: &'a [Argument<'a, 'py>],
    count: usize,
    keywords: Option<Borrowed<'a, 'py, PyTuple>>,
}

impl<'a, 'py> Given<'a, 'py> {
    /// The arguments of these names; `None` if they are not what the function takes.
    #[inline(always)]
    fn find<const N: usize>(&self, names: [&str; N]) -> Option<[Option<Argument<'a, 'py>>; N]> {
        let mut found = [None; N];
        let (positional, named) = self.arguments.split_at_checked(self.count)?;
        for (place, argument) in found.iter_mut().zip(positional) {
            *place = Some(*argument);
        }
        if positional.len() > N {
            return None;
        }
        if let Some(keywords) = self.keywords {
            for (keyword, argument) in keywords.iter_borrowed().zip(named) {
                let keyword = keyword.cast::<PyString>().ok()?;
                let keyword = keyword.to_str().ok()?;
                let place = &mut found[names.iter().position(|name| *name == keyword)?];
                if place.replace(*argument).is_some() {
                    return None;
                }
            }
        }
        Some(found)
    }
}

impl Call {
    /// What Python is to get: from what does it in a moment, if that can, else from what PyO3 has made.
    ///
    /// # Safety
    /// Python has called a method of the class with this, and waits for it to return.
    #[inline(always)]
    unsafe fn answer(
        &self,
        at_once: impl for<'py> FnOnce(Python<'py>, &Semaphore, &Given<'_, 'py>) -> Option<Answer<'py>>,
        ordinary: fn(&Ordinary) -> &Py<PyAny>,
    ) -> *mut ffi::PyObject {
        // SAFETY: Python has called, so the interpreter is attached
        let py = unsafe { Python::assume_attached() };
        // SAFETY: as the caller promised, null or an object, which whoever has called has a reference to
        let keywords = unsafe { Borrowed::from_ptr_or_opt(py, self.keywords) };
        // SAFETY: if it is an object, it is a tuple
        let keywords = keywords.map(|keywords| unsafe { keywords.cast_unchecked::<PyTuple>() });
        let count = self.count as usize;
        let total = count + keywords.map_or(0, |keywords| keywords.len());
        let arguments = if total == 0 {
            &[]
        } else {
            // SAFETY: so many objects, which whoever has called has references to; a `Borrowed` is a pointer to one
            unsafe { slice::from_raw_parts(self.arguments.cast::<Argument<'_, '_>>(), total) }
        };
        // SAFETY: the object that the method was called on
        let this = unsafe { Borrowed::from_ptr(py, self.this) };
        // SAFETY: the method's descriptor has looked that it is one
        let semaphore = unsafe { this.cast_unchecked::<Semaphore>() };
        let given = Given { arguments, count, keywords };
        match at_once(py, semaphore.get(), &given) {
            Some(answer) => answer.into_ptr(),
            None => go_on(ordinary, this, &given),
        }
    }
}

/// Calls what PyO3 has made, and returns what Python is to get.
#[cold]
fn go_on(
    method: fn(&Ordinary) -> &Py<PyAny>,
    this: Argument<'_, '_>,
    given: &Given<'_, '_>,
) -> *mut ffi::PyObject {
    // PyO3 is told that it is so
    Python::attach(|py| {
        let call = || {
            let method =
                ORDINARY.get(py).map(method).ok_or_else(|| PyRuntimeError::new_err("there is no method"))?;
            let (positional, named) = given.arguments.split_at(given.count);
            let positional: Vec<_> = iter::once(&this).chain(positional).collect();
            let values = PyDict::new(py);
            for (name, value) in given.keywords.iter().flat_map(|names| names.iter_borrowed()).zip(named) {
                values.set_item(name, value)?;
            }
            method.bind(py).call(PyTuple::new(py, positional)?, Some(&values))
        };
        call().map_or_else(
            |error: PyErr| {
                error.restore(py);
                ptr::null_mut()
            },
            Bound::into_ptr,
        )
    })
}
