//! POSIX named semaphores.

use std::ffi::{CStr, c_int};
use std::io;
use std::ptr::NonNull;
#[cfg(not(target_vendor = "apple"))]
use std::time::Duration;
use std::time::Instant;

use super::check;
#[cfg(not(target_vendor = "apple"))]
use super::timespec;

/// An open named semaphore, closed when dropped.
///
/// The C library gives the same address for every open of one semaphore in a process and counts the opens, so
/// [`address`](Self::address) tells whether two are the same.
#[derive(Debug)]
pub(crate) struct Handle(NonNull<libc::sem_t>);

// SAFETY: POSIX makes the functions on semaphores safe to call from any thread
unsafe impl Send for Handle {}
// SAFETY: as above
unsafe impl Sync for Handle {}

/// A new semaphore with these permission bits (less the umask) and count; `EEXIST` if the name has one.
pub(crate) fn create_new(name: &CStr, mode: u32, value: u32) -> io::Result<Handle> {
    // SAFETY: `name` is a C string; mode and value are what O_CREAT takes, as C promotes them
    handle(unsafe { libc::sem_open(name.as_ptr(), libc::O_CREAT | libc::O_EXCL, mode, value) })
}

/// The semaphore of this name; `ENOENT` if there is none. It is never created.
pub(crate) fn open_existing(name: &CStr) -> io::Result<Handle> {
    // SAFETY: `name` is a C string; without O_CREAT there are no further arguments
    handle(unsafe { libc::sem_open(name.as_ptr(), 0) })
}

fn handle(semaphore: *mut libc::sem_t) -> io::Result<Handle> {
    if semaphore == libc::SEM_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(semaphore).map(Handle).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Removes the name; who has the semaphore open keeps it.
pub(crate) fn unlink(name: &CStr) -> io::Result<()> {
    // SAFETY: `name` is a C string
    check(unsafe { libc::sem_unlink(name.as_ptr()) }).map(drop)
}

/// Whether the system has POSIX named semaphores at all.
pub(crate) fn is_supported() -> bool {
    open_existing(c"/").err().and_then(|error| error.raw_os_error()) != Some(libc::ENOSYS)
}

impl Handle {
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Takes one, waiting as long as it takes or until the deadline (`ETIMEDOUT`). A signal handler ends it with
    /// `EINTR`, unless it was installed with `SA_RESTART`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        match deadline {
            // SAFETY: the semaphore is open as long as `self` lives
            None => check(unsafe { libc::sem_wait(self.0.as_ptr()) }).map(drop),
            Some(deadline) => self.wait_until(deadline),
        }
    }

    /// Takes one if that needs no wait (else `EAGAIN`).
    pub(crate) fn try_wait(&self) -> io::Result<()> {
        // SAFETY: the semaphore is open as long as `self` lives
        check(unsafe { libc::sem_trywait(self.0.as_ptr()) }).map(drop)
    }

    /// Adds one (`EOVERFLOW` at the largest count).
    pub(crate) fn post(&self) -> io::Result<()> {
        // SAFETY: the semaphore is open as long as `self` lives
        check(unsafe { libc::sem_post(self.0.as_ptr()) }).map(drop)
    }

    /// The count.
    #[cfg(not(target_vendor = "apple"))]
    pub(crate) fn value(&self) -> io::Result<c_int> {
        let mut value = 0;
        // SAFETY: the semaphore is open as long as `self` lives, and `value` is live
        check(unsafe { libc::sem_getvalue(self.0.as_ptr(), &mut value) })?;
        Ok(value)
    }

    #[cfg(target_vendor = "apple")]
    pub(crate) fn value(&self) -> io::Result<c_int> {
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }

    #[cfg(not(target_vendor = "apple"))]
    fn wait_until(&self, deadline: Instant) -> io::Result<()> {
        match clockwait() {
            Some(clockwait) => {
                let until = timespec(now(libc::CLOCK_MONOTONIC) + remaining(deadline));
                // SAFETY: the signature is the one the C library documents, the semaphore is open, `until` is live
                check(unsafe { clockwait(self.0.as_ptr(), libc::CLOCK_MONOTONIC, &until) }).map(drop)
            }
            None => loop {
                // The wall clock may be set while we wait, so no single wait is long, and the deadline is
                // checked on the clock that cannot be set.
                let slice = remaining(deadline).min(LONGEST_WALL_CLOCK_WAIT);
                let until = timespec(now(libc::CLOCK_REALTIME) + slice);
                // SAFETY: the semaphore is open as long as `self` lives, and `until` is live
                let result = check(unsafe { libc::sem_timedwait(self.0.as_ptr(), &until) }).map(drop);
                let timed_out =
                    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ETIMEDOUT));
                if !timed_out || remaining(deadline).is_zero() {
                    return result;
                }
            },
        }
    }

    #[cfg(target_vendor = "apple")]
    fn wait_until(&self, _: Instant) -> io::Result<()> {
        unreachable!("the backend refuses timeouts where HAS_TIMEOUT is false")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: opened once for this handle, closed once here; nobody uses it afterwards
        unsafe { libc::sem_close(self.0.as_ptr()) };
    }
}

/// Whether [`Handle::value`] tells it here.
pub(crate) const HAS_VALUE: bool = cfg!(not(target_vendor = "apple"));

/// The largest count, `SEM_VALUE_MAX`.
pub(crate) const MAX_VALUE: u32 = if cfg!(target_vendor = "apple") { 32_767 } else { i32::MAX as u32 };

/// Whether [`Handle::wait`] takes a deadline here.
pub(crate) const HAS_TIMEOUT: bool = cfg!(not(target_vendor = "apple"));

/// The longest that a wait goes without a look at the monotonic clock, where the C library can only wait by the
/// wall clock.
#[cfg(not(target_vendor = "apple"))]
const LONGEST_WALL_CLOCK_WAIT: Duration = Duration::from_secs(1);

#[cfg(not(target_vendor = "apple"))]
fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(not(target_vendor = "apple"))]
fn now(clock: libc::clockid_t) -> Duration {
    let mut now = timespec(Duration::ZERO);
    // SAFETY: `now` is live; the clocks used here exist everywhere, so it is filled in
    unsafe { libc::clock_gettime(clock, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(not(target_vendor = "apple"))]
type ClockWait = unsafe extern "C" fn(*mut libc::sem_t, libc::clockid_t, *const libc::timespec) -> c_int;

/// `sem_clockwait` (glibc 2.30), looked up at run time so that the program starts on systems without it too. Only
/// a wait that is about to sleep comes here, which costs much more than the look-up.
#[cfg(not(target_vendor = "apple"))]
fn clockwait() -> Option<ClockWait> {
    // SAFETY: a C string, looked up among what is loaded
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"sem_clockwait".as_ptr()) };
    // SAFETY: if it is there it is the C library's, with the signature that glibc documents; null is None
    unsafe { std::mem::transmute::<*mut std::ffi::c_void, Option<ClockWait>>(symbol) }
}
