//! Which thread this is, and whether there are others.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether this process certainly has no other thread. Asks the C library (glibc 2.32, `__libc_single_threaded`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleThreaded(&'static AtomicU8);

impl SingleThreaded {
    /// Finds out whom to ask.
    pub(crate) fn find() -> Self {
        // SAFETY: the name is a C string
        let variable = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
        static NO_ANSWER: AtomicU8 = AtomicU8::new(0);
        // SAFETY: null or the C library's variable of type `char`, which is there for ever
        Self(unsafe { variable.cast::<AtomicU8>().as_ref() }.unwrap_or(&NO_ANSWER))
    }

    #[inline(always)]
    pub(crate) fn get(self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// A number, not 0, that no other living thread of this process has.
#[inline]
pub(crate) fn current() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    // the variable lives in the thread's own block, so that this works until the thread's very end
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

/// Starts a thread that no signal interrupts: handlers are for the program's own threads. `false` if there can be none.
pub(crate) fn spawn_without_signals(name: &str, run: impl FnOnce() + Send + 'static) -> bool {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the set in
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // a new thread has its maker's mask
    // SAFETY: both sets are live, and the first is filled in
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let spawned = std::thread::Builder::new().name(name.into()).spawn(run).is_ok();
    // SAFETY: filled in by the call before, which cannot fail with these arguments
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    spawned
}
