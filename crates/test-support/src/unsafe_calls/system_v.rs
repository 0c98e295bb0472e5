//! System V calls as a stranger makes them, behind the library's back.

use std::ffi::{CString, c_int};
use std::io;

use crate::wait_until;

/// Makes the set of this key file, and leaves it as it comes: count 0, never operated on.
pub fn make_set(path: &str, project: u8) -> c_int {
    // another test may be about to remove a set whose file had the same number
    let mut set = -1;
    wait_until("an old set of the same file number goes", || {
        set = get(path, project, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL);
        set != -1
    });
    set
}

/// The set of this key file.
pub fn find_set(path: &str, project: u8) -> c_int {
    let set = get(path, project, 0);
    assert_ne!(set, -1, "semget: {}", io::Error::last_os_error());
    set
}

fn get(path: &str, project: u8, flags: c_int) -> c_int {
    let path = CString::new(path).expect("it has no NUL");
    // SAFETY: the path is a C string
    let key = unsafe { libc::ftok(path.as_ptr(), c_int::from(project)) };
    assert_ne!(key, -1, "ftok: {}", io::Error::last_os_error());
    // SAFETY: takes plain numbers
    unsafe { libc::semget(key, 1, flags) }
}

/// `SETVAL`.
pub fn set_value(set: c_int, value: c_int) {
    // SAFETY: SETVAL takes an int
    let result = unsafe { libc::semctl(set, 0, libc::SETVAL, value) };
    assert_ne!(result, -1, "semctl: {}", io::Error::last_os_error());
}

/// A `semop` that adds to the count for good.
pub fn add(set: c_int, count: i16) {
    let mut operation = libc::sembuf { sem_num: 0, sem_op: count, sem_flg: 0 };
    // SAFETY: the operation is live, and its number is given
    let result = unsafe { libc::semop(set, &mut operation, 1) };
    assert_ne!(result, -1, "semop: {}", io::Error::last_os_error());
}

/// `IPC_RMID`, as `ipcrm` does it.
pub fn remove_set(set: c_int) {
    // SAFETY: IPC_RMID takes no further argument
    let result = unsafe { libc::semctl(set, 0, libc::IPC_RMID) };
    assert_ne!(result, -1, "semctl: {}", io::Error::last_os_error());
}
