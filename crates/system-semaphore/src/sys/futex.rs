//! Sleeping until a word changes (futex(2)).

use std::num::NonZeroU32;
use std::ptr;
use std::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::Timespec;

use super::atomic::AtomicU64;

/// Sleeps on the less significant half of a word while it has this value, until this time of the
/// monotonic clock.
///
/// # Errors
/// - `TIMEDOUT`: the time has come.
/// - `INTR`: a signal handler has run.
/// - `AGAIN`: the word has another value.
pub(crate) fn wait(word: &AtomicU64, value: u32, until: &Timespec, bits: NonZeroU32) -> Result<(), Errno> {
    futex::wait_bitset(low_half(word), futex::Flags::empty(), value, Some(until), bits)
}

/// Wakes up to `count` threads that sleep on the less significant half of a word, on any of these
/// bits.
///
/// The call fails only if there is no memory at the address, which a reference rules out.
pub(crate) fn wake(word: &AtomicU64, count: u32, bits: NonZeroU32) {
    // the kernel takes the number as a signed one
    let count = count.min(i32::MAX as u32);
    let _ = futex::wake_bitset(low_half(word), futex::Flags::empty(), count, bits);
}

/// A futex has 32 bits.
fn low_half(word: &AtomicU64) -> &AtomicU32 {
    let halves: *const AtomicU32 = ptr::from_ref(word).cast();
    let low = halves.wrapping_add(usize::from(cfg!(target_endian = "big")));
    // SAFETY: inside the word, aligned, alive as long as it, and only its address is used
    unsafe { &*low }
}
