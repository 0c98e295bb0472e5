//! The module that contains all unsafe code of these tests: system calls that std has not.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_ulong};
use std::fs;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use test_support::robust_file::effective_uid;

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn c_string(bytes: impl AsRef<[u8]>) -> CString {
    CString::new(bytes.as_ref()).expect("it has no NUL")
}

fn c_path(path: &Path) -> CString {
    c_string(path.as_os_str().as_bytes())
}

fn effective_gid() -> u32 {
    // SAFETY: takes nothing and cannot fail
    unsafe { libc::getegid() }
}

/// Becomes another user, for good.
pub(crate) fn become_user(uid: u32) -> io::Result<()> {
    if effective_uid() == uid {
        return Ok(());
    }
    // SAFETY: an empty list
    check(unsafe { libc::setgroups(0, ptr::null()) })?;
    // SAFETY: takes plain numbers
    check(unsafe { libc::setresgid(uid, uid, uid) })?;
    // SAFETY: takes plain numbers
    check(unsafe { libc::setresuid(uid, uid, uid) })?;
    let dumpable: c_ulong = 1;
    // else /proc/self belongs to root, which is not so after a login
    // SAFETY: takes plain numbers
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable) }).map(drop)
}

/// Gives up the rights that a user namespace has given.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = [0u32; 6];
    // SAFETY: the header is of the version that has two blocks of three words, and both are live
    let result = unsafe { libc::syscall(libc::SYS_capset, &header, &none) };
    check(result as c_int).map(drop)
}

/// Enters a user namespace in which this user has the same number and all rights. The process must have one thread.
pub(crate) fn enter_user_namespace() -> io::Result<()> {
    enter(libc::CLONE_NEWUSER)
}

fn enter(kind: c_int) -> io::Result<()> {
    let (uid, gid) = (effective_uid(), effective_gid());
    // SAFETY: takes a plain number
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | kind) })?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Enters a mount namespace, from which nothing gets out. The process must have one thread.
pub(crate) fn enter_mount_namespace() -> io::Result<()> {
    // SAFETY: takes a plain number
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } == -1 {
        enter(libc::CLONE_NEWNS)?;
    }
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, "")
}

fn mount(from: Option<&Path>, to: &Path, kind: Option<&str>, flags: c_ulong, data: &str) -> io::Result<()> {
    let (to, data) = (c_path(to), c_string(data));
    let (from, kind) = (from.map(c_path), kind.map(c_string));
    let from = from.as_ref().map_or(ptr::null(), |from| from.as_ptr());
    let kind = kind.as_ref().map_or(ptr::null(), |kind| kind.as_ptr());
    // SAFETY: null or live C strings
    check(unsafe { libc::mount(from, to.as_ptr(), kind, flags, data.as_ptr().cast()) }).map(drop)
}

pub(crate) fn mount_tmpfs(to: &Path, options: &str) -> io::Result<()> {
    mount(Some(Path::new("tmpfs")), to, Some("tmpfs"), 0, options)
}

/// Lets `to` show what is at `from`.
pub(crate) fn bind(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, None, libc::MS_BIND, "")
}

/// Sets how much of something a process may have from now on.
pub(crate) fn limit(pid: u32, resource: libc::__rlimit_resource_t, soft: u64) {
    // SAFETY: all zeros is a valid limit
    let mut limit: libc::rlimit64 = unsafe { zeroed() };
    let pid = pid as libc::pid_t;
    // SAFETY: the limit is live
    check(unsafe { libc::prlimit64(pid, resource, ptr::null(), &mut limit) }).expect("limits can be read");
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: the limit is live
    check(unsafe { libc::prlimit64(pid, resource, &limit, ptr::null_mut()) }).expect("limits can be set");
}

/// Kills a process group.
pub(crate) fn kill_group(group: u32) {
    // SAFETY: takes plain numbers
    unsafe { libc::kill(-(group as libc::pid_t), libc::SIGKILL) };
}

/// Whether a child has ended; it is still to be waited for.
pub(crate) fn has_ended(child: u32) -> bool {
    // SAFETY: all zeros is valid
    let mut info: libc::siginfo_t = unsafe { zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the info is live
    check(unsafe { libc::waitid(libc::P_PID, child, &mut info, options) }).expect("it is a child");
    info.si_signo == libc::SIGCHLD
}

pub(crate) fn make_fifo(path: &Path) -> io::Result<()> {
    // SAFETY: a live C string
    check(unsafe { libc::mkfifo(c_path(path).as_ptr(), 0o600) }).map(drop)
}

/// Makes a device like `/dev/null`.
pub(crate) fn make_device(path: &Path) -> io::Result<()> {
    // SAFETY: a live C string
    check(unsafe { libc::mknod(c_path(path).as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 3)) }).map(drop)
}

pub(crate) fn set_umask(mask: u32) {
    // SAFETY: takes a plain number and cannot fail
    unsafe { libc::umask(mask) };
}

/// One more inotify instance, if there is one.
pub(crate) fn inotify_instance() -> io::Result<OwnedFd> {
    // SAFETY: takes a plain number
    let descriptor = check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) })?;
    // SAFETY: just made, and nobody else's
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Writes to a descriptor, whatever it is.
pub(crate) fn write(number: RawFd, text: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer is live
    let written = unsafe { libc::write(number, text.as_ptr().cast(), text.len()) };
    if written == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether a program that this process becomes does not inherit the descriptor.
pub(crate) fn is_closed_on_exec(number: RawFd) -> bool {
    // SAFETY: takes plain numbers
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) }).expect("it is open");
    flags & libc::FD_CLOEXEC != 0
}

/// Standard descriptors that are closed until this is dropped.
pub(crate) struct StandardDescriptors(Vec<(RawFd, OwnedFd)>);

impl StandardDescriptors {
    pub(crate) fn close(numbers: &[RawFd]) -> Self {
        let close = |number: &RawFd| {
            // SAFETY: takes plain numbers
            let kept = check(unsafe { libc::fcntl(*number, libc::F_DUPFD_CLOEXEC, 10) }).expect("it is open");
            // SAFETY: the case that runs in this process uses none of them until this is dropped
            check(unsafe { libc::close(*number) }).expect("it is open");
            // SAFETY: just made, and nobody else's
            (*number, unsafe { OwnedFd::from_raw_fd(kept) })
        };
        Self(numbers.iter().map(close).collect())
    }
}

impl Drop for StandardDescriptors {
    fn drop(&mut self) {
        for (number, kept) in &self.0 {
            // SAFETY: takes plain numbers; the number was closed by `close`
            check(unsafe { libc::dup2(kept.as_raw_fd(), *number) }).expect("it was open");
        }
    }
}
