//! What crosses between C and Rust: calls, arguments, places for results.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

use crate::status::{Failure, syssem_status};

/// Runs what a function does, and turns how it went into its answer.
pub(crate) fn call(body: impl FnOnce() -> Result<(), Failure>) -> syssem_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => syssem_status::SYSSEM_OK,
        Ok(Err(failure)) => failure.note(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            let failure = Failure::defect(format!("a defect of system-semaphore: {text}"));
            // a payload may panic when it is dropped
            std::mem::forget(panic);
            failure.note()
        }
    }
}

/// The same for a function that answers with a value: this one if it fails.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> Result<T, Failure>) -> T {
    let mut value = otherwise;
    call(|| {
        value = body()?;
        Ok(())
    });
    value
}

/// What an argument points to, which must be there.
pub(crate) fn given<T>(argument: Option<T>, name: &str) -> Result<T, Failure> {
    argument.ok_or_else(|| Failure::invalid(format!("the argument {name:?} is NULL")))
}

/// A text that ends with a NUL, in UTF-8.
///
/// # Safety
/// It is NULL, or NUL-terminated and unchanged for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return given(None, name);
    }
    // SAFETY: it is not NULL, so it is as the caller promised
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::invalid(format!("the argument {name:?} is not UTF-8")))
}

/// A text of so many bytes, as Qt reads it: what is not UTF-8 becomes U+FFFD. NULL is an empty one.
///
/// # Safety
/// It is NULL, or so many bytes can be read there.
pub(crate) unsafe fn sized_text(text: *const c_char, length: usize) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: it is not NULL, so it is as the caller promised
    let bytes = unsafe { slice::from_raw_parts(text.cast::<u8>(), length) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a result to its place.
pub(crate) fn put<T>(place: Option<&mut MaybeUninit<T>>, value: T, name: &str) -> Result<(), Failure> {
    given(place, name)?.write(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{call, value};
    use crate::status::{syssem_last_error_message, syssem_status};

    #[test]
    fn a_panic_becomes_a_status_and_a_message() {
        assert_eq!(call(|| panic!("at {}", 7)), syssem_status::SYSSEM_DEFECT);
        // SAFETY: it is NUL-terminated and stays until the next error of this thread
        let message = unsafe { std::ffi::CStr::from_ptr(syssem_last_error_message()) };
        assert_eq!(message, c"a defect of system-semaphore: at 7");
        assert_eq!(value(5, || panic!()), 5);
    }
}
