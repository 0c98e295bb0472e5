//! Telling a forked child from its parent, at the price of one load.
//!
//! The generation is a number that differs between a process and every ancestor whose memory it has a copy of.
//! It lives on a page of its own that is zero in a new child: the kernel wipes it (`MADV_WIPEONFORK`, Linux 4.14,
//! which also covers a raw `clone`), and so does a `pthread_atfork` handler where that was not done, whatever the
//! kernel said (an emulator may say that it will and not do it). Whoever finds a zero takes the next number.
//!
//! A child that shares its parent's memory (`vfork`) shares the generation: it may do nothing here, as POSIX says
//! of such children anyway.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The last generation taken by this process or an ancestor.
static LAST: AtomicU32 = AtomicU32::new(0);

/// This process's generation; never 0.
pub(crate) fn generation() -> u32 {
    let cell = cell();
    match cell.load(Ordering::Relaxed) {
        0 => take_next(cell),
        generation => generation,
    }
}

#[cold]
fn take_next(cell: &AtomicU32) -> u32 {
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match cell.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => {
            // after a `clone` that ran no handlers
            #[cfg(target_os = "linux")]
            run_hook(Some(next));
            next
        }
        // another thread of this child was first
        Err(taken) => taken,
    }
}

/// The cell on its page, once there is one. No lock guards its making: a lock that another thread holds at the
/// moment of a fork would stay locked in the child for ever.
static CELL: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

/// Where this process's generation stands, or 0 in a child that has not asked for it.
pub(crate) fn cell() -> &'static AtomicU32 {
    match existing_cell() {
        Some(cell) => cell,
        None => make_cell(),
    }
}

fn existing_cell() -> Option<&'static AtomicU32> {
    // SAFETY: null or a cell from `make_cell`, which is never freed
    unsafe { CELL.load(Ordering::Acquire).as_ref() }
}

#[cold]
fn make_cell() -> &'static AtomicU32 {
    let made = map_wiped_page().unwrap_or_else(|| Box::leak(Box::new(AtomicU32::new(0))));
    // If another thread was first, what we made is not worth giving back.
    if CELL.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        #[cfg(target_os = "linux")]
        let after: Option<Handler> = Some(in_parent);
        #[cfg(not(target_os = "linux"))]
        let after = None;
        // SAFETY: the handlers call async-signal-safe functions only, as a child of a process with threads must: atomic
        // operations, and by the hook `fstat`, `close` and `ioctl`. POSIX does not list `ioctl`; on Linux, where the hook
        // exists, it is a plain system call. The library is never unmapped while they are registered (the faces link
        // with `-z nodelete`).
        let _: c_int = unsafe { libc::pthread_atfork(Some(before), after, Some(in_child)) };
    }
    existing_cell().expect("one was just stored")
}

fn map_wiped_page() -> Option<&'static mut AtomicU32> {
    let size = size_of::<AtomicU32>();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new private anonymous mapping; nothing else is touched
    let page = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the page just mapped; a kernel that does not know the advice does nothing
        let _: c_int = unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) };
    }
    // SAFETY: zeroed, aligned, large enough, never unmapped, and nobody else has a reference to it
    unsafe { page.cast::<AtomicU32>().as_mut() }
}

#[cfg(target_os = "linux")]
type Handler = unsafe extern "C" fn();

/// The generation of the process that forked last, a child's parent's.
static PARENT: AtomicU32 = AtomicU32::new(0);

extern "C" fn before() {
    PARENT.store(generation(), Ordering::Relaxed);
    #[cfg(target_os = "linux")]
    STARTED.fetch_add(1, Ordering::SeqCst);
}

#[cfg(target_os = "linux")]
extern "C" fn in_parent() {
    ENDED.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn in_child() {
    let Some(cell) = existing_cell() else { return };
    let parent = PARENT.load(Ordering::Relaxed);
    // unless it was wiped, and perhaps taken anew since
    let _ = cell.compare_exchange(parent, 0, Ordering::Relaxed, Ordering::Relaxed);
    #[cfg(target_os = "linux")]
    {
        ENDED.store(STARTED.load(Ordering::SeqCst), Ordering::SeqCst);
        // not 0 if a handler of somebody else's has used this library before
        run_hook(match cell.load(Ordering::Relaxed) {
            0 => None,
            generation => Some(generation),
        });
    }
}

/// How many forks of this process have begun and ended, as far as its handlers saw them.
#[cfg(target_os = "linux")]
static STARTED: AtomicU32 = AtomicU32::new(0);
#[cfg(target_os = "linux")]
static ENDED: AtomicU32 = AtomicU32::new(0);

/// Returns how many forks of this process have begun.
#[cfg(target_os = "linux")]
pub(crate) fn started() -> u32 {
    STARTED.load(Ordering::SeqCst)
}

/// Returns how many forks of this process have ended.
#[cfg(target_os = "linux")]
pub(crate) fn ended() -> u32 {
    ENDED.load(Ordering::SeqCst)
}

/// A function that a new child runs. Its argument is the child's generation, if the child has one yet.
#[cfg(target_os = "linux")]
pub(crate) type Hook = fn(Option<u32>);

/// The hook, or null.
#[cfg(target_os = "linux")]
static HOOK: AtomicPtr<Hook> = AtomicPtr::new(ptr::null_mut());

/// Sets the hook of this process and its later children. A child runs the hook in its `pthread_atfork` handler, and
/// again when it takes its generation. There is one hook, of [`private_fd`](super::private_fd).
///
/// # Safety
/// The hook must be async-signal-safe, because it runs in a child of a process that may have several threads.
#[cfg(target_os = "linux")]
pub(super) unsafe fn on_new_generation(hook: &'static Hook) {
    HOOK.store(ptr::from_ref(hook).cast_mut(), Ordering::Release);
}

#[cfg(target_os = "linux")]
fn run_hook(generation: Option<u32>) {
    // SAFETY: null or from a `&'static`, of which nobody has a `&mut`
    if let Some(hook) = unsafe { HOOK.load(Ordering::Acquire).as_ref() } {
        hook(generation);
    }
}

/// A value that every process has for itself: a forked child starts with a new one and leaves its parent's alone.
pub(crate) struct PerProcess<T: 'static>(AtomicPtr<(u32, T)>);

impl<T: Default + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub(crate) fn get(&self) -> &'static T {
        let generation = generation();
        loop {
            let current = self.0.load(Ordering::Acquire);
            // SAFETY: null or a value from `Box::into_raw` below, which is never freed once stored
            match unsafe { current.as_ref() } {
                Some((made_in, value)) if *made_in == generation => return value,
                _ => {}
            }
            let made = Box::into_raw(Box::new((generation, T::default())));
            if self.0.compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: it came from `Box::into_raw` and was not stored, so nobody else has it
                drop(unsafe { Box::from_raw(made) });
            }
        }
    }
}
