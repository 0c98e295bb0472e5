//! A file mapped into memory that other processes write at any moment.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::atomic::{AtomicU32, AtomicU64};
use super::fork;

/// What may lie in memory that others write.
///
/// # Safety
/// Every bit pattern is valid, and every part that is read or written is an atomic.
pub(crate) unsafe trait Shared: Sync {}

// SAFETY: an atomic, and any number is valid
unsafe impl Shared for AtomicU32 {}
// SAFETY: as above
unsafe impl Shared for AtomicU64 {}
// SAFETY: nothing but its elements
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// Declares a struct of shared parts, laid out as C does, at the beginning of a cache line.
macro_rules! shared {
    ($(#[$attribute:meta])* struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$attribute])*
        #[repr(C, align(64))]
        pub(super) struct $name { $($(#[$doc])* pub(super) $field: $type,)* }

        #[allow(unsafe_code)]
        // SAFETY: nothing but its fields, and padding that nobody reads
        unsafe impl $crate::sys::memory::Shared for $name where $($type: $crate::sys::memory::Shared),* {}
    };
}
pub(crate) use shared;

/// The beginning of a file, mapped as a `T`.
///
/// The mapping keeps the descriptor's open file description, and with it its locks, alive until it is unmapped; so
/// whoever can touch the memory has the locks, even if other code of the process closes the descriptor.
///
/// A forked child does not inherit it (else the child would keep the locks of its parent), so there the memory
/// is not to be touched: whoever has one of these compares generations first. Dropping it there does nothing.
pub(crate) struct Mapping<T: Shared> {
    start: NonNull<T>,
    owner: Arc<Owner<T>>,
}

/// Unmaps when dropped.
struct Owner<T: Shared> {
    start: NonNull<T>,
    generation: u32,
}

// SAFETY: it is shared with other processes anyway, as the trait `Shared` allows
unsafe impl<T: Shared> Send for Mapping<T> {}
// SAFETY: as above
unsafe impl<T: Shared> Sync for Mapping<T> {}
// SAFETY: as above
unsafe impl<T: Shared> Send for Owner<T> {}
// SAFETY: as above
unsafe impl<T: Shared> Sync for Owner<T> {}

impl<T: Shared> Mapping<T> {
    /// Maps the file, which must be as long as a `T` before anybody looks, and stay so: to touch what is not there is
    /// SIGBUS, as with every mapped file. To be called in
    /// [`undisturbed`](super::descriptor::undisturbed): a child forked in the middle would inherit the mapping.
    pub(crate) fn new(file: BorrowedFd<'_>) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, wherever the system likes
        let start = unsafe {
            libc::mmap(ptr::null_mut(), size_of::<T>(), protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        let start = NonNull::new(start).filter(|start| start.as_ptr() != libc::MAP_FAILED);
        let start = start.ok_or_else(io::Error::last_os_error)?.cast();
        let mapping = Self { start, owner: Arc::new(Owner { start, generation: fork::generation() }) };
        // SAFETY: exactly what was just mapped
        super::check(unsafe { libc::madvise(start.as_ptr().cast(), size_of::<T>(), libc::MADV_DONTFORK) })?;
        Ok(mapping)
    }
}

impl<T: Shared> Mapping<T> {
    /// A part, by itself.
    pub(crate) fn part<P: Shared>(&self, choose: impl for<'a> FnOnce(&'a T) -> &'a P) -> Part<P, T> {
        Part { part: NonNull::from(choose(self)), owner: Arc::clone(&self.owner) }
    }
}

/// A part of a mapping, which lives as long as any of its parts.
pub(crate) struct Part<P: Shared, T: Shared> {
    part: NonNull<P>,
    #[expect(dead_code, reason = "it keeps the memory")]
    owner: Arc<Owner<T>>,
}

// SAFETY: as for the whole
unsafe impl<P: Shared, T: Shared> Send for Part<P, T> {}
// SAFETY: as above
unsafe impl<P: Shared, T: Shared> Sync for Part<P, T> {}

impl<P: Shared, T: Shared> Deref for Part<P, T> {
    type Target = P;

    #[inline(always)]
    fn deref(&self) -> &P {
        // SAFETY: chosen from what the owner keeps mapped
        unsafe { self.part.as_ref() }
    }
}

impl<P: Shared, T: Shared> fmt::Debug for Part<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Part").field(&self.part).finish()
    }
}

impl<T: Shared> Deref for Mapping<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: mapped until the owner is dropped, page aligned, long enough, and valid whatever it contains
        unsafe { self.start.as_ref() }
    }
}

impl<T: Shared> Drop for Owner<T> {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            // SAFETY: mapped by `new` in this process, and no reference outlives the parts
            unsafe { libc::munmap(self.start.as_ptr().cast(), size_of::<T>()) };
        }
    }
}

impl<T: Shared> fmt::Debug for Mapping<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mapping").field(&self.start).finish()
    }
}
