//! System V semaphore sets, of which this library uses the first semaphore.

use std::ffi::{CStr, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use super::{check, timespec};

/// A key made by [`key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetKey(libc::key_t);

/// The identifier of a set. It may be stale: every operation then answers `EINVAL` or `EIDRM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetId(c_int);

impl SetKey {
    pub(crate) fn number(self) -> libc::key_t {
        self.0
    }
}

impl SetId {
    pub(crate) fn number(self) -> c_int {
        self.0
    }
}

/// `ftok`: mixes the file's device and inode with the project id. Follows symbolic links.
pub(crate) fn key(path: &CStr, project: u8) -> io::Result<SetKey> {
    // SAFETY: `path` is a C string
    let key = unsafe { libc::ftok(path.as_ptr(), c_int::from(project)) };
    if key == -1 { Err(io::Error::last_os_error()) } else { Ok(SetKey(key)) }
}

/// A new set of one semaphore with these permission bits; `EEXIST` if the key has one.
pub(crate) fn create_new(key: SetKey, mode: u32) -> io::Result<SetId> {
    get(key, mode as c_int | libc::IPC_CREAT | libc::IPC_EXCL)
}

/// The set of this key; `ENOENT` if there is none. It is never created.
pub(crate) fn open_existing(key: SetKey) -> io::Result<SetId> {
    get(key, 0o600)
}

/// The same, to be looked at: no permissions are needed for that.
pub(crate) fn find(key: SetKey) -> io::Result<SetId> {
    get(key, 0)
}

fn get(key: SetKey, flags: c_int) -> io::Result<SetId> {
    // SAFETY: takes plain numbers
    check(unsafe { libc::semget(key.0, 1, flags) }).map(SetId)
}

/// A set of the system's.
#[cfg(target_os = "linux")]
pub(crate) struct ListedSet {
    /// 0 for a private one.
    pub(crate) key: SetKey,
    pub(crate) set: SetId,
    pub(crate) owner: u32,
}

/// All sets of this IPC namespace.
#[cfg(target_os = "linux")]
pub(crate) fn all() -> io::Result<Vec<ListedSet>> {
    let table = std::fs::read_to_string("/proc/sysvipc/sem")?;
    let parse = |line: &str| {
        // key semid perms nsems uid ...
        let mut fields = line.split_ascii_whitespace();
        let key = SetKey(fields.next()?.parse().ok()?);
        let set = SetId(fields.next()?.parse().ok()?);
        let owner = fields.nth(2)?.parse().ok()?;
        Some(ListedSet { key, set, owner })
    };
    Ok(table.lines().skip(1).filter_map(parse).collect())
}

/// Whether the kernel has System V semaphores at all.
pub(crate) fn is_supported() -> bool {
    // SAFETY: takes plain numbers; a count of -1 is refused before anything is made
    let refused = check(unsafe { libc::semget(libc::IPC_PRIVATE, -1, 0) });
    refused.err().and_then(|error| error.raw_os_error()) != Some(libc::ENOSYS)
}

/// One step of [`operate`]: this much is added to the count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// 0 waits until the count is 0.
    pub(crate) delta: i16,
    /// Whether the kernel takes it back when the process ends.
    pub(crate) undo: bool,
    /// Fail with `EAGAIN` rather than wait.
    pub(crate) no_wait: bool,
}

impl Step {
    /// A step that the kernel takes back when the process ends.
    pub(crate) fn undone(delta: i16) -> Self {
        Self { delta, undo: true, no_wait: false }
    }

    /// A step that stays.
    pub(crate) fn lasting(delta: i16) -> Self {
        Self { delta, undo: false, no_wait: false }
    }

    /// The same, but never waiting.
    pub(crate) fn or_fail(self) -> Self {
        Self { no_wait: true, ..self }
    }
}

/// `semop`: all steps or none, waiting as long as it takes, or until `timeout` is over (`EAGAIN`).
pub(crate) fn operate(set: SetId, steps: &[Step], timeout: Option<Duration>) -> io::Result<()> {
    let mut operations = [libc::sembuf { sem_num: 0, sem_op: 0, sem_flg: 0 }; MAX_STEPS];
    let operations = &mut operations[..steps.len()];
    for (operation, step) in operations.iter_mut().zip(steps) {
        operation.sem_op = step.delta;
        let undo = if step.undo { UNDO } else { 0 };
        let no_wait = if step.no_wait { libc::IPC_NOWAIT } else { 0 };
        operation.sem_flg = (undo | no_wait) as _;
    }
    let result = match timeout {
        // SAFETY: the array is live and its length is given
        None => unsafe { libc::semop(set.0, operations.as_mut_ptr(), operations.len() as _) },
        Some(timeout) => operate_for(set, operations, &timespec(timeout)),
    };
    check(result).map(drop)
}

/// The most steps that [`operate`] takes.
const MAX_STEPS: usize = 6;

#[cfg(target_os = "linux")]
fn operate_for(set: SetId, operations: &mut [libc::sembuf], timeout: &libc::timespec) -> c_int {
    unsafe extern "C" {
        // in glibc and musl, not in the libc crate
        fn semtimedop(
            id: c_int,
            operations: *mut libc::sembuf,
            count: libc::size_t,
            timeout: *const libc::timespec,
        ) -> c_int;
    }
    // SAFETY: the array is live and its length is given; so is the timeout
    unsafe { semtimedop(set.0, operations.as_mut_ptr(), operations.len(), timeout) }
}

#[cfg(not(target_os = "linux"))]
fn operate_for(_: SetId, _: &mut [libc::sembuf], _: &libc::timespec) -> c_int {
    unreachable!("the backend refuses timeouts where HAS_TIMEOUT is false")
}

/// Whether [`operate`] takes a timeout here.
pub(crate) const HAS_TIMEOUT: bool = cfg!(target_os = "linux");

/// `SEM_UNDO`; the libc crate lacks it on FreeBSD.
const UNDO: c_int = 0x1000;
const _: () = assert!(cfg!(not(target_os = "linux")) || UNDO == LINUX_UNDO);
#[cfg(target_os = "linux")]
const LINUX_UNDO: c_int = libc::SEM_UNDO;
#[cfg(not(target_os = "linux"))]
const LINUX_UNDO: c_int = UNDO;

/// The semaphore's count.
pub(crate) fn value(set: SetId) -> io::Result<c_int> {
    query(set, libc::GETVAL)
}

/// How many threads wait for the count to grow.
pub(crate) fn waiting(set: SetId) -> io::Result<c_int> {
    query(set, libc::GETNCNT)
}

/// The process that operated on it last; 0 if none has.
pub(crate) fn last_pid(set: SetId) -> io::Result<c_int> {
    query(set, libc::GETPID)
}

fn query(set: SetId, command: c_int) -> io::Result<c_int> {
    // SAFETY: these commands take no further argument
    check(unsafe { libc::semctl(set.0, 0, command) })
}

/// Sets the count, wakes those who can go on, and clears what every process would have undone.
pub(crate) fn set_value(set: SetId, value: c_int) -> io::Result<()> {
    // SAFETY: SETVAL takes an int, passed as C passes the union's first member
    check(unsafe { libc::semctl(set.0, 0, libc::SETVAL, value) }).map(drop)
}

/// When the set was last operated on, and when it was made or its count set, in seconds since 1970.
pub(crate) struct Times {
    /// 0 if never.
    pub(crate) operated: i64,
    pub(crate) changed: i64,
}

/// The set's time stamps.
pub(crate) fn times(set: SetId) -> io::Result<Times> {
    let status = status(set)?;
    #[allow(clippy::unnecessary_cast, reason = "time_t has 32 bits on some systems")]
    Ok(Times { operated: status.sem_otime as i64, changed: status.sem_ctime as i64 })
}

fn status(set: SetId) -> io::Result<libc::semid_ds> {
    let mut status = MaybeUninit::<libc::semid_ds>::zeroed();
    // SAFETY: IPC_STAT takes a pointer to a semid_ds to fill, which this is
    check(unsafe { libc::semctl(set.0, 0, libc::IPC_STAT, status.as_mut_ptr()) })?;
    // SAFETY: zeroed and then filled in: plain numbers, for which every content is valid
    Ok(unsafe { status.assume_init() })
}

/// Whose the set is, and who may use it, as permission bits.
pub(crate) fn owner(set: SetId) -> io::Result<(u32, u32)> {
    let permissions = status(set)?.sem_perm;
    #[allow(clippy::unnecessary_cast, reason = "the mode has 16 bits on some systems")]
    Ok((permissions.uid, permissions.mode as u32 & 0o777))
}

/// Whether this process may remove the set: it is its owner's or maker's, or the superuser's.
pub(crate) fn may_remove(set: SetId) -> io::Result<bool> {
    let status = status(set)?;
    let user = super::user::effective_id();
    Ok(user == 0 || user == status.sem_perm.uid || user == status.sem_perm.cuid)
}

/// Removes the set; all who wait on it get `EIDRM`.
pub(crate) fn remove(set: SetId) -> io::Result<()> {
    // SAFETY: IPC_RMID takes no further argument
    check(unsafe { libc::semctl(set.0, 0, libc::IPC_RMID) }).map(drop)
}
