//! Signals and forks.

use std::ffi::{c_int, c_uint};
use std::io::{Read, Write};
use std::mem::zeroed;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{process, wait_until};

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

/// Sends a signal.
pub(crate) fn send(pid: u32, signal: c_int) {
    // SAFETY: takes plain numbers
    let result = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(result, 0, "process {pid} can be signalled");
}

/// Kills a process that a puppet has started, and waits until it is gone.
pub fn kill_stray(pid: u32) {
    send(pid, libc::SIGKILL);
    wait_until(format_args!("process {pid} is gone"), || process::is_gone(pid));
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

/// Forks: `None` in the child; the parent waits for its end, and has its status.
pub(crate) fn fork_and_wait() -> std::io::Result<Option<c_int>> {
    // SAFETY: a puppet's other threads, if it has any, wait or sleep at a fork
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => Ok(None),
        pid => {
            let mut status = 0;
            // SAFETY: the status is live
            let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
            assert_eq!(waited, pid, "the child can be waited for");
            Ok(Some(status))
        }
    }
}

/// Forks a child that does something, says whether that went well, and then lives until the driver lets go. Its pid.
pub(crate) fn fork_bystander(child: impl FnOnce() -> bool) -> Option<u32> {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe can be made");
    // SAFETY: the child does nothing that another thread of this process could have made unsafe: a puppet's threads,
    // if it has any, wait or sleep at a fork
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork: {}", std::io::Error::last_os_error()),
        0 => {
            if child() {
                let _ = writer.write_all(b"!");
            }
            drop(writer);
            live_until_let_go()
        }
        pid => {
            drop(writer);
            let is_well = reader.read_exact(&mut [0]).is_ok();
            is_well.then_some(pid as u32)
        }
    }
}

/// Forks; `true` in the child.
pub(crate) fn fork_successor() -> bool {
    // SAFETY: a puppet has one thread while it hands over
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork: {}", std::io::Error::last_os_error()),
        pid => pid == 0,
    }
}

/// Does nothing until the other end of the standard input is closed.
pub(crate) fn live_until_let_go() -> ! {
    loop {
        let mut input = libc::pollfd { fd: 0, events: 0, revents: 0 };
        // SAFETY: one live entry
        unsafe { libc::poll(&mut input, 1, -1) };
        if input.revents != 0 {
            exit_at_once(0);
        }
    }
}

/// As a start-up loop of a daemon does it.
pub(crate) fn close_all_but_the_standard_descriptors() {
    // SAFETY: nothing of a puppet's own is behind the first three; what others lose by this is what is tested
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, c_uint::MAX, 0) };
    assert_eq!(result, 0, "descriptors can be closed");
}

/// Takes another user's identity.
pub(crate) fn become_user(user: u32) {
    // SAFETY: takes plain numbers
    let result = unsafe { libc::setgid(user) };
    assert_eq!(result, 0, "this was root");
    // SAFETY: takes plain numbers
    let result = unsafe { libc::setuid(user) };
    assert_eq!(result, 0, "this was root");
}

/// From here on every system call but the one that ends the process kills it.
pub(crate) fn allow_nothing_but_to_exit() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        // the number of the call
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, libc::SYS_exit_group as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let set = |option, value: usize| {
        // SAFETY: plain numbers
        let result = unsafe { libc::prctl(option, value, 0, 0, 0) };
        assert_eq!(result, 0, "prctl: {}", std::io::Error::last_os_error());
    };
    // a violation leaves no core file
    set(libc::PR_SET_DUMPABLE, 0);
    set(libc::PR_SET_NO_NEW_PRIVS, 1);
    // SAFETY: the program and its steps are live, and the kernel copies them
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::from_ref(&program)) };
    assert_eq!(result, 0, "seccomp: {}", std::io::Error::last_os_error());
}

/// Ends the process without doing anything else.
pub(crate) fn exit_at_once(code: c_int) -> ! {
    // SAFETY: ends the process
    unsafe { libc::_exit(code) }
}

/// SIGKILLs this process.
pub(crate) fn die() -> ! {
    send(std::process::id(), libc::SIGKILL);
    loop {
        std::thread::park();
    }
}
