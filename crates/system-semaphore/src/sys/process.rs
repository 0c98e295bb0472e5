//! What a process can see of other processes.

use std::mem::MaybeUninit;
use std::ptr;

/// Returns whether the process appears alive: the list of robust mutexes that its first thread has
/// registered exists.
///
/// A dying process loses the list before anything else, and a zombie has none. Returns `false` if
/// the caller cannot see the list. A process of 32 bits cannot see that of one of 64 bits.
pub(crate) fn seems_alive(pid: u32) -> bool {
    let mut list = MaybeUninit::<*const u8>::new(ptr::null());
    let mut length = MaybeUninit::<usize>::new(0);
    // SAFETY: writes an address, which is only compared, and a length, into live memory
    let result =
        unsafe { libc::syscall(libc::SYS_get_robust_list, pid, list.as_mut_ptr(), length.as_mut_ptr()) };
    // SAFETY: initialized above, whatever the call did
    result == 0 && !unsafe { list.assume_init() }.is_null()
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::stdin;
    use std::process::{Command, Stdio, id};

    use test_support::wait_until;

    use super::seems_alive;

    const CHILD: &str = "SYSTEM_SEMAPHORE_TEST_CHILD";

    /// The child is this program, because all others appear dead to a program of 32 bits.
    #[test]
    fn living_process_differs_from_dead_one() {
        if env::var_os(CHILD).is_some() {
            let _ = stdin().read_line(&mut String::new());
            return;
        }
        assert!(seems_alive(id()));
        let mut child = Command::new(env::current_exe().expect("it is known"));
        child.args(["living_process_differs_from_dead_one", "--nocapture"]).env(CHILD, "");
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it can be started");
        // the child's C library has to start first
        wait_until("it lives", || seems_alive(child.id()));
        child.kill().expect("it lives");
        wait_until("it is a zombie", || !seems_alive(child.id()));
        child.wait().expect("it can be waited for");
        assert!(!seems_alive(child.id()));
    }
}
