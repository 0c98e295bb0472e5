//! A file that is mapped into memory and that other processes write at any time.
//!
//! # Invariant of the crate
//!
//! No thread of a forked child uses a reference into a mapping that an ancestor made. The child does
//! not have the memory (`MADV_DONTFORK`). Another mapping may lie at its address. The access is
//! undefined behaviour then, and usually raises SIGSEGV.
//!
//! A build with debug assertions checks the invariant at each access to a [`Mapping`] or a [`Part`].
//! Other builds do not, because the check would be on the fast path. These places establish the
//! invariant by comparing [generations](fork::generation):
//!
//! | place | in a forked child |
//! |---|---|
//! | `Attachment::in_this_process`, `with_open` (all operations of handles and guards) | the semaphore is opened anew |
//! | `Attachment::fast_path` (each use of a [`Part`]) | there is no fast path |
//! | `Attachment::drop` | the parent's entries are not touched |
//! | `Permit::num_permits`, `merge`, `release_slow` | the guard is empty |
//! | `InheritablePermit::drop` | only the descriptor is closed |
//! | `RobustSemaphore::drop` | the slot and the file stay as they are |
//! | `Waiter::pause`, after a sleep that a signal handler has ended | the wait fails |
//! | `Waiter::drop` | the waiter does not leave the parent's queue |
//! | `PerProcess`, for the registry of attachments and the death watch | both are empty |
//! | `Area::drop` | nothing is unmapped |
//!
//! One case is left to the program: a signal handler that calls `fork` and returns in the child, if
//! it has interrupted an operation elsewhere than in its sleep. The child then continues the
//! operation of its parent, without the memory. POSIX does not list `fork` among the functions that
//! a signal handler may call.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::atomic::{AtomicU32, AtomicU64};
use super::fork;
use super::mapping_placement::{Placement, page_size};

/// A type that may lie in memory that other processes write.
///
/// A reference to such a type may point into a [`Mapping`]. It must not be used in a forked child:
/// see the [module](self).
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

/// Declares a struct of shared parts, with C's layout and the alignment of a cache line.
macro_rules! shared {
    ($(#[$attribute:meta])* struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$attribute])*
        #[repr(C, align(64))]
        pub(crate) struct $name { $($(#[$doc])* pub(crate) $field: $type,)* }

        #[allow(unsafe_code)]
        // SAFETY: nothing but its fields, and padding that nobody reads
        unsafe impl $crate::sys::shared_memory::Shared for $name where $($type: $crate::sys::shared_memory::Shared),* {}
    };
}
pub(crate) use shared;

/// A file, mapped as a `T` and an `R` that follows it.
///
/// The mapping keeps the open file description and its locks alive until it is unmapped. A process
/// that can access the memory therefore has the locks, even if other code of it has closed the
/// descriptor.
///
/// A forked child does not inherit the mapping, because the child would keep the locks of its
/// parent. The memory must not be accessed there, which is an invariant of the crate: see the
/// [module](self). Dropping a mapping in a child does nothing.
///
/// From the file after the first [`SPLIT_THRESHOLD`] on, each file is mapped in two parts: the
/// first pages of all such files side by side, the rest elsewhere. Eight first pages then share one
/// cache line of page-table entries.
///
/// [`SPLIT_THRESHOLD`]: super::mapping_placement::SPLIT_THRESHOLD
pub(crate) struct Mapping<T: Shared, R: Shared> {
    beginning: NonNull<T>,
    rest: NonNull<R>,
    owner: Arc<Owner>,
}

/// The memory that is unmapped when the mapping and its parts are dropped.
struct Owner {
    areas: (Area, Option<Area>),
    /// Dropped last.
    #[expect(dead_code, reason = "it is taken as long as this lives")]
    placement: Placement,
}

impl Owner {
    /// Checks the invariant of the crate, in builds with debug assertions.
    #[inline(always)]
    fn debug_assert_own(&self) {
        debug_assert_eq!(
            self.areas.0.generation,
            fork::generation(),
            "a forked child uses its parent's mapping"
        );
    }
}

// SAFETY: it is shared with other processes anyway, as the trait `Shared` allows
unsafe impl<T: Shared, R: Shared> Send for Mapping<T, R> {}
// SAFETY: as above
unsafe impl<T: Shared, R: Shared> Sync for Mapping<T, R> {}

impl<T: Shared, R: Shared> Mapping<T, R> {
    /// Maps the file. The file must be as long as both types before the first access, and must stay
    /// so: an access beyond its end raises SIGBUS, as with every mapped file.
    ///
    /// The caller calls this in [`retry_if_forked`](super::private_fd::retry_if_forked), because a
    /// child that was forked in between would inherit the mapping.
    pub(crate) fn new(file: BorrowedFd<'_>) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(align_of::<R>())) };
        let (first, second) = (size_of::<T>(), size_of::<R>());
        let (mut placement, must_split) = Placement::register();
        if !must_split || first != page_size() {
            let area = Area::map(file, ptr::null_mut(), 0, first + second)?;
            let beginning = area.start.cast();
            // SAFETY: within what was just mapped
            let rest = unsafe { area.start.byte_add(first) }.cast();
            return Ok(Self { beginning, rest, owner: Arc::new(Owner { areas: (area, None), placement }) });
        }
        let following = Area::map(file, ptr::null_mut(), first as libc::off_t, second)?;
        let area = Area::map(file, placement.choose_address(following.start), 0, first)?;
        placement.record_address(area.start);
        let (beginning, rest) = (area.start.cast(), following.start.cast());
        Ok(Self { beginning, rest, owner: Arc::new(Owner { areas: (area, Some(following)), placement }) })
    }

    /// Returns the part that follows the first one.
    #[inline(always)]
    pub(crate) fn rest(&self) -> &R {
        self.owner.debug_assert_own();
        // SAFETY: mapped as long as the owner lives, in this process by the invariant of the crate; aligned, long enough,
        // and valid whatever it contains
        unsafe { self.rest.as_ref() }
    }

    /// Returns a part that keeps the mapping alive.
    pub(crate) fn part<P: Shared>(&self, choose: impl for<'a> FnOnce(&'a T, &'a R) -> &'a P) -> Part<P> {
        Part { part: NonNull::from(choose(self, self.rest())), owner: Arc::clone(&self.owner) }
    }
}

impl<T: Shared, R: Shared> Deref for Mapping<T, R> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.owner.debug_assert_own();
        // SAFETY: as for the rest
        unsafe { self.beginning.as_ref() }
    }
}

impl<T: Shared, R: Shared> fmt::Debug for Mapping<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mapping").field(&self.beginning).finish()
    }
}

/// A part of a mapping. The mapping lives as long as any of its parts.
///
/// The memory must not be accessed in a forked child, which is an invariant of the crate: see the
/// [module](self).
pub(crate) struct Part<P: Shared> {
    part: NonNull<P>,
    owner: Arc<Owner>,
}

// SAFETY: as for the whole
unsafe impl<P: Shared> Send for Part<P> {}
// SAFETY: as above
unsafe impl<P: Shared> Sync for Part<P> {}

impl<P: Shared> Deref for Part<P> {
    type Target = P;

    #[inline(always)]
    fn deref(&self) -> &P {
        self.owner.debug_assert_own();
        // SAFETY: chosen from what the owner keeps mapped, in this process by the invariant of the crate
        unsafe { self.part.as_ref() }
    }
}

impl<P: Shared> fmt::Debug for Part<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Part").field(&self.part).finish()
    }
}

/// Memory in which a part of a file is mapped. Dropping it unmaps the memory.
struct Area {
    start: NonNull<c_void>,
    length: usize,
    generation: u32,
}

// SAFETY: it is an address, and nobody uses it but to unmap it
unsafe impl Send for Area {}
// SAFETY: as above
unsafe impl Sync for Area {}

impl Area {
    /// Maps a part of the file at this address if the address is free, and elsewhere otherwise.
    fn map(file: BorrowedFd<'_>, address: *mut c_void, from: libc::off_t, length: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, in place of no other
        let start =
            unsafe { libc::mmap(address, length, protection, libc::MAP_SHARED, file.as_raw_fd(), from) };
        let start = NonNull::new(start).filter(|start| start.as_ptr() != libc::MAP_FAILED);
        let start = start.ok_or_else(io::Error::last_os_error)?;
        let area = Self { start, length, generation: fork::generation() };
        // SAFETY: exactly what was just mapped
        super::check(unsafe { libc::madvise(start.as_ptr(), length, libc::MADV_DONTFORK) })?;
        Ok(area)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            // SAFETY: mapped by `map` in this process, and no reference outlives the owner
            unsafe { libc::munmap(self.start.as_ptr(), self.length) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::atomic::Ordering;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::super::mapping_placement::{PAGE_TABLE_SPAN, SPLIT_THRESHOLD};
    use super::*;

    type Beginning = [AtomicU64; 512];
    type Rest = [AtomicU32; 3000];

    fn new_file(name: &str) -> OwnedFd {
        let file = memfd_create(name, MemfdFlags::CLOEXEC).expect("there is memory");
        ftruncate(&file, 5 * 4096).expect("there is memory");
        file
    }

    fn map(file: &OwnedFd) -> Mapping<Beginning, Rest> {
        Mapping::new(file.as_fd()).expect("there is memory")
    }

    /// Returns whether the first part is mapped apart from the rest.
    fn is_split(mapping: &Mapping<Beginning, Rest>) -> bool {
        mapping.rest.addr().get() != mapping.beginning.addr().get() + size_of::<Beginning>()
    }

    fn splits() -> bool {
        cfg!(target_pointer_width = "64") && page_size() == size_of::<Beginning>()
    }

    #[test]
    fn many_files_are_as_one() {
        const NAME: &str = "many files";
        let file = new_file(NAME);
        let mappings: Vec<_> = (0..SPLIT_THRESHOLD + 40).map(|_| map(&file)).collect();
        let (first, last) = (&mappings[0], &mappings[SPLIT_THRESHOLD + 39]);
        assert!(mappings[SPLIT_THRESHOLD..].iter().all(|one| is_split(one) == splits()));
        first[511].store(1, Ordering::Relaxed);
        first.rest()[0].store(2, Ordering::Relaxed);
        last.rest()[2999].store(3, Ordering::Relaxed);
        let part = last.part(|_, rest| &rest[2998]);
        part.store(4, Ordering::Relaxed);
        for mapping in &mappings {
            assert_eq!((mapping[510].load(Ordering::Relaxed), mapping[511].load(Ordering::Relaxed)), (0, 1));
            let rest = [0, 1, 2998, 2999].map(|at: usize| mapping.rest()[at].load(Ordering::Relaxed));
            assert_eq!(rest, [2, 0, 4, 3]);
        }
        drop(mappings);
        let is_mapped = || fs::read_to_string("/proc/self/maps").expect("it can be read").contains(NAME);
        part.store(5, Ordering::Relaxed);
        assert!(is_mapped(), "the part is mapped still");
        drop(part);
        assert!(!is_mapped());
    }

    /// The generation differs from that of this process, as in a forked child.
    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "a forked child uses its parent's mapping")]
    fn debug_build_detects_access_in_forked_child() {
        let mut mapping = map(&new_file("inherited"));
        Arc::get_mut(&mut mapping.owner).expect("it has no parts").areas.0.generation += 1;
        mapping[0].store(1, Ordering::Relaxed);
    }

    #[test]
    fn the_beginnings_of_many_are_side_by_side() {
        let file = new_file("neighbours");
        if !splits() {
            return;
        }
        let (mut lowest, mut highest) = (usize::MAX, 0);
        // later mappings reuse the addresses of earlier ones; another test's mappings may lie
        // between them
        for _ in 0..20 {
            let mappings: Vec<_> = (0..SPLIT_THRESHOLD + 80).map(|_| map(&file)).collect();
            for mapping in &mappings[SPLIT_THRESHOLD..] {
                let address = mapping.beginning.addr().get();
                (lowest, highest) = (lowest.min(address), highest.max(address));
            }
        }
        assert!(highest - lowest <= 2 * PAGE_TABLE_SPAN, "from {lowest:#x} to {highest:#x}");
    }
}
