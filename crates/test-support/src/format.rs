//! The format of the file of a robust semaphore, as the engine defines it, and how its fields are read and written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub use system_semaphore::robust_format::*;

/// Where a slot is.
#[must_use]
pub fn slot_at(number: u16) -> u64 {
    SLOTS_AT + u64::from(number) * SLOT_SIZE
}

/// The state of a semaphore that was removed. Its other numbers are 0.
#[must_use]
pub fn removed_state() -> u64 {
    StateWord { slot: REMOVED, seq: 0, waiters: false, count: 0 }.encode()
}

/// Reads a number of 4 bytes.
///
/// # Errors
/// As the system says.
pub fn read_u32(file: &File, at: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, at)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// Reads a number of 8 bytes.
///
/// # Errors
/// As the system says.
pub fn read_u64(file: &File, at: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// The number of the slot that this process uses.
///
/// # Panics
/// If it uses none.
#[track_caller]
#[must_use]
pub fn slot_of(file: &File, pid: u32) -> u16 {
    let is_slot =
        |number: &u16| read_u32(file, slot_at(*number) + slot::PID).expect("the file can be read") == pid;
    (0..SLOTS).find(is_slot).expect("the process has a slot")
}
