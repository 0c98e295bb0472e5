//! Descriptors that a forked child must not keep.
//!
//! A lock lives as long as anyone has the open file description, so a child that inherits the descriptor, or a mapping of
//! it, would keep its parent's locks alive. Every private descriptor is in a table, at its number, and is closed in a child by
//! a `pthread_atfork` handler, or, where none runs (a raw `clone`), at the child's first use of this library. What is made
//! while another thread forks is made again ([`retry_if_forked`]).
//!
//! Other code of the process may close any descriptor, and the system gives its number to the next one opened. So each
//! remembers which file it was, and is only used, or closed, while it is that.

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

/// A descriptor that closes itself in a forked child.
#[derive(Debug)]
pub(crate) struct PrivateFd {
    descriptor: ManuallyDrop<OwnedFd>,
    file: FileId,
    entry: &'static Entry,
    owner_id: u64,
}

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// What is at a number in the table.
#[derive(Debug)]
struct Entry {
    /// Which descriptor has the number, no two have the same; or [`FREE`]. Who changes the others is the only one to have the
    /// number, and nobody else looks at them but in a child, where this tells whether they still are what was seen.
    owner_id: AtomicU64,
    device: AtomicU64,
    inode: AtomicU64,
    /// The process that listed it.
    generation: AtomicU32,
}

/// What a new entry has.
const FREE: u64 = 0;

impl PrivateFd {
    /// Takes a new descriptor over. To be called in [`retry_if_forked`].
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let file = FileId::of(descriptor.as_raw_fd())?;
        Self::of_file(descriptor, file.device, file.inode)
    }

    /// The same, if it is known which file it is.
    pub(crate) fn of_file(descriptor: OwnedFd, device: u64, inode: u64) -> io::Result<Self> {
        static LAST_OWNER_ID: AtomicU64 = AtomicU64::new(FREE);
        let generation = fork::generation();
        let descriptor = raise(descriptor)?;
        let entry = make_entry(descriptor.as_raw_fd())?;
        // before the entry can be seen in a child
        fork::on_new_generation(&CLOSE_INHERITED);
        let owner_id = LAST_OWNER_ID.fetch_add(1, Ordering::Relaxed) + 1;
        // whoever is listed with this number has lost it
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

    /// Whether the number still is this descriptor's.
    pub(crate) fn check_still_ours(&self) -> bool {
        self.entry.owner_id.load(Ordering::Acquire) == self.owner_id
            && self.file.is_of(self.descriptor.as_raw_fd())
    }

    /// The plain descriptor, which children inherit; `None` if it is lost.
    pub(crate) fn into_inner(mut self) -> Option<OwnedFd> {
        self.unregister().then(|| {
            // SAFETY: `drop` finds it unregistered, so nobody uses it again
            unsafe { ManuallyDrop::take(&mut self.descriptor) }
        })
    }

    /// Takes it out of the table, if it still is ours.
    fn unregister(&mut self) -> bool {
        self.check_still_ours() && self.entry.unregister(self.owner_id)
    }
}

impl AsFd for PrivateFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for PrivateFd {
    fn drop(&mut self) {
        // else somebody else has closed it: other code, or this is a forked child
        if self.unregister() {
            // SAFETY: nobody uses it again
            unsafe { ManuallyDrop::drop(&mut self.descriptor) };
        }
    }
}

impl FileId {
    /// Which one a descriptor is of. May be called in a signal handler.
    fn of(descriptor: RawFd) -> io::Result<Self> {
        let mut data = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the buffer is live, and any number may be asked about
        super::check(unsafe { libc::fstat(descriptor, data.as_mut_ptr()) })?;
        // SAFETY: filled in, as the call succeeded
        let data = unsafe { data.assume_init() };
        #[allow(clippy::unnecessary_cast, reason = "they have 32 bits on some systems")]
        let (device, inode) = (data.st_dev as u64, data.st_ino as u64);
        // Linux has one inode for all that is no file: inotify instances, event counters, timers, and more
        let is_file = data.st_mode & libc::S_IFMT != 0;
        Ok(Self { device, inode: if is_file || !is_readable(descriptor) { inode } else { !inode } })
    }

    /// Whether the number is one of this file.
    fn is_of(self, descriptor: RawFd) -> bool {
        match Self::of(descriptor) {
            Ok(file) => file == self,
            // That it cannot be looked at (for lack of memory) does not mean that somebody has closed it: who took it for
            // lost would keep its locks.
            Err(error) => error.raw_os_error() != Some(libc::EBADF),
        }
    }
}

/// Whether it says how many bytes there are to be read, which of what is no file only notification queues (inotify's) do.
fn is_readable(descriptor: RawFd) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the number is written to a live place, by those that know the question
    unsafe { libc::ioctl(descriptor, libc::FIONREAD as _, &raw mut bytes) == 0 }
}

impl Entry {
    /// Makes it free, if it is this one's.
    fn unregister(&self, owner_id: u64) -> bool {
        self.owner_id.compare_exchange(owner_id, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The table, in parts that are made when they are needed and never freed: the first has room for [`FIRST_PART`] numbers,
/// and each next one for twice as many. So a look never waits for anybody, not even in a child forked in the midst of another's.
static TABLE: [AtomicPtr<Entry>; PARTS] = [const { AtomicPtr::new(ptr::null_mut()) }; PARTS];
/// All numbers that there can be.
const PARTS: usize = 26;
const FIRST_PART: usize = 64;

/// The highest number that was ever listed.
static HIGHEST: AtomicU32 = AtomicU32::new(0);

/// In which part a number is, and where in it.
fn position(number: u32) -> (usize, usize) {
    let part = (number as usize / FIRST_PART + 1).ilog2() as usize;
    (part, number as usize - FIRST_PART * ((1 << part) - 1))
}

/// The entry of a number, if its part is there.
fn entry(number: u32) -> Option<&'static Entry> {
    let (part, index) = position(number);
    let part = NonNull::new(TABLE[part].load(Ordering::Acquire))?;
    // SAFETY: the part has room for more than `index`, by `position`
    let entry = unsafe { part.add(index) };
    // SAFETY: a part is never freed, and an entry is valid if it is zero
    Some(unsafe { entry.as_ref() })
}

/// The entry of a new descriptor's number.
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

/// Closes what was listed by another generation than `keep`. May be called in a new child.
fn close_inherited(keep: Option<u32>) {
    // before 2^31, as all descriptors
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
        let is_valid = file.is_of(number as RawFd);
        if entry.unregister(owner_id) && is_valid {
            // SAFETY: inherited from the parent's table, still the same file, and nobody here has used it
            unsafe { libc::close(number as RawFd) };
        }
    }
}

/// The hook by which a new child closes what it has inherited.
static CLOSE_INHERITED: fork::Hook = close_inherited;

/// Makes something that a forked child must not inherit, in a time without forks: else it is thrown away and made anew.
pub(crate) fn retry_if_forked<T, E>(mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let _reservation = Reservation::new();
    // the handlers count
    let _ = fork::generation();
    let mut tries = 0u32;
    loop {
        let started = fork::started();
        // if the handlers were set up during a fork, one more has ended than begun
        let is_undisturbed = started.wrapping_sub(fork::ended()) as i32 <= 0;
        // a handler of somebody else's that takes so long must not keep us
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

/// What other code of a process may do: makes the number another file's.
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

    use super::*;

    /// Neither is a file, and to `fstat` they are the same.
    #[test]
    fn an_inotify_instance_is_not_taken_for_an_event_counter() {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC).expect("there is one to be had");
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
