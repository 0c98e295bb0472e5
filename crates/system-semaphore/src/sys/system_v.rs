//! System V semaphore sets, of which this library uses the first semaphore.

use std::ffi::{CStr, c_int};
use std::io;
#[cfg(not(target_env = "musl"))]
use std::mem::MaybeUninit;
use std::time::Duration;

use super::check;

/// A key made by [`key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetKey(libc::key_t);

/// The identifier of a set. It may be stale: every operation then answers `EINVAL` or `EIDRM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetId(c_int);

#[cfg(target_os = "linux")]
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
    pub(crate) status: Status,
}

/// All sets of this IPC namespace.
#[cfg(target_os = "linux")]
pub(crate) fn all() -> io::Result<Vec<ListedSet>> {
    let table = std::fs::read_to_string("/proc/sysvipc/sem")?;
    Ok(table.lines().skip(1).filter_map(parse).collect())
}

/// A line of the kernel's table: key, id, permissions, number of semaphores, owner, group, creator, group, times.
#[cfg(target_os = "linux")]
fn parse(line: &str) -> Option<ListedSet> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [key, set, mode, _, owner, _, creator, _, operated, changed] = fields[..] else { return None };
    let status = Status {
        owner: owner.parse().ok()?,
        creator: creator.parse().ok()?,
        mode: u32::from_str_radix(mode, 8).ok()? & 0o777,
        operated: operated.parse().ok()?,
        changed: changed.parse().ok()?,
    };
    Some(ListedSet { key: SetKey(key.parse().ok()?), set: SetId(set.parse().ok()?), status })
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
        Some(timeout) => operate_for(set, operations, timeout),
    };
    check(result).map(drop)
}

/// The most steps that [`operate`] takes.
const MAX_STEPS: usize = 6;

#[cfg(target_os = "linux")]
fn operate_for(set: SetId, operations: &mut [libc::sembuf], timeout: Duration) -> c_int {
    unsafe extern "C" {
        // in glibc and musl, not in the libc crate
        fn semtimedop(
            id: c_int,
            operations: *mut libc::sembuf,
            count: libc::size_t,
            timeout: *const libc::timespec,
        ) -> c_int;
    }
    let timeout = super::timespec(timeout);
    // SAFETY: the array is live and its length is given; so is the timeout
    unsafe { semtimedop(set.0, operations.as_mut_ptr(), operations.len(), &timeout) }
}

#[cfg(not(target_os = "linux"))]
fn operate_for(_: SetId, _: &mut [libc::sembuf], _: Duration) -> c_int {
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

/// The commands of `semctl`.
#[cfg(not(target_os = "freebsd"))]
use libc as command;
/// The libc crate lacks them; from FreeBSD's `sys/sem.h`.
#[cfg(target_os = "freebsd")]
mod command {
    use std::ffi::c_int;

    pub(super) const GETNCNT: c_int = 3;
    pub(super) const GETPID: c_int = 4;
    pub(super) const GETVAL: c_int = 5;
    pub(super) const SETVAL: c_int = 8;
}

/// The semaphore's count.
pub(crate) fn value(set: SetId) -> io::Result<c_int> {
    query(set, command::GETVAL)
}

/// How many threads wait for the count to grow.
pub(crate) fn waiting(set: SetId) -> io::Result<c_int> {
    query(set, command::GETNCNT)
}

/// The process that operated on it last; 0 if none has.
pub(crate) fn last_pid(set: SetId) -> io::Result<c_int> {
    query(set, command::GETPID)
}

fn query(set: SetId, command: c_int) -> io::Result<c_int> {
    // SAFETY: these commands take no further argument
    check(unsafe { libc::semctl(set.0, 0, command) })
}

/// Sets the count, wakes those who can go on, and clears what every process would have undone.
pub(crate) fn set_value(set: SetId, value: c_int) -> io::Result<()> {
    // SAFETY: SETVAL takes an int, passed as C passes the union's first member
    check(unsafe { libc::semctl(set.0, 0, command::SETVAL, value) }).map(drop)
}

/// What the system notes of a set.
pub(crate) struct Status {
    pub(crate) owner: u32,
    pub(crate) creator: u32,
    /// Who may use it, as permission bits.
    pub(crate) mode: u32,
    /// When it was last operated on, in seconds since 1970; 0 if never.
    pub(crate) operated: i64,
    /// When it was made, or its count set.
    pub(crate) changed: i64,
}

#[cfg(not(target_env = "musl"))]
#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "these types differ by system")]
pub(crate) fn status(set: SetId) -> io::Result<Status> {
    let mut status = MaybeUninit::<libc::semid_ds>::zeroed();
    // SAFETY: IPC_STAT takes a pointer to a semid_ds to fill, which this is
    check(unsafe { libc::semctl(set.0, 0, libc::IPC_STAT, status.as_mut_ptr()) })?;
    // SAFETY: zeroed and then filled in: plain numbers, for which every content is valid
    let status = unsafe { status.assume_init() };
    Ok(Status {
        owner: status.sem_perm.uid,
        creator: status.sem_perm.cuid,
        mode: u32::from(status.sem_perm.mode) & 0o777,
        operated: status.sem_otime as i64,
        changed: status.sem_ctime as i64,
    })
}

/// From the kernel's table, as the libc crate has no `semid_ds` for musl.
#[cfg(target_env = "musl")]
pub(crate) fn status(set: SetId) -> io::Result<Status> {
    let listed = all()?.into_iter().find(|listed| listed.set == set);
    listed.map(|listed| listed.status).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Whether this process may remove the set: it is its owner's or maker's, or the superuser's.
pub(crate) fn may_remove(set: SetId) -> io::Result<bool> {
    let status = status(set)?;
    let user = super::user::effective_id();
    Ok(user == 0 || user == status.owner || user == status.creator)
}

/// Removes the set; all who wait on it get `EIDRM`.
pub(crate) fn remove(set: SetId) -> io::Result<()> {
    // SAFETY: IPC_RMID takes no further argument
    check(unsafe { libc::semctl(set.0, 0, libc::IPC_RMID) }).map(drop)
}
