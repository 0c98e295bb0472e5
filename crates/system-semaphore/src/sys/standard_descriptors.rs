//! Keeps our descriptors off the numbers 0, 1 and 2.
//!
//! The kernel gives a new descriptor the lowest free number. If a program has closed its standard descriptors, as
//! daemons do, a file that is opened next gets the number 0, 1 or 2, and everything that the program prints from then
//! on is written into that file. While a [`Reservation`] lives, `/dev/null` occupies those of the three numbers that
//! are free, so that whatever the library opens gets a higher one.

use std::fs::{File, OpenOptions};
#[cfg(target_os = "linux")]
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fork::{self, PerProcess};

/// The lowest number that a descriptor of ours may have.
const FIRST_ALLOWED: RawFd = 3;

/// Occupies the free ones among the numbers 0, 1 and 2 until it is dropped.
pub(crate) struct Reservation {
    /// The process that made it: a forked child has a copy, which must not be counted there.
    generation: u32,
}

impl Reservation {
    /// Occupies the free numbers. If `/dev/null` cannot be opened, nothing is occupied: [`raise`] then still moves what
    /// was opened.
    ///
    /// # Cost
    /// One system call, and a mutex that other threads hold for at most four.
    pub(crate) fn new() -> Self {
        let mut placeholders = placeholders();
        placeholders.reservations += 1;
        if is_any_free() {
            while let Ok(file) = OpenOptions::new().read(true).write(true).open("/dev/null") {
                if file.as_raw_fd() >= FIRST_ALLOWED {
                    break;
                }
                placeholders.files.push(file);
            }
        }
        Self { generation: fork::generation() }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let mut placeholders = placeholders();
        placeholders.reservations -= 1;
        if placeholders.reservations == 0 {
            placeholders.files.clear();
        }
    }
}

/// Moves a descriptor to a number above 2, if it has a lower one: other code may have closed a standard descriptor since the
/// [`Reservation`] was made. The new descriptor is closed on `exec`.
#[cfg(target_os = "linux")]
pub(crate) fn raise(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() >= FIRST_ALLOWED {
        return Ok(descriptor);
    }
    // std duplicates to a number of at least 3
    descriptor.as_fd().try_clone_to_owned()
}

/// Moves a descriptor that other programs are to inherit to a number that programs do not use by convention: `preferred` or
/// higher, or the highest free one if the process may not have so many. The new descriptor is not closed on `exec`.
#[cfg(target_os = "linux")]
pub(crate) fn move_up_inheritable(descriptor: OwnedFd, preferred: RawFd) -> io::Result<OwnedFd> {
    let duplicate = |lowest: RawFd| {
        // SAFETY: it takes plain numbers, and the descriptor is open
        super::check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD, lowest) })
    };
    let mut result = duplicate(preferred);
    let mut lowest = preferred;
    // EINVAL: the number is not below the limit; EMFILE: none from there on is free
    while lowest > FIRST_ALLOWED
        && matches!(&result, Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMFILE)))
    {
        lowest -= 1;
        result = duplicate(lowest);
    }
    // SAFETY: just made, and nobody else has it
    result.map(|number| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether one of the numbers 0, 1 and 2 is not open.
fn is_any_free() -> bool {
    let mut numbers = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three live entries; a number that is not open is reported and does no harm
    let found = unsafe { libc::poll(numbers.as_mut_ptr(), 3, 0) };
    found > 0 && numbers.iter().any(|number| number.revents & libc::POLLNVAL != 0)
}

/// What occupies the numbers, for all threads of the process.
#[derive(Default)]
struct Placeholders {
    files: Vec<File>,
    reservations: usize,
}

fn placeholders() -> MutexGuard<'static, Placeholders> {
    static PLACEHOLDERS: PerProcess<Mutex<Placeholders>> = PerProcess::new();
    PLACEHOLDERS.get().lock().unwrap_or_else(PoisonError::into_inner)
}
