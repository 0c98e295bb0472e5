//! Opening, closing and removing.
//!
//! Who opens or closes has the *registry lock* ([`REGISTRY_BYTE`]) meanwhile, and then looks whether the path still names
//! the file; if not, it starts over. A new file has no name before it is complete, and gets it together with its
//! first user, so nobody ever meets one that is half made.
//!
//! A file that nobody uses, and that is not persistent, is a leftover of users that were killed: who opens it starts
//! afresh with an initial value of its own.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, Stat, fallocate, fstat, linkat, openat};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::layout::{
    FILE_SIZE, INITIAL, MAGIC, MAX_PERMITS, NAME_AT, PAGE, REGISTRY_BYTE, REMOVED, SLOTS, State, VERSION,
};
use super::people::{self, Identity};
use super::place::{Place, describe_file_type};
use super::recovery::{Pass, find_user, free, is_anybody_here, recover_through};
use super::reset::{self, reset};
use super::trouble::Trouble;
use super::{Core, breakpoint, waiting};
use crate::backend::api::Request;
use crate::error::{ErrorKind, Fault};
use crate::sys::descriptor::PrivateDescriptor;
use crate::sys::lock;
use crate::types::AccessMode;

/// Who may use a semaphore if nothing is said.
const MODE: u32 = 0o600;
/// How often an open begins again when the name comes or goes between two steps.
const OPEN_ATTEMPTS: u32 = 100;
/// How long an open waits for one that has the registry lock, which is a matter of microseconds unless its owner is stopped.
pub(super) const OPEN_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits in all, if one after the other gets it before.
const LONGEST_OPEN: Duration = Duration::from_secs(60);
/// How long a close waits, which nobody wants to wait for: what it leaves, the next open or close cleans up.
const CLOSE_PATIENCE: Duration = Duration::from_millis(100);
/// How long it sleeps between two looks at that lock, at first; and how often that is doubled (to 80 ms).
const FIRST_NAP: Duration = Duration::from_micros(20);
const MOST_DOUBLINGS: u32 = 12;

/// Opens or makes the semaphore, and takes a slot in it.
pub(super) fn open(place: &Arc<Place>, request: &Request) -> Result<Arc<Core>, Fault> {
    if matches!(request.mode, AccessMode::Create | AccessMode::CreateNew) {
        check_value(request.initial_value, max_permits(request)?.unwrap_or(MAX_PERMITS))?;
    }
    let mut made_directory = false;
    let outcome = open_again_and_again(place, request, &mut made_directory);
    if outcome.is_err() && made_directory {
        place.leave_no_directory();
    }
    outcome.map(Arc::new)
}

fn open_again_and_again(
    place: &Arc<Place>,
    request: &Request,
    made_directory: &mut bool,
) -> Result<Core, Fault> {
    let makes = request.mode != AccessMode::OpenExisting;
    for _ in 0..OPEN_ATTEMPTS {
        let directory = if makes { place.make_directory(made_directory) } else { place.open_directory() };
        let Some(directory) = directory? else {
            if makes {
                continue;
            }
            return Err(not_found());
        };
        match open_file(place, &directory)? {
            Some(core) => {
                if join(&core, &directory, request)? {
                    return Ok(core);
                }
            }
            None if makes => {
                if let Some(core) = create(place, &directory, request)? {
                    return Ok(core);
                }
            }
            None => return Err(not_found()),
        }
    }
    let reason = format!(
        "others made and removed {} again and again while it was being opened (or /proc is not mounted, which is \
         needed to make one before Linux 6.10)",
        place.path().display()
    );
    Err(Fault::new(ErrorKind::Unknown, reason))
}

fn not_found() -> Fault {
    Fault::new(ErrorKind::NotFound, "there is no such semaphore")
}

/// Opens another description of the same file, with a slot of its own.
pub(super) fn open_again(core: &Core) -> Result<Core, Fault> {
    let path = format!("/proc/self/fd/{}", core.file()?.as_fd().as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let open = || rustix::fs::open(&*path, flags, Mode::empty());
    let (again, _) = Core::open(&core.place, open).map_err(Trouble::from)?;
    let registered = Registered::for_open(&again)?;
    if !take_slot(&again, &again.new_file())? {
        return Err(Trouble::LostDescriptor.into());
    }
    drop(registered);
    Ok(again)
}

/// Opens what stands there.
fn open_in(place: &Place, directory: &OwnedFd, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    openat(directory, &*place.file, flags, Mode::empty())
}

/// Opens what stands there now, whatever it is.
pub(super) fn open_by_name(place: &Place) -> Result<OwnedFd, Errno> {
    let directory = place.open_directory();
    // what has no number is somebody else's directory, in which ours is not to be found
    let directory = directory.map_err(|fault| fault.os.map_or(Errno::NOENT, Errno::from_raw_os_error))?;
    let directory = directory.ok_or(Errno::NOENT)?;
    retry_on_intr(|| open_in(place, &directory, OFlags::RDWR))
}

/// The file of an existing semaphore, to be read.
pub(super) fn open_to_read(place: &Place) -> Result<OwnedFd, Fault> {
    let directory = place.open_directory()?.ok_or_else(not_found)?;
    let open = |access| retry_on_intr(|| open_in(place, &directory, access));
    // for writing, too, where that is allowed: the close of what cannot write calls all deputies, and of this the watcher alone
    let opened = match open(OFlags::RDWR) {
        Err(errno) if errno != Errno::NOENT => open(OFlags::RDONLY),
        opened => opened,
    };
    let file = opened.map_err(|errno| match errno {
        Errno::NOENT => not_found(),
        _ => explain(place, place.look(&directory), errno.into()),
    })?;
    check(place, file.as_fd(), &fstat(&file).map_err(Trouble::from)?)?;
    Ok(file)
}

/// The file, if there is one and it is a semaphore's.
fn open_file(place: &Arc<Place>, directory: &OwnedFd) -> Result<Option<Core>, Fault> {
    match Core::open(place, || open_in(place, directory, OFlags::RDWR)) {
        Ok((core, data)) => check(place, core.new_file().as_fd(), &data).map(|()| Some(core)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(explain(place, place.look(directory), error)),
    }
}

/// Why the file cannot be opened.
fn explain(place: &Place, data: Option<Stat>, error: std::io::Error) -> Fault {
    let path = place.path();
    if let Some(trouble) = data.as_ref().and_then(describe_file_type) {
        return corrupt(&path, trouble);
    }
    match (error.raw_os_error(), data) {
        (Some(libc::EACCES | libc::EPERM), Some(data)) => Fault::new(
            ErrorKind::PermissionDenied,
            format!(
                "{} belongs to user {}, who has not allowed it; who makes it gives the permissions",
                path.display(),
                data.st_uid
            ),
        )
        .with_os(error.raw_os_error()),
        _ => explain_at(place, error.into()),
    }
}

/// Names the file that could not be made or used, and says what to do.
fn explain_at(place: &Place, trouble: Trouble) -> Fault {
    let path = place.path();
    let path = path.display();
    let fault = Fault::from(trouble);
    let reason = match fault.os {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            format!("there is no room for {path}; make some in its file system")
        }
        Some(libc::EACCES | libc::EPERM) => {
            format!("the system does not allow to use {path}; look at the mode of its directory")
        }
        Some(libc::EROFS) => format!("the file system of {path} is read-only"),
        _ => return fault.about(path),
    };
    Fault::new(fault.kind, reason).with_os(fault.os)
}

fn corrupt(path: &Path, trouble: &str) -> Fault {
    let reason = format!("{} {trouble}; remove it if nobody needs it", path.display());
    Fault::new(ErrorKind::Corrupt, reason)
}

/// Whether it is a semaphore's file. What is looked at here never changes.
fn check(place: &Place, file: BorrowedFd<'_>, data: &Stat) -> Result<(), Fault> {
    let bad = |trouble: &str| Err(corrupt(&place.path(), trouble));
    if let Some(trouble) = describe_file_type(data) {
        return bad(trouble);
    }
    if place.user().is_some_and(|user| user != data.st_uid) {
        let reason = format!(
            "{} belongs to user {}, though the directory is another user's; remove it",
            place.path().display(),
            data.st_uid
        );
        return Err(Fault::new(ErrorKind::PermissionDenied, reason));
    }
    let mut head = [0; 12];
    let size = retry_on_intr(|| pread(file, &mut head, 0)).map_err(Trouble::from)?;
    let magic = u64::from_ne_bytes(head[..8].try_into().expect("8 bytes"));
    let version = u32::from_ne_bytes(head[8..].try_into().expect("4 bytes"));
    if size < head.len() {
        return bad(&format!("has only {size} bytes, which is too short for a semaphore"));
    }
    if magic != MAGIC {
        return bad("is not the file of a semaphore");
    }
    if version != VERSION && version != 0 {
        let age = if version > VERSION { "a newer" } else { "an older" };
        return bad(&format!(
            "was made by {age} version of this library (layout {version}, this one knows {VERSION}); use that one"
        ));
    }
    if version != VERSION || u64::try_from(data.st_size) != Ok(FILE_SIZE) {
        return bad(&format!(
            "is damaged: layout {version} with {} bytes instead of layout {VERSION} with {FILE_SIZE}",
            data.st_size
        ));
    }
    if let Some(name) = &place.hashed
        && read_name(file).map_err(Trouble::from)?.as_deref() != Some(name.as_bytes())
    {
        let path = place.path();
        let reason =
            format!("{} belongs to another name with the same hash; choose another name", path.display());
        return Err(Fault::new(ErrorKind::KeyError, reason));
    }
    Ok(())
}

fn write_name(file: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let mut bytes = (name.len() as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    match retry_on_intr(|| pwrite(file, &bytes, NAME_AT))? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}

pub(super) fn read_name(file: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let mut bytes = vec![0; (FILE_SIZE - NAME_AT) as usize];
    let read = retry_on_intr(|| pread(file, &mut bytes, NAME_AT))?;
    bytes.truncate(read);
    let Some((length, name)) = bytes.split_first_chunk() else { return Ok(None) };
    Ok(name.get(..u32::from_ne_bytes(*length) as usize).map(<[u8]>::to_vec))
}

/// Makes a file without a name, completes it, and names it. `None` if the name or the directory came or went.
fn create(place: &Arc<Place>, directory: &OwnedFd, request: &Request) -> Result<Option<Core>, Fault> {
    let max_permits = max_permits(request)?.unwrap_or(MAX_PERMITS);
    check_value(request.initial_value, max_permits)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let (core, data) = match Core::open(place, || openat(directory, ".", flags, Mode::RUSR | Mode::WUSR)) {
        Ok(opened) => opened,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            let reason = format!(
                "the file system of {} cannot make files without a name (O_TMPFILE)",
                place.path().display()
            );
            return Err(Fault::unsupported(reason));
        }
        Err(error) => return Err(explain_at(place, error.into())),
    };
    let descriptor = core.new_file();
    let file = descriptor.as_fd();
    let full = |errno: Errno| explain_at(place, errno.into());
    // to pass that limit is a signal that ends the process
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < FILE_SIZE) {
        let path = place.path();
        let reason = format!(
            "this process may not make files of {FILE_SIZE} bytes, as {} is to have (though it needs little memory); \
             raise its limit of file sizes (ulimit -f)",
            path.display()
        );
        return Err(Fault::new(ErrorKind::OutOfResources, reason));
    }
    // what the umask has taken off is put on again: the permissions are explicit
    if Mode::from_raw_mode(data.st_mode) != mode(request) {
        rustix::fs::fchmod(file, mode(request)).map_err(full)?;
    }
    retry_on_intr(|| rustix::fs::ftruncate(file, FILE_SIZE)).map_err(full)?;
    reserve(file, PAGE).map_err(full)?;
    if let Some(name) = &place.hashed {
        write_name(file, name).map_err(full)?;
    }
    let layout = core.layout();
    layout.persistent.store(request.persistent.into(), Ordering::Relaxed);
    layout.prepare(0, request.initial_value, max_permits);
    layout.state.word.store(State::new(INITIAL, 0, false, request.initial_value).0, Ordering::Relaxed);
    layout.version.store(VERSION, Ordering::Relaxed);
    layout.magic.store(MAGIC, Ordering::Release);
    if !take_slot(&core, &descriptor)? {
        return Ok(None);
    }
    match link(file, directory, place) {
        Ok(()) => Ok(Some(core)),
        Err(Errno::EXIST | Errno::NOENT) => Ok(None),
        Err(errno) => Err(explain_at(place, errno.into())),
    }
}

/// Gives a file without a name this one.
fn link(file: BorrowedFd<'_>, directory: &OwnedFd, place: &Place) -> Result<(), Errno> {
    match linkat(file, "", directory, &*place.file, AtFlags::EMPTY_PATH) {
        // Before Linux 6.10 only the privileged may, and others are told this (linkat(2)).
        Err(Errno::NOENT) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, path, directory, &*place.file, AtFlags::SYMLINK_FOLLOW)
        }
        outcome => outcome,
    }
}

/// Reserves memory for the beginning of the file: a page that cannot be had is an error here, and SIGBUS later.
pub(super) fn reserve(file: impl AsFd, length: u64) -> Result<(), Errno> {
    match retry_on_intr(|| fallocate(&file, FallocateFlags::empty(), 0, length)) {
        // a file system that cannot reserve: not that of shared memory
        Err(Errno::OPNOTSUPP) => Ok(()),
        outcome => outcome,
    }
}

/// The permissions that were asked for. Who may only read could lock, and so be in the way, but not use it: so whoever is
/// not to have both may do nothing.
fn mode(request: &Request) -> Mode {
    let asked = request.permissions.unwrap_or(MODE);
    let classes = [0o600, 0o060, 0o006].into_iter();
    Mode::from_raw_mode(classes.filter(|class| asked & class == *class).sum())
}

/// The maximum that was asked for.
fn max_permits(request: &Request) -> Result<Option<u32>, Fault> {
    match request.max_permits {
        Some(0) => Err(Fault::unsupported("a semaphore must be able to have at least one permit")),
        Some(max) if max > MAX_PERMITS => {
            Err(Fault::unsupported(format!("the largest maximum is {MAX_PERMITS}, and {max} was asked for")))
        }
        max => Ok(max),
    }
}

fn check_value(initial_value: u32, max: u32) -> Result<(), Fault> {
    if initial_value <= max {
        return Ok(());
    }
    let reason = format!("the initial value {initial_value} is more than the {max} that it can count");
    Err(Fault::new(ErrorKind::OutOfResources, reason))
}

/// Becomes a user of an existing one. `false` if the name is another file's by now, or other code has closed the descriptor.
fn join(core: &Core, directory: &OwnedFd, request: &Request) -> Result<bool, Fault> {
    let registered = Registered::for_open(core)?;
    breakpoint::pass(breakpoint::Step::Registered);
    if !names(directory, core) {
        return Ok(false);
    }
    let outcome = match join_registered(core, directory, request) {
        Err(_) if !core.new_file().is_ours() => Ok(false),
        Err(fault) => {
            // who closed meanwhile may have left it to us, or have taken us for a user, by a lock of a dead one's slot
            let _ = unlink_if_unused(core);
            Err(fault)
        }
        joined => joined,
    };
    drop(registered);
    outcome
}

/// The same, with the registry lock.
fn join_registered(core: &Core, directory: &OwnedFd, request: &Request) -> Result<bool, Fault> {
    let (layout, place) = (core.layout(), &core.place);
    let file = core.new_file();
    let user = find_user(core, &file)?;
    // who removed it was killed before it was done
    let is_removed = layout.state().slot() == REMOVED;
    if is_removed {
        match place.unlink(directory) {
            Ok(()) | Err(Errno::NOENT) => return Ok(false),
            // its users have been told that it is gone: to start afresh in it would bring it back for them
            Err(errno) if request.mode != AccessMode::OpenExisting && user.is_some() => {
                return Err(explain_unlink(place, errno));
            }
            Err(_) => {}
        }
    }
    let is_leftover = is_removed || layout.persistent.load(Ordering::Acquire) == 0 && user.is_none();
    if is_leftover && !file.is_ours() {
        return Ok(false);
    }
    match request.mode {
        AccessMode::OpenExisting if is_leftover => {
            // who may not unlink it leaves it to those who may
            let _ = place.unlink(directory);
            return Err(not_found());
        }
        AccessMode::CreateNew if !is_leftover => {
            return Err(Fault::new(ErrorKind::AlreadyExists, "it exists already"));
        }
        _ => {}
    }
    let max = max_permits(request)?.unwrap_or_else(|| {
        if is_leftover { MAX_PERMITS } else { layout.max_permits(reset::last_epoch(layout)) }
    });
    let resets = !is_leftover && request.mode == AccessMode::Create;
    if is_leftover || resets {
        check_value(request.initial_value, max)?;
    }
    if is_leftover {
        renew(core, request, max)?;
    }
    if !recover_and_take_slot(core, &file, user)? {
        return Ok(false);
    }
    if resets {
        reset(core, request.initial_value, max);
    }
    if request.persistent {
        layout.persistent.store(1, Ordering::Release);
    }
    Ok(true)
}

/// Starts afresh where nobody is left. Who is killed half way leaves a leftover again: `persistent` comes later.
fn renew(core: &Core, request: &Request, max_permits: u32) -> Result<(), Trouble> {
    let layout = core.layout();
    // the permissions are those of whoever made it, if they are not ours to change
    let _ = rustix::fs::fchmod(&*core.new_file(), mode(request));
    layout.persistent.store(0, Ordering::Relaxed);
    for word in &layout.used {
        word.store(0, Ordering::Relaxed);
    }
    layout.recoveries.store(0, Ordering::Relaxed);
    layout.several.store(0, Ordering::Relaxed);
    reset(core, request.initial_value, max_permits);
    Ok(())
}

/// Recovers the dead, and becomes a user; `false` as in [`take_slot`]. It is known of one user that it lives.
fn recover_and_take_slot(core: &Core, file: &PrivateDescriptor, user: Option<u16>) -> Result<bool, Fault> {
    let is_full = (0..SLOTS).all(|number| core.layout().is_used(number));
    // before anybody is told that there is no place
    recover_through(core, file, user, if is_full { Pass::All } else { Pass::Users })?;
    take_slot(core, file)
}

/// Makes a free slot this process's. The caller has the registry lock, or the file has no name yet. `false` if other code
/// has closed the descriptor, and the lock is perhaps another file's.
fn take_slot(core: &Core, file: &PrivateDescriptor) -> Result<bool, Fault> {
    let layout = core.layout();
    for number in (0..SLOTS).filter(|number| !layout.is_used(*number)) {
        // a recoverer may be about to free it
        if !lock::try_lock(file.as_fd(), number).map_err(Trouble::from)? {
            continue;
        }
        if !file.is_ours() {
            let _ = lock::unlock(file.as_fd(), number);
            return Ok(false);
        }
        let slot = match core.slot(number) {
            Ok(slot) => slot,
            Err(trouble) => {
                // nobody is to take it for a user's until the file is closed
                let _ = lock::unlock(file.as_fd(), number);
                return Err(explain_at(&core.place, trouble));
            }
        };
        // The numbers go on: a helper that was stopped long ago must not take an operation of ours for one that it saw.
        slot.pending().with_amount(0).store(&slot.committed);
        slot.epoch.store(core.epoch(), Ordering::Release);
        let who = Identity::own();
        slot.pid.store(who.pid, Ordering::Relaxed);
        slot.pid_namespace.store(who.pid_namespace, Ordering::Relaxed);
        slot.start_time.store(who.start_time, Ordering::Relaxed);
        slot.waiting_threads.store(0, Ordering::Relaxed);
        slot.recoverer.store(0, Ordering::Relaxed);
        layout.set_used(number, true);
        core.set_own_slot(number);
        return Ok(true);
    }
    let reason = format!("{SLOTS} processes use it already; end some, or use several semaphores");
    Err(Fault::new(ErrorKind::OutOfResources, reason))
}

/// Stops using it, and removes the file if nobody else does.
pub(super) fn close(core: &Core) {
    // what fails here is nobody's to hear, and the next open cleans up
    let _ = try_close(core);
}

fn try_close(core: &Core) -> Result<(), Fault> {
    let own = core.own_slot();
    own.map_or(Ok(()), |own| free(core, own))?;
    let file = core.file()?;
    if let Some(own) = own {
        // before the look: of two that close at once, the later one sees that nobody is left
        lock::unlock(file.as_fd(), own).map_err(Trouble::from)?;
    }
    // whoever has a slot closes later, and looks then, too
    if find_user(core, &file)?.is_some() {
        return Ok(());
    }
    let registered = Registered::for_close(core)?;
    breakpoint::pass(breakpoint::Step::Registered);
    unlink_if_unused(core)?;
    drop(registered);
    Ok(())
}

/// Unlinks the file if it is to end with its last user, and nobody uses it. The caller has the registry lock.
fn unlink_if_unused(core: &Core) -> Result<(), Fault> {
    if core.layout().persistent.load(Ordering::Acquire) == 0
        && !is_anybody_here(core)?
        && let Some(directory) = core.place.open_directory()?
        && names(&directory, core)
    {
        let _ = core.place.unlink(&directory);
    }
    Ok(())
}

/// Removes the semaphore, whoever uses it: they are told.
pub(super) fn remove(place: &Arc<Place>) -> Result<(), Fault> {
    for _ in 0..OPEN_ATTEMPTS {
        let Some(directory) = place.open_directory()? else { return Err(not_found()) };
        let Some(core) = open_file(place, &directory)? else { return Err(not_found()) };
        let registered = Registered::for_open(&core)?;
        if !names(&directory, &core) {
            continue;
        }
        check_unlinkable(&core, &directory)?;
        let layout = core.layout();
        let is_leftover = layout.persistent.load(Ordering::Acquire) == 0 && !is_anybody_here(&core)?;
        // first, so that nobody uses it any more when the name is free; who opens it in between unlinks it for us
        loop {
            let state = layout.state();
            if layout.exchange(state, State::new(REMOVED, 0, false, 0)) {
                break;
            }
        }
        waiting::wake(&core, u32::MAX);
        breakpoint::pass(breakpoint::Step::MarkedRemoved);
        place.unlink(&directory).map_err(|errno| explain_unlink(place, errno))?;
        drop(registered);
        return if is_leftover { Err(not_found()) } else { Ok(()) };
    }
    Err(Fault::new(ErrorKind::Unknown, "others made and removed it again and again"))
}

/// In a directory where only owners may remove files, whether this user may.
fn check_unlinkable(core: &Core, directory: &OwnedFd) -> Result<(), Fault> {
    let (file, directory) =
        (fstat(core.file()?.as_fd()).map_err(Trouble::from)?, fstat(directory).map_err(Trouble::from)?);
    let user = crate::sys::user::effective_id();
    let is_sticky = directory.st_mode & libc::S_ISVTX != 0;
    if is_sticky && user != 0 && ![file.st_uid, directory.st_uid].contains(&user) {
        return Err(explain_unlink(&core.place, Errno::PERM));
    }
    Ok(())
}

fn explain_unlink(place: &Place, errno: Errno) -> Fault {
    let fault = Fault::from(Trouble::from(errno));
    Fault::new(fault.kind, format!("cannot unlink {}", place.path().display())).with_os(fault.os)
}

/// Whether the path still names this file.
fn names(directory: &OwnedFd, core: &Core) -> bool {
    core.place.look(directory).is_some_and(|data| core.is(&data))
}

/// The registry lock. It is given up when this is dropped.
pub(super) struct Registered<'a> {
    core: &'a Core,
    file: Arc<PrivateDescriptor>,
}

impl<'a> Registered<'a> {
    /// For an open, which waits as long as others get it in turn: a thousand that come at once are no reason to fail.
    pub(super) fn for_open(core: &'a Core) -> Result<Self, Fault> {
        let (mut owner, mut since) = (0, Duration::ZERO);
        Self::new(core, core.new_file(), |registrar, waited| {
            if registrar != owner {
                (owner, since) = (registrar, waited);
            }
            waited - since >= OPEN_PATIENCE || waited >= LONGEST_OPEN
        })
    }

    fn for_close(core: &'a Core) -> Result<Self, Fault> {
        Self::new(core, core.file()?, |_, waited| waited >= CLOSE_PATIENCE)
    }

    /// Waits for it until `is_over`, which is asked with whoever seems to have it and how long it was waited for.
    fn new(
        core: &'a Core,
        file: Arc<PrivateDescriptor>,
        mut is_over: impl FnMut(u32, Duration) -> bool,
    ) -> Result<Self, Fault> {
        let registrar = &core.layout().registrar;
        let (mut begin, mut tries) = (None, 0);
        while !lock::try_lock(file.as_fd(), REGISTRY_BYTE).map_err(Trouble::from)? {
            let waited = begin.get_or_insert_with(Instant::now).elapsed();
            let owner = registrar.load(Ordering::Relaxed);
            if is_over(owner, waited) {
                return Err(in_the_way(owner, waited));
            }
            // the system call that waits for such a lock has no timeout, and an open is to say who is in the way
            match tries {
                0..20 => thread::yield_now(),
                // longer and longer: a thousand that look each millisecond would leave the owner no processor
                _ => thread::sleep(FIRST_NAP * (1 << (tries - 20).min(MOST_DOUBLINGS))),
            }
            tries += 1;
        }
        registrar.store(Identity::own().pid, Ordering::Relaxed);
        Ok(Self { core, file })
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.core.layout().registrar.store(0, Ordering::Relaxed);
        // without a look whether the number still is ours, since that can fail: of another file, nothing is given up
        let _ = lock::unlock(self.file.as_fd(), REGISTRY_BYTE);
    }
}

/// That one has it, or many had it, for so long that who waits gives up.
fn in_the_way(pid: u32, waited: Duration) -> Fault {
    let seconds = waited.as_secs();
    if pid == 0 {
        let reason =
            format!("its registry lock was not free for {seconds} s, and who has it does not say so");
        return Fault::new(ErrorKind::TimedOut, reason);
    }
    let stopped = people::is_stopped(pid);
    let what = if stopped { "is stopped while it opens or closes it" } else { "is opening or closing it" };
    let reason =
        format!("process {pid} {what}, and others have to wait; after {seconds} s: let it go on, or end it");
    Fault::new(ErrorKind::TimedOut, reason)
}
