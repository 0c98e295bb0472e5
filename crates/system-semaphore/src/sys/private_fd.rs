//! Descriptors that a forked child does not keep.
//!
//! A lock lives as long as a process has the open file description. A child that inherits the
//! descriptor, or a mapping of it, would keep its parent's locks alive. A table therefore has every
//! private descriptor, at its number. A `pthread_atfork` handler closes it in a child. If no
//! handler runs (after a raw `clone`), the child's first use of this library closes it. A
//! descriptor that was opened while another thread forked is opened again ([`retry_if_forked`]).
//!
//! Other code of the process may close any descriptor, and the kernel gives its number to the next
//! file that is opened. A private descriptor therefore remembers the identity of its file, and is
//! used and closed only if the number still has that file.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::fork;
use super::standard_descriptors::{Reservation, raise};

/// A descriptor that is closed in a forked child.
#[derive(Debug)]
pub(crate) struct PrivateFd {
    descriptor: ManuallyDrop<OwnedFd>,
    file: FileId,
    entry: &'static Entry,
    owner_id: u64,
}

/// Identifies a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// The table's entry of a descriptor number.
#[derive(Debug)]
struct Entry {
    /// Unique id of the [`PrivateFd`] that owns this number, or [`FREE`].
    ///
    /// Only that owner writes the other fields. They are read only in a forked child, which rereads
    /// this field to detect a concurrent change.
    owner_id: AtomicU64,
    device: AtomicU64,
    inode: AtomicU64,
    /// The generation of the process that registered the descriptor.
    generation: AtomicU32,
}

/// The owner's id in an entry without an owner.
const FREE: u64 = 0;

impl PrivateFd {
    /// Registers a new descriptor. The caller calls this in [`retry_if_forked`].
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let file = FileId::of(descriptor.as_raw_fd())?;
        Self::of_file(descriptor, file.device, file.inode)
    }

    /// Registers a new descriptor of a file whose identity is known. The caller calls this in
    /// [`retry_if_forked`].
    pub(crate) fn of_file(descriptor: OwnedFd, device: u64, inode: u64) -> io::Result<Self> {
        static LAST_OWNER_ID: AtomicU64 = AtomicU64::new(FREE);
        let generation = fork::generation();
        let descriptor = raise(descriptor)?;
        let entry = make_entry(descriptor.as_raw_fd())?;
        // before a child can find the entry
        // SAFETY: it calls async-signal-safe functions only, as the text on `pthread_atfork` says
        unsafe { fork::on_new_generation(&CLOSE_INHERITED) };
        let owner_id = LAST_OWNER_ID.fetch_add(1, Ordering::Relaxed) + 1;
        // a previous owner of this number has lost it
        entry.owner_id.store(FREE, Ordering::Relaxed);
        entry.device.store(device, Ordering::Release);
        entry.inode.store(inode, Ordering::Release);
        entry.generation.store(generation, Ordering::Release);
        entry.owner_id.store(owner_id, Ordering::Release);
        Ok(Self {
            descriptor: ManuallyDrop::new(descriptor),
            file: FileId { device, inode },
            entry,
            owner_id,
        })
    }

    /// Returns whether the number still is this descriptor's. This is an `fstat`.
    pub(crate) fn check_still_ours(&self) -> bool {
        self.entry.owner_id.load(Ordering::Acquire) == self.owner_id
            && self.file.is_of(self.descriptor.as_raw_fd())
    }

    /// Returns the plain descriptor, which children inherit, or `None` if it is lost.
    pub(crate) fn into_inner(mut self) -> Option<OwnedFd> {
        self.unregister().then(|| {
            // SAFETY: `drop` finds it unregistered, so nobody uses it again
            unsafe { ManuallyDrop::take(&mut self.descriptor) }
        })
    }

    /// Removes the entry from the table, and returns whether the descriptor was still ours.
    fn unregister(&mut self) -> bool {
        self.check_still_ours() && self.entry.unregister(self.owner_id)
    }
}

impl AsFd for PrivateFd {
    /// Returns the descriptor without a check that the number still is this descriptor's.
    ///
    /// `BorrowedFd` promises an open descriptor. This one may be closed, or its number may belong to
    /// another file, in two cases:
    /// - Other code of this process has closed the descriptor.
    /// - This process is a forked child, where the table's hook has closed the descriptor. After a
    ///   raw `clone`, another thread of the child may open a file between the hook's check of the
    ///   number and its `close`. The hook then closes that file.
    ///
    /// Memory safety does not depend on the number. The callers call
    /// [`check_still_ours`](Self::check_still_ours) before they rely on what the system has
    /// answered, and make no call in a forked child.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for PrivateFd {
    fn drop(&mut self) {
        // otherwise other code has closed the descriptor, or this process is a forked child
        if self.unregister() {
            // SAFETY: nobody uses it again
            unsafe { ManuallyDrop::drop(&mut self.descriptor) };
        }
    }
}

impl FileId {
    /// Returns the identity of a descriptor's file. A signal handler may call this.
    fn of(descriptor: RawFd) -> io::Result<Self> {
        let mut data = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the buffer is live, and any number may be asked about
        super::check(unsafe { libc::fstat(descriptor, data.as_mut_ptr()) })?;
        // SAFETY: filled in, as the call succeeded
        let data = unsafe { data.assume_init() };
        #[allow(clippy::unnecessary_cast, reason = "they have 32 bits on some systems")]
        let (device, inode) = (data.st_dev as u64, data.st_ino as u64);
        // Linux has one inode for inotify instances, event counters, timers and other descriptors
        // without a file.
        let is_file = data.st_mode & libc::S_IFMT != 0;
        Ok(Self { device, inode: if is_file || !is_readable(descriptor) { inode } else { !inode } })
    }

    /// Returns whether the descriptor is one of this file.
    fn is_of(self, descriptor: RawFd) -> bool {
        match Self::of(descriptor) {
            Ok(file) => file == self,
            // An error for lack of memory does not mean that the descriptor was closed. If it were
            // taken for lost, its locks would stay.
            Err(error) => error.raw_os_error() != Some(libc::EBADF),
        }
    }
}

/// Returns whether the descriptor reports a number of readable bytes. Among descriptors without a
/// file only notification queues (inotify's) do so.
fn is_readable(descriptor: RawFd) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the number is written to a live place, by those that know the question
    unsafe { libc::ioctl(descriptor, libc::FIONREAD as _, &raw mut bytes) == 0 }
}

impl Entry {
    /// Frees the entry if its owner has this id.
    fn unregister(&self, owner_id: u64) -> bool {
        self.owner_id.compare_exchange(owner_id, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The table, in parts that are allocated when they are needed and never freed. The first part has
/// [`FIRST_PART`] entries, and each next one has twice as many. A lookup therefore never blocks,
/// not even in a child that was forked during another thread's lookup.
static TABLE: [AtomicPtr<Entry>; PARTS] = [const { AtomicPtr::new(ptr::null_mut()) }; PARTS];
/// Number of parts for all descriptor numbers.
const PARTS: usize = 26;
const FIRST_PART: usize = 64;

/// The highest number that was ever registered.
static HIGHEST: AtomicU32 = AtomicU32::new(0);

/// Returns the part of a number and the index in it.
fn position(number: u32) -> (usize, usize) {
    let part = (number as usize / FIRST_PART + 1).ilog2() as usize;
    (part, number as usize - FIRST_PART * ((1 << part) - 1))
}

/// Returns the entry of a number, if its part is allocated.
fn entry(number: u32) -> Option<&'static Entry> {
    let (part, index) = position(number);
    let part = NonNull::new(TABLE[part].load(Ordering::Acquire))?;
    // SAFETY: the part has room for more than `index`, by `position`
    let entry = unsafe { part.add(index) };
    // SAFETY: a part is never freed, and an entry is valid if it is zero
    Some(unsafe { entry.as_ref() })
}

/// Returns the entry of a new descriptor's number, after allocating its part.
fn make_entry(descriptor: RawFd) -> io::Result<&'static Entry> {
    let number = descriptor as u32;
    HIGHEST.fetch_max(number, Ordering::AcqRel);
    if let Some(entry) = entry(number) {
        return Ok(entry);
    }
    let (part, _) = position(number);
    let no_memory = || io::Error::from_raw_os_error(libc::ENOMEM);
    let layout = Layout::array::<Entry>(FIRST_PART << part).map_err(|_| no_memory())?;
    // Zeroed by the system, so that of a large one only what is used takes memory.
    // SAFETY: it is not empty
    let made = unsafe { alloc_zeroed(layout) }.cast::<Entry>();
    if made.is_null() {
        return Err(no_memory());
    }
    let first = TABLE[part].compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
    if first.is_err() {
        // another thread was first
        // SAFETY: allocated above with this layout, and nobody else has it
        unsafe { dealloc(made.cast(), layout) };
    }
    entry(number).ok_or_else(no_memory)
}

/// Closes the descriptors that another generation than `keep` has registered. A new child may call
/// this.
fn close_inherited(keep: Option<u32>) {
    // descriptor numbers are below 2^31
    for number in 0..=HIGHEST.load(Ordering::Acquire) {
        let Some(entry) = entry(number) else { continue };
        let owner_id = entry.owner_id.load(Ordering::Acquire);
        if owner_id == FREE || keep == Some(entry.generation.load(Ordering::Acquire)) {
            continue;
        }
        let file = FileId {
            device: entry.device.load(Ordering::Acquire),
            inode: entry.inode.load(Ordering::Acquire),
        };
        // After a raw `clone`, another thread of this child can reuse the number between this check
        // and the `close`. `fork` leaves the child one thread.
        let is_valid = file.is_of(number as RawFd);
        if entry.unregister(owner_id) && is_valid {
            // SAFETY: inherited from the parent's table, still the same file, and nobody here has used it
            unsafe { libc::close(number as RawFd) };
        }
    }
}

/// The hook by which a new child closes the inherited descriptors.
static CLOSE_INHERITED: fork::Hook = close_inherited;

/// Runs `make`, which creates something that a forked child must not inherit. If another thread has
/// forked meanwhile, the result is dropped, and `make` runs again.
pub(crate) fn retry_if_forked<T, E>(mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let _reservation = Reservation::new();
    // the handlers count forks
    let _ = fork::generation();
    let mut tries = 0u32;
    loop {
        let started = fork::started();
        // if the handlers were installed during a fork, one more fork has ended than begun
        let is_undisturbed = started.wrapping_sub(fork::ended()) as i32 <= 0;
        // another library's handler that takes so long must not block this process
        if is_undisturbed || tries > 2000 {
            let made = make();
            if made.is_err() || fork::started() == started || tries > 4000 {
                return made;
            }
        }
        tries += 1;
        if tries < 1000 {
            thread::yield_now();
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Gives the number to another file, as other code of a process may do.
#[cfg(test)]
pub(crate) fn steal_fd(number: RawFd, other: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: who has the number is to see that it is not its own any more; that is what is tested
    super::check(unsafe { libc::dup2(other.as_raw_fd(), number) }).map(drop)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::FromRawFd;

    use rustix::event::{EventfdFlags, eventfd};
    use rustix::fs::inotify;
    use rustix::io::fcntl_getfd;
    use test_support::wait_until;

    use super::*;

    /// `fstat` reports the same for both, because neither is a file.
    #[test]
    fn an_inotify_instance_is_not_taken_for_an_event_counter() {
        let mut inotify = None;
        wait_until("other processes of this user leave an instance", || {
            inotify = inotify::init(inotify::CreateFlags::CLOEXEC).ok();
            inotify.is_some()
        });
        let inotify = inotify.expect("the wait has made it");
        let number = inotify.as_raw_fd();
        let inotify = PrivateFd::new(inotify).expect("it is open");
        assert!(inotify.check_still_ours());
        let other = eventfd(1, EventfdFlags::CLOEXEC).expect("there is one to be had");
        steal_fd(number, other.as_fd()).expect("it is open");
        assert!(!inotify.check_still_ours());
        drop(inotify);
        // SAFETY: it is open, as is asked here, and nobody else closes it
        let left = unsafe { OwnedFd::from_raw_fd(number) };
        fcntl_getfd(&left).expect("it is not ours to close");
    }
}
