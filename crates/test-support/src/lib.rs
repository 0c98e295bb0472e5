//! What the tests of several packages share: other processes that do as they are told ([`Puppet`]), what the system shows of
//! them, the file of a robust semaphore, and the tracing of a process.

#[cfg(target_os = "linux")]
pub mod byte_lock;
#[cfg(target_os = "linux")]
pub mod format;
#[cfg(unix)]
pub mod process;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod ptrace;
mod puppet;
#[cfg(target_os = "linux")]
pub mod robust_file;
mod unsafe_calls;

#[cfg(unix)]
pub use self::puppet::own_sleep_count;
pub use self::puppet::{Failure, Puppet, TEST_TIMEOUT, TestLock, output, serve, start, wait_until};
#[cfg(unix)]
pub use self::unsafe_calls::signal::kill_stray;
#[cfg(unix)]
pub use self::unsafe_calls::system_v;
use system_semaphore::{Error, ErrorKind, SystemSemaphore};

/// How many permits are free. Where the system does not tell, they are all taken, counted, and given back.
///
/// # Errors
/// As the semaphore's own.
pub fn free(semaphore: &SystemSemaphore) -> Result<u32, Error> {
    if semaphore.capabilities().available_permits {
        return semaphore.available_permits();
    }
    let mut taken = Vec::new();
    loop {
        match semaphore.try_acquire() {
            Ok(permit) => taken.push(permit),
            Err(error) if error.kind() == ErrorKind::NoPermits => return Ok(taken.len() as u32),
            Err(error) => return Err(error),
        }
    }
}
