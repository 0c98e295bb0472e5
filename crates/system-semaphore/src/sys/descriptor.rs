//! Descriptors that a forked child must not keep.
//!
//! A lock lives as long as anyone has the open file description, so a child that inherits the descriptor, or a mapping of
//! it, would keep its parent's locks alive. Every private descriptor is in a list, and is closed in a child by a
//! `pthread_atfork` handler, or, where none runs (a raw `clone`), at the child's first use of this library. What is made
//! while another thread forks is made again ([`undisturbed`]).
//!
//! Other code of the process may close any descriptor, and the system gives its number to the next one opened. So each
//! remembers which file it was, and is only used, or closed, while it is that.

use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::fork;

/// A descriptor that closes itself in a forked child.
#[derive(Debug)]
pub(crate) struct PrivateDescriptor {
    descriptor: ManuallyDrop<OwnedFd>,
    entry: &'static Entry,
    ticket: u64,
}

/// A place in the list. It is never freed, but used again.
#[derive(Debug)]
struct Entry {
    /// `[ generation:32 | descriptor:32 ]`, or one of the next two.
    listed: AtomicU64,
    /// No two descriptors have the same.
    ticket: AtomicU64,
    device: AtomicU64,
    inode: AtomicU64,
    next: *const Self,
}

const FREE: u64 = u64::MAX;
/// Somebody is filling it in.
const TAKEN: u64 = u64::MAX - 1;

// SAFETY: `next` is never changed once the entry is in the list, and points to another that is never freed
unsafe impl Sync for Entry {}

static FIRST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

impl PrivateDescriptor {
    /// Takes a new descriptor over. To be called in [`undisturbed`].
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        static TICKET: AtomicU64 = AtomicU64::new(0);
        let (device, inode) = identity(descriptor.as_raw_fd())?;
        let ticket = TICKET.fetch_add(1, Ordering::Relaxed);
        let listed = u64::from(fork::generation()) << 32 | u64::from(descriptor.as_raw_fd() as u32);
        // whoever is listed with this number has lost it
        for entry in entries(FIRST.load(Ordering::Acquire)) {
            let _ = entry.listed.compare_exchange(listed, FREE, Ordering::AcqRel, Ordering::Relaxed);
        }
        let entry = take_entry();
        entry.ticket.store(ticket, Ordering::Relaxed);
        entry.device.store(device, Ordering::Relaxed);
        entry.inode.store(inode, Ordering::Relaxed);
        entry.listed.store(listed, Ordering::Release);
        Ok(Self { descriptor: ManuallyDrop::new(descriptor), entry, ticket })
    }

    /// Whether the number still is this descriptor's.
    pub(crate) fn is_ours(&self) -> bool {
        let listed = self.entry.listed.load(Ordering::Acquire);
        listed < TAKEN
            && self.entry.ticket.load(Ordering::Relaxed) == self.ticket
            && self.entry.is_valid(listed)
    }

    /// The plain descriptor, which children inherit; `None` if it is lost.
    pub(crate) fn into_inner(mut self) -> Option<OwnedFd> {
        self.strike_out().then(|| {
            // SAFETY: `drop` finds it struck out, so nobody uses it again
            unsafe { ManuallyDrop::take(&mut self.descriptor) }
        })
    }

    /// Takes it off the list, if it still is ours.
    fn strike_out(&mut self) -> bool {
        let is_ours = self.is_ours();
        if is_ours {
            self.entry.ticket.store(u64::MAX, Ordering::Relaxed);
            self.entry.listed.store(FREE, Ordering::Release);
        }
        is_ours
    }
}

impl AsFd for PrivateDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for PrivateDescriptor {
    fn drop(&mut self) {
        // else somebody else has closed it: other code, or this is a forked child
        if self.strike_out() {
            // SAFETY: nobody uses it again
            unsafe { ManuallyDrop::drop(&mut self.descriptor) };
        }
    }
}

impl Entry {
    /// Whether the number is that of the file that was listed.
    fn is_valid(&self, listed: u64) -> bool {
        let listed_identity = (self.device.load(Ordering::Relaxed), self.inode.load(Ordering::Relaxed));
        match identity(listed as RawFd) {
            Ok(identity) => identity == listed_identity,
            // That it cannot be looked at (for lack of memory) does not mean that somebody has closed it: who took it for
            // lost would keep its locks.
            Err(error) => error.raw_os_error() != Some(libc::EBADF),
        }
    }
}

/// Which file a descriptor is of. May be called in a signal handler.
fn identity(descriptor: RawFd) -> io::Result<(u64, u64)> {
    let mut data = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the buffer is live, and any number may be asked about
    super::check(unsafe { libc::fstat(descriptor, data.as_mut_ptr()) })?;
    // SAFETY: filled in, as the call succeeded
    let data = unsafe { data.assume_init() };
    Ok((data.st_dev, data.st_ino))
}

fn take_entry() -> &'static Entry {
    let mut next = FIRST.load(Ordering::Acquire);
    let is_taken = |entry: &&'static Entry| {
        entry.listed.compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    if let Some(entry) = entries(next).find(is_taken) {
        return entry;
    }
    let entry = Box::leak(Box::new(Entry {
        listed: AtomicU64::new(TAKEN),
        ticket: AtomicU64::new(0),
        device: AtomicU64::new(0),
        inode: AtomicU64::new(0),
        next: ptr::null(),
    }));
    loop {
        entry.next = next;
        match FIRST.compare_exchange(next, entry, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return entry,
            Err(current) => next = current,
        }
    }
}

fn entries(first: *const Entry) -> impl Iterator<Item = &'static Entry> {
    // SAFETY: null or a leaked entry, as is each `next`
    let get = |entry: *const Entry| unsafe { entry.as_ref::<'static>() };
    std::iter::successors(get(first), move |entry| get(entry.next))
}

/// Closes what was listed by another generation than `keep`. May be called in a new child.
pub(super) fn close_inherited(keep: Option<u32>) {
    for entry in entries(FIRST.load(Ordering::Acquire)) {
        let listed = entry.listed.load(Ordering::Acquire);
        if listed >= TAKEN || keep == Some((listed >> 32) as u32) {
            continue;
        }
        let is_valid = entry.is_valid(listed);
        let struck_out = entry.listed.compare_exchange(listed, FREE, Ordering::AcqRel, Ordering::Relaxed);
        if struck_out.is_ok() && is_valid {
            // SAFETY: inherited from the parent's list, still the same file, and nobody here has used it
            unsafe { libc::close(listed as RawFd) };
        }
    }
}

/// How many forks have begun and ended.
static STARTED: AtomicU32 = AtomicU32::new(0);
static ENDED: AtomicU32 = AtomicU32::new(0);

pub(super) extern "C" fn before_fork() {
    STARTED.fetch_add(1, Ordering::SeqCst);
}

pub(super) extern "C" fn after_fork_in_parent() {
    ENDED.fetch_add(1, Ordering::SeqCst);
}

pub(super) fn after_fork_in_child(generation: Option<u32>) {
    ENDED.store(STARTED.load(Ordering::SeqCst), Ordering::SeqCst);
    close_inherited(generation);
}

/// Makes something that a forked child must not inherit, in a time without forks: else it is thrown away and made anew.
pub(crate) fn undisturbed<T, E>(mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    // the handlers count
    let _ = fork::generation();
    let mut tries = 0u32;
    loop {
        let started = STARTED.load(Ordering::SeqCst);
        // if the handlers were set up during a fork, one more has ended than begun
        let is_quiet = started.wrapping_sub(ENDED.load(Ordering::SeqCst)) as i32 <= 0;
        // a handler of somebody else's that takes so long must not keep us
        if is_quiet || tries > 2000 {
            let made = make();
            if made.is_err() || STARTED.load(Ordering::SeqCst) == started || tries > 4000 {
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
