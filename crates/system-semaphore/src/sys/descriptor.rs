//! Descriptors that a forked child must not keep.
//!
//! A lock lives as long as anyone has the open file description, so a child that inherits the descriptor would keep its
//! parent's locks alive. Every private descriptor is in a list, and is closed in a child by a `pthread_atfork`
//! handler, or, where none runs (a raw `clone`), at the child's first use of this library.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::fork;

/// A descriptor that closes itself in a forked child.
#[derive(Debug)]
pub(crate) struct PrivateDescriptor {
    descriptor: ManuallyDrop<OwnedFd>,
    entry: &'static Entry,
    listed: u64,
}

/// A place in the list. It is never freed, but used again.
#[derive(Debug)]
struct Entry {
    /// `[ generation:32 | descriptor:32 ]`, or [`FREE`].
    listed: AtomicU64,
    next: *const Self,
}

// SAFETY: `next` is never changed once the entry is in the list, and points to another that is never freed
unsafe impl Sync for Entry {}

const FREE: u64 = u64::MAX;
static FIRST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

impl PrivateDescriptor {
    /// Opens a descriptor by `open`, which must set close-on-exec. It may be called several times: a descriptor opened
    /// while another thread forks may be in the child without being in the list, and is opened again.
    pub(crate) fn open(mut open: impl FnMut() -> io::Result<OwnedFd>) -> io::Result<Self> {
        let generation = fork::generation();
        loop {
            let quiet = wait_for_forks();
            let descriptor = open()?;
            let listed = u64::from(generation) << 32 | u64::from(descriptor.as_raw_fd() as u32);
            let private = Self { descriptor: ManuallyDrop::new(descriptor), entry: enter(listed), listed };
            if STARTED.load(Ordering::SeqCst) == quiet {
                return Ok(private);
            }
        }
    }

    /// The plain descriptor, which children inherit.
    pub(crate) fn into_inner(mut self) -> OwnedFd {
        self.strike_out();
        // SAFETY: `self` is forgotten right after
        let descriptor = unsafe { ManuallyDrop::take(&mut self.descriptor) };
        std::mem::forget(self);
        descriptor
    }

    /// Forgets the number without closing it: it is no longer ours.
    pub(crate) fn disown(self) {
        self.strike_out();
        std::mem::forget(self);
    }

    /// Takes it off the list; `false` if this is a forked child, which has closed it already.
    fn strike_out(&self) -> bool {
        self.entry.listed.compare_exchange(self.listed, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl AsFd for PrivateDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for PrivateDescriptor {
    fn drop(&mut self) {
        if self.strike_out() {
            // SAFETY: nobody uses it again
            unsafe { ManuallyDrop::drop(&mut self.descriptor) };
        }
    }
}

fn enter(listed: u64) -> &'static Entry {
    let mut next = FIRST.load(Ordering::Acquire);
    let is_taken = |entry: &&'static Entry| {
        entry.listed.compare_exchange(FREE, listed, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    if let Some(entry) = entries(next).find(is_taken) {
        return entry;
    }
    let entry = Box::leak(Box::new(Entry { listed: AtomicU64::new(listed), next: ptr::null() }));
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

/// Closes what was listed by another generation than `keep`. Safe in a signal handler or a new child.
pub(super) fn close_inherited(keep: Option<u32>) {
    for entry in entries(FIRST.load(Ordering::Acquire)) {
        let listed = entry.listed.load(Ordering::Acquire);
        if listed == FREE || keep == Some((listed >> 32) as u32) {
            continue;
        }
        if entry.listed.compare_exchange(listed, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // SAFETY: inherited from the parent's list, where it was open, and nobody here has used it
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

pub(super) fn after_fork_in_child() {
    ENDED.store(STARTED.load(Ordering::SeqCst), Ordering::SeqCst);
    close_inherited(None);
}

/// Waits until no fork is under way, as far as that takes no more than moments; tells how many have begun.
fn wait_for_forks() -> u32 {
    for _ in 0..1000 {
        let started = STARTED.load(Ordering::SeqCst);
        if ENDED.load(Ordering::SeqCst) == started {
            return started;
        }
        std::thread::yield_now();
    }
    STARTED.load(Ordering::SeqCst)
}
