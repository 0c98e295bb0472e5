//! The current thread, whether the process has others, and waiting for other threads.

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::time::Duration;
use std::{ptr, thread};

/// Whether this process certainly has a single thread, as the C library reports it (glibc 2.32,
/// `__libc_single_threaded`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleThreaded(&'static AtomicU8);

impl SingleThreaded {
    /// Finds the C library's flag.
    pub(crate) fn get_flag() -> Self {
        static NO_ANSWER: AtomicU8 = AtomicU8::new(0);
        // The lookup of a symbol takes as long as a system call or two. No lock guards the first
        // lookup, because a fork could leave the lock taken. All lookups find the same.
        static FOUND: AtomicPtr<AtomicU8> = AtomicPtr::new(ptr::null_mut());
        let mut variable = FOUND.load(Ordering::Relaxed);
        if variable.is_null() {
            // SAFETY: the name is a C string
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
            variable = if found.is_null() { NO_ANSWER.as_ptr().cast() } else { found.cast() };
            FOUND.store(variable, Ordering::Relaxed);
        }
        // SAFETY: The address is valid for ever: it is that of our static or of the C library's variable, a `char`. glibc
        // stores to its variable as a plain `char`, not atomically. Such a store beside our load would be a data race. There
        // is none, because <sys/single_threaded.h> lets every thread load the variable as a plain `char` at any time.
        // glibc must therefore store to it only while one thread runs: before it starts the second one, in a forked
        // child, or after the last other thread has ended. Should a version store at another time, our load is one
        // instruction on one byte, and returns the old value or the new one.
        Self(unsafe { &*variable })
    }

    /// Uses this flag instead of the C library's.
    #[cfg(test)]
    pub(crate) fn with_flag(variable: &'static AtomicU8) -> Self {
        Self(variable)
    }

    #[inline(always)]
    pub(crate) fn get(self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Returns an even number, not 0, that no other living thread of this process has.
#[inline]
pub(crate) fn current() -> usize {
    thread_local!(static MARK: u16 = const { 0 });
    // the variable lies in the thread's own block, so this works until the very end of the thread
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

/// Waits for a moment that grows with the number of tries.
pub(crate) fn back_off(tries: &mut u32) {
    match *tries {
        0..100 => std::hint::spin_loop(),
        100..110 => thread::yield_now(),
        // the thread that is waited for may have a lower real-time priority, and needs the CPU
        _ => thread::sleep(Duration::from_micros(50) * (*tries - 109).min(20)),
    }
    *tries = tries.saturating_add(1);
}

type Run = Box<dyn FnOnce() + Send>;

/// As large as the standard library's, whatever the limit of the first thread is. A program may
/// keep the whole stack in memory (`mlockall`).
const STACK_SIZE: usize = 2 << 20;

/// Starts a thread that no signal interrupts, because handlers are for the program's own threads.
/// Returns `false` if the thread cannot be created.
///
/// The standard library cannot start it: a thread of the standard library needs more memory when it
/// runs (for a signal stack), and aborts the process if there is none.
pub(crate) fn spawn_without_signals(name: &'static CStr, run: impl FnOnce() + Send + 'static) -> bool {
    let run: Run = Box::new(move || {
        // SAFETY: cannot fail
        let this = unsafe { libc::pthread_self() };
        // SAFETY: a C string; if it is too long, there is no name
        unsafe { libc::pthread_setname_np(this, name.as_ptr()) };
        run();
    });
    let run = Box::into_raw(Box::new(run));
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the set in
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // a new thread has its maker's mask
    // SAFETY: both sets are live, and the first is filled in
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    // SAFETY: from `into_raw`, and this function uses it again only if no thread was created
    let created = unsafe { create_detached(run.cast()) };
    // SAFETY: filled in by the call before, which cannot fail with these arguments
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    if !created {
        // SAFETY: from `into_raw`, and there is no thread that has taken it
        drop(unsafe { Box::from_raw(run) });
    }
    created
}

/// Creates a detached thread that runs [`start`] with this argument. Returns `false` if there is no
/// new thread.
///
/// # Safety
/// `run` comes from [`Box::into_raw`] of a `Box<Run>`. If this returns `true`, the new thread owns
/// the box, and the caller must not use it again.
unsafe fn create_detached(run: *mut c_void) -> bool {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: fills them in
    if unsafe { libc::pthread_attr_init(attributes) } != 0 {
        return false;
    }
    // SAFETY: filled in; a size that is too small for this system changes nothing
    unsafe { libc::pthread_attr_setstacksize(attributes, STACK_SIZE) };
    // SAFETY: as above
    unsafe { libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) };
    let mut thread = MaybeUninit::uninit();
    // SAFETY: all is live and filled in, and the caller gives `run` to this one thread
    let error = unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, start, run) };
    // SAFETY: as above
    unsafe { libc::pthread_attr_destroy(attributes) };
    error == 0
}

extern "C" fn start(run: *mut c_void) -> *mut c_void {
    // SAFETY: from `into_raw`, for this thread alone, as `create_detached` requires
    let run = unsafe { Box::from_raw(run.cast::<Run>()) };
    // the panic was reported, and ends only this thread
    let _ = catch_unwind(AssertUnwindSafe(run));
    ptr::null_mut()
}
