//! System V calls as a stranger makes them, behind the library's back.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int};
use std::io;

/// Makes the set of this key file, and leaves it as it comes: count 0, never operated on.
pub fn make_set(path: &str, project: u8) -> c_int {
    get(path, project, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL)
}

/// The set of this key file.
pub fn find_set(path: &str, project: u8) -> c_int {
    get(path, project, 0)
}

fn get(path: &str, project: u8, flags: c_int) -> c_int {
    let path = CString::new(path).expect("it has no NUL");
    // SAFETY: the path is a C string
    let key = unsafe { libc::ftok(path.as_ptr(), c_int::from(project)) };
    assert_ne!(key, -1, "ftok: {}", io::Error::last_os_error());
    // SAFETY: takes plain numbers
    let set = unsafe { libc::semget(key, 1, flags) };
    assert_ne!(set, -1, "semget: {}", io::Error::last_os_error());
    set
}

/// `SETVAL`.
pub fn set_value(set: c_int, value: c_int) {
    // SAFETY: SETVAL takes an int
    let result = unsafe { libc::semctl(set, 0, libc::SETVAL, value) };
    assert_ne!(result, -1, "semctl: {}", io::Error::last_os_error());
}
