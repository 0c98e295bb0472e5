//! What can be seen of other processes.

use std::mem::MaybeUninit;
use std::ptr;

/// Whether the process seems to be alive: the list of robust mutexes that its first thread has told the kernel of is there. That goes before
/// anything else when it dies, and a zombie has none. `false` if it cannot be seen, as the list of a process of 64 bits cannot by one of 32.
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

    /// The child is this program, since to one of 32 bits all others seem to be dead.
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
        // its C library has to begin first
        wait_until("it lives", || seems_alive(child.id()));
        child.kill().expect("it lives");
        wait_until("it is a zombie", || !seems_alive(child.id()));
        child.wait().expect("it can be waited for");
        assert!(!seems_alive(child.id()));
    }
}
