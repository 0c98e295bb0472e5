//! System calls: how they are told apart, and how each can fail.

use std::fmt;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use test_support::ptrace::Memory;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Role {
    /// The thread that does as it is told.
    Main,
    /// A thread that the library has started.
    Thread,
    /// A forked child.
    Child,
}

/// A call that the scene makes, in a way that the same call of the next run is known again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) role: Role,
    /// How many answers the subject had given. Threads go on beside that, so for theirs it does not count.
    pub(super) step: usize,
    pub(super) name: &'static str,
    /// The name with what matters of its arguments.
    pub(super) text: String,
    /// The how many-th like this, from 1.
    pub(super) occurrence: usize,
}

impl Call {
    /// Whether it is this call, in another run.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.is_like(other)
            && (self.step == other.step || self.role == Role::Thread)
            && self.occurrence == other.occurrence
    }

    /// Whether it is of the same kind.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.role == other.role && self.text == other.text
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.role {
            Role::Main => "",
            Role::Thread => ", thread",
            Role::Child => ", child",
        };
        write!(f, "{} #{} (step {}{who})", self.text, self.occurrence, self.step)
    }
}

/// How a call is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not made, and this is its result.
    Instead(Errno),
    /// It is made, and then this is its result: a failing `close` has closed the descriptor.
    After(Errno),
    /// It is never made to fail, for this reason.
    Never(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instead(errno) | Self::After(errno) => write!(f, "{errno:?}"),
            Self::Never(reason) => f.write_str(reason),
        }
    }
}

/// What the registers say at the beginning of a call.
pub(super) struct Entry {
    pub(super) number: c_long,
    pub(super) arguments: [u64; 6],
}

const NO_ERROR: &str = "the kernel has no error for it";
const PRIVATE: &str =
    "the kernel has no error for waking those who sleep on memory of this process alone (a mutex)";
const ALL_THREADS_HAVE_IT: &str =
    "the C library ends a process whose first thread can have it and another cannot";

impl Entry {
    /// Its name, and how it can fail: each way that a working kernel has, in memory or descriptors that are short, with
    /// signals, races and refused rights. `None`: that is not known.
    pub(super) fn faults(&self, memory: &Memory) -> Option<(&'static str, Vec<Fault>)> {
        use Errno::*;
        let (name, errors): (_, &[Errno]) = match self.number {
            libc::SYS_openat if self.has(2, libc::O_TMPFILE) => {
                ("openat", &[EMFILE, ENOSPC, ENOMEM, EACCES, EOPNOTSUPP, ENOENT, EINTR])
            }
            libc::SYS_open => ("open", &[EMFILE, ENOMEM, EACCES, ENOENT, EINTR]),
            libc::SYS_openat => ("openat", &[EMFILE, ENOMEM, EACCES, ENOENT, EINTR]),
            libc::SYS_mkdirat => ("mkdirat", &[ENOSPC, ENOMEM, EACCES, EEXIST]),
            libc::SYS_linkat => ("linkat", &[ENOSPC, ENOMEM, EACCES, EEXIST, ENOENT]),
            libc::SYS_unlinkat => ("unlinkat", &[EACCES, ENOENT, ENOMEM, EBUSY]),
            libc::SYS_fstat => ("fstat", &[ENOMEM]),
            // of a descriptor
            libc::SYS_newfstatat if self.path(1, memory).is_empty() => ("newfstatat", &[ENOMEM]),
            // of what is there
            libc::SYS_newfstatat if self.path(1, memory) == "/dev/shm" => ("newfstatat", &[ENOMEM, EACCES]),
            libc::SYS_newfstatat => ("newfstatat", &[ENOMEM, EACCES, ENOENT]),
            libc::SYS_statx => ("statx", &[ENOMEM, EACCES, ENOENT, ENOSYS]),
            libc::SYS_fchmod => ("fchmod", &[EPERM, EROFS]),
            libc::SYS_fchmodat => ("fchmodat", &[EPERM, EROFS]),
            libc::SYS_ftruncate => ("ftruncate", &[EINTR, EFBIG, ENOSPC, ENOMEM]),
            libc::SYS_fallocate => ("fallocate", &[ENOSPC, ENOMEM, EINTR, EOPNOTSUPP]),
            libc::SYS_pread64 => ("pread64", &[EINTR, EIO, ENOMEM]),
            libc::SYS_pwrite64 => ("pwrite64", &[EINTR, EIO, ENOSPC]),
            libc::SYS_read => ("read", &[EINTR, EIO, ENOMEM]),
            libc::SYS_close => return Some(("close", vec![Fault::After(EINTR), Fault::After(EIO)])),
            libc::SYS_fcntl => match self.arguments[1] as i32 {
                libc::F_OFD_SETLK if self.lock(memory).0 != libc::F_UNLCK => {
                    ("fcntl", &[ENOLCK, EINTR, EAGAIN])
                }
                libc::F_OFD_SETLK | libc::F_OFD_GETLK => ("fcntl", &[ENOLCK, EINTR]),
                _ => ("fcntl", &[EPERM, ENOMEM]),
            },
            libc::SYS_mmap => ("mmap", &[ENOMEM]),
            libc::SYS_mprotect => ("mprotect", &[ENOMEM]),
            // what is mapped as a whole can be unmapped as a whole
            libc::SYS_munmap => return Some(("munmap", vec![Fault::After(ENOMEM)])),
            libc::SYS_madvise => ("madvise", &[EINVAL, ENOMEM, EAGAIN]),
            libc::SYS_futex => match self.arguments[1] as i32 & 0x7F {
                libc::FUTEX_WAIT if self.has(1, libc::FUTEX_PRIVATE_FLAG) => ("futex", &[EINTR, EAGAIN]),
                libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => ("futex", &[EINTR, EAGAIN, ETIMEDOUT, ENOMEM]),
                _ if self.has(1, libc::FUTEX_PRIVATE_FLAG) => {
                    return Some(("futex", vec![Fault::Never(PRIVATE)]));
                }
                _ => ("futex", &[ENOMEM]),
            },
            libc::SYS_inotify_init1 => ("inotify_init1", &[EMFILE, ENFILE, ENOMEM]),
            libc::SYS_inotify_add_watch => ("inotify_add_watch", &[ENOSPC, ENOMEM, EACCES]),
            libc::SYS_inotify_rm_watch => ("inotify_rm_watch", &[EINVAL]),
            libc::SYS_ppoll => ("ppoll", &[EINTR, ENOMEM]),
            // of whether the standard descriptors are open
            libc::SYS_poll => ("poll", &[EINTR, ENOMEM]),
            libc::SYS_clone3 => ("clone3", &[EAGAIN, ENOMEM, EPERM, ENOSYS]),
            libc::SYS_clone => ("clone", &[EAGAIN, ENOMEM]),
            libc::SYS_clock_nanosleep => ("clock_nanosleep", &[EINTR]),
            libc::SYS_getrandom => ("getrandom", &[EINTR, ENOSYS]),
            libc::SYS_rt_sigaction => ("rt_sigaction", &[EINVAL]),
            libc::SYS_prctl => ("prctl", &[EPERM]),
            libc::SYS_get_robust_list => ("get_robust_list", &[EPERM]),
            libc::SYS_membarrier => ("membarrier", &[ENOMEM, EPERM, EINVAL, ENOSYS]),
            libc::SYS_set_robust_list => ("set_robust_list", &[ENOSYS]),
            libc::SYS_sched_yield => return Some(("sched_yield", vec![Fault::Never(NO_ERROR)])),
            libc::SYS_ioctl => return Some(("ioctl", vec![Fault::Never(NO_ERROR)])),
            libc::SYS_getpid => return Some(("getpid", vec![Fault::Never(NO_ERROR)])),
            libc::SYS_gettid => return Some(("gettid", vec![Fault::Never(NO_ERROR)])),
            libc::SYS_prlimit64 => return Some(("prlimit64", vec![Fault::Never(NO_ERROR)])),
            libc::SYS_rt_sigprocmask => return Some(("rt_sigprocmask", vec![Fault::Never(NO_ERROR)])),
            libc::SYS_rseq => return Some(("rseq", vec![Fault::Never(ALL_THREADS_HAVE_IT)])),
            libc::SYS_geteuid => return Some(("geteuid", vec![Fault::Never(NO_ERROR)])),
            _ => return None,
        };
        Some((name, errors.iter().copied().map(Fault::Instead).collect()))
    }

    /// The arguments by which it is known again.
    pub(super) fn describe(&self, name: &str, memory: &Memory) -> String {
        let arguments = self.arguments;
        let path = |argument| plain(&self.path(argument, memory));
        match self.number {
            libc::SYS_openat if self.has(2, libc::O_TMPFILE) => format!("{name}({}, O_TMPFILE)", path(1)),
            libc::SYS_unlinkat if self.has(2, libc::AT_REMOVEDIR) => format!("rmdir({})", path(1)),
            libc::SYS_openat
            | libc::SYS_mkdirat
            | libc::SYS_fchmodat
            | libc::SYS_newfstatat
            | libc::SYS_statx
            | libc::SYS_unlinkat
            | libc::SYS_inotify_add_watch => format!("{name}({})", path(1)),
            libc::SYS_open => format!("{name}({})", path(0)),
            libc::SYS_linkat => format!("{name}({}, {})", path(1), path(3)),
            libc::SYS_fcntl => self.describe_lock(memory),
            libc::SYS_futex => {
                let operation = match arguments[1] as i32 & 0x7F {
                    libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => "wait",
                    _ => "wake",
                };
                let private = if self.has(1, libc::FUTEX_PRIVATE_FLAG) { ", private" } else { "" };
                format!("{name}({operation}{private})")
            }
            libc::SYS_madvise => format!("{name}({})", arguments[2]),
            libc::SYS_mmap => {
                format!("{name}({})", if self.has(3, libc::MAP_ANONYMOUS) { "memory" } else { "file" })
            }
            _ => name.to_owned(),
        }
    }

    fn has(&self, argument: usize, bits: i32) -> bool {
        self.arguments[argument] as i32 & bits == bits
    }

    fn path(&self, argument: usize, memory: &Memory) -> String {
        memory.read_string(self.arguments[argument])
    }

    fn describe_lock(&self, memory: &Memory) -> String {
        let (kind, start) = self.lock(memory);
        match self.arguments[1] as i32 {
            libc::F_OFD_GETLK => format!("fcntl(is locked, {start})"),
            libc::F_OFD_SETLK if kind == libc::F_UNLCK => format!("fcntl(unlock, {start})"),
            libc::F_OFD_SETLK => format!("fcntl(lock, {start})"),
            command => format!("fcntl({command})"),
        }
    }

    /// The type and the first byte of the lock that it is about.
    fn lock(&self, memory: &Memory) -> (i32, u64) {
        // `struct flock`: type (2 bytes), whence, start (at 8), length
        let mut lock = [0; 16];
        let _ = memory.read(self.arguments[2], &mut lock);
        let start = u64::from_ne_bytes(lock[8..].try_into().expect("8 bytes"));
        (u16::from_ne_bytes([lock[0], lock[1]]).into(), start)
    }

    /// When a sleep of the engine's is to end, on the monotonic clock.
    pub(super) fn sleeps_until(&self, memory: &Memory) -> Option<i64> {
        let is_sleep =
            self.number == libc::SYS_futex && self.arguments[1] as i32 & 0x7F == libc::FUTEX_WAIT_BITSET;
        is_sleep.then(|| milliseconds_at(memory, self.arguments[3]))
    }

    /// How long it waits for events.
    pub(super) fn polls_for(&self, memory: &Memory) -> Option<i64> {
        (self.number == libc::SYS_ppoll).then(|| milliseconds_at(memory, self.arguments[2]))
    }
}

fn milliseconds_at(memory: &Memory, address: u64) -> i64 {
    let mut timespec = [0; 16];
    if address == 0 || memory.read(address, &mut timespec).is_err() {
        return i64::MAX;
    }
    let number = |bytes: &[u8]| i64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
    number(&timespec[..8]) * 1000 + number(&timespec[8..]) / 1_000_000
}

/// A path without the numbers that differ from run to run.
fn plain(path: &str) -> String {
    let mut plain = String::new();
    for character in path.chars() {
        match character {
            '0'..='9' if plain.ends_with('N') => {}
            '0'..='9' => plain.push('N'),
            other => plain.push(other),
        }
    }
    plain
}
