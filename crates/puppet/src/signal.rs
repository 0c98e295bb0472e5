//! Signals and forks, for which there is no safe call.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::mem::zeroed;
use std::sync::atomic::{AtomicU32, Ordering};

static ARRIVED: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(_: c_int) {
    ARRIVED.fetch_add(1, Ordering::SeqCst);
}

/// Counts SIGUSR1 from now on, letting it interrupt system calls.
pub(crate) fn count_user_signals() {
    // SAFETY: all zeros is a valid action: the default one, no flags, an empty mask
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = note as *const () as usize;
    // SAFETY: the action is live, and its handler does nothing but an atomic addition
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0, "SIGUSR1 can be handled");
}

/// How many SIGUSR1 have come.
pub(crate) fn user_signals() -> u32 {
    ARRIVED.load(Ordering::SeqCst)
}

/// Sends SIGUSR1.
pub(crate) fn send_user_signal(pid: u32) {
    // SAFETY: takes plain numbers
    let result = unsafe { libc::kill(pid as libc::pid_t, libc::SIGUSR1) };
    assert_eq!(result, 0, "process {pid} can be signalled");
}

/// Runs `child` in a forked child, which exits with what it returns, and returns the exit code.
pub(crate) fn in_forked_child(child: impl FnOnce() -> u8) -> i32 {
    // SAFETY: a puppet has one thread while it serves, so its child may do anything
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork: {}", std::io::Error::last_os_error()),
        0 => {
            let code = child();
            // SAFETY: ends the process at once, so that nothing of the parent's is run a second time
            unsafe { libc::_exit(c_int::from(code)) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: the status is live
            let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
            assert_eq!(waited, pid, "the child can be waited for");
            libc::WEXITSTATUS(status)
        }
    }
}

/// Ends the process as C's `exit` does: nothing of Rust's is dropped.
pub(crate) fn exit() -> ! {
    std::process::exit(0)
}
