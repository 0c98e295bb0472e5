//! What functions answer, and the message of the last error.

#![allow(unsafe_code, reason = "exported names")]
#![allow(non_camel_case_types, reason = "these are the names in C")]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

use system_semaphore::{Error, ErrorKind};

/// How it went. The numbers up to 6 are those of QSystemSemaphore::SystemSemaphoreError.
///
/// syssem_last_error_message() tells more of an error. There may be more in later versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum syssem_status {
    /// It was done.
    SYSSEM_OK = 0,
    /// The semaphore belongs to another user, who has not allowed it.
    SYSSEM_PERMISSION_DENIED = 1,
    /// The key cannot name a semaphore.
    SYSSEM_KEY_ERROR = 2,
    /// A semaphore of that name is there, and SYSSEM_CREATE_NEW was asked.
    SYSSEM_ALREADY_EXISTS = 3,
    /// There is no such semaphore, or it was removed while in use.
    SYSSEM_NOT_FOUND = 4,
    /// A limit was met: the largest count, the number of semaphores, memory, descriptors.
    SYSSEM_OUT_OF_RESOURCES = 5,
    /// The operating system gave a reason that has no number of its own; the message tells.
    SYSSEM_UNKNOWN = 6,
    /// The time was over first; nothing was acquired.
    SYSSEM_TIMED_OUT = 7,
    /// It would have had to wait; nothing was acquired.
    SYSSEM_NO_PERMITS = 8,
    /// This type of semaphore cannot do that; see syssem_get_capabilities().
    SYSSEM_UNSUPPORTED = 9,
    /// What stands under that name is not a usable semaphore.
    SYSSEM_CORRUPT = 10,
    /// The caller's own function ended the wait; nothing was acquired.
    SYSSEM_INTERRUPTED = 11,
    /// An argument makes no sense: NULL where that is not allowed, or a text that is not UTF-8.
    SYSSEM_INVALID_ARGUMENT = 12,
    /// A defect of this library: it has not done what it was asked.
    SYSSEM_DEFECT = 13,
}

use syssem_status::*;

/// Why a function failed.
pub(crate) struct Failure {
    pub(crate) status: syssem_status,
    message: String,
    number: i32,
}

impl Failure {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: SYSSEM_INVALID_ARGUMENT, message: message.into(), number: 0 }
    }

    pub(crate) fn defect(message: impl Into<String>) -> Self {
        Self { status: SYSSEM_DEFECT, message: message.into(), number: 0 }
    }

    /// Leaves the message with this thread.
    pub(crate) fn note(self) -> syssem_status {
        let message = CString::new(self.message.replace('\0', "\\0")).unwrap_or_default();
        // a thread that is ending keeps no messages
        let _ = LAST.try_with(|last| *last.borrow_mut() = (message, self.number));
        self.status
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::PermissionDenied => SYSSEM_PERMISSION_DENIED,
            ErrorKind::KeyError => SYSSEM_KEY_ERROR,
            ErrorKind::AlreadyExists => SYSSEM_ALREADY_EXISTS,
            ErrorKind::NotFound => SYSSEM_NOT_FOUND,
            ErrorKind::OutOfResources => SYSSEM_OUT_OF_RESOURCES,
            ErrorKind::TimedOut => SYSSEM_TIMED_OUT,
            ErrorKind::NoPermits => SYSSEM_NO_PERMITS,
            ErrorKind::Unsupported => SYSSEM_UNSUPPORTED,
            ErrorKind::Corrupt => SYSSEM_CORRUPT,
            ErrorKind::Interrupted => SYSSEM_INTERRUPTED,
            _ => SYSSEM_UNKNOWN,
        };
        Self { status, message: error.to_string(), number: error.raw_os_error().unwrap_or(0) }
    }
}

thread_local! {
    static LAST: RefCell<(CString, i32)> = RefCell::default();
}

/// What went wrong when a function last answered other than SYSSEM_OK in this thread: the operation, the key, the reason
/// and, where there is something to do, what to do. Empty if nothing has. Each thread has its own.
///
/// The text stays until the next error of this thread, or its end.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_last_error_message() -> *const c_char {
    LAST.try_with(|last| last.borrow().0.as_ptr()).unwrap_or(c"".as_ptr())
}

/// The operating system's number (errno) for the last error of this thread, where it gave one; else 0.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_last_error_number() -> i32 {
    LAST.try_with(|last| last.borrow().1).unwrap_or(0)
}

/// A few words that say what a status is, for ever; NULL never.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_status_text(status: i32) -> *const c_char {
    const TEXTS: [&CStr; 14] = [
        c"done",
        c"permission denied",
        c"key error",
        c"already exists",
        c"not found",
        c"out of resources",
        c"unknown error",
        c"timed out",
        c"no permits",
        c"unsupported",
        c"corrupt",
        c"interrupted",
        c"invalid argument",
        c"defect of the library",
    ];
    let text = usize::try_from(status).ok().and_then(|status| TEXTS.get(status));
    text.unwrap_or(&c"unknown status").as_ptr()
}

/// The version of the library that is running, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn syssem_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no NUL"),
        };
    VERSION.as_ptr()
}
