//! A fence of two unequal halves: the frequent side pays nothing, and the rare side pays for both
//! (membarrier(2), Linux 4.14).
//!
//! A [`light`] fence in one thread and a [`heavy`] one in another thread of the same process are
//! ordered like two sequentially consistent fences. If each thread stores before its fence and then
//! loads what the other one has stored, at least one of them sees the other's store.
//!
//! The kernel can refuse the system call after it was available: the process has entered a sandbox
//! since. [`heavy`] then sleeps instead, and [`is_available`] returns `false` from then on. The
//! order of such a pair of fences is not proven. It rests on the assumption at
//! [`STORE_DELAY_LIMIT`].

use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use std::time::Duration;
use std::{io, thread};

use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};

use super::thread::SingleThreaded;

/// Assumed longest time until other CPUs see a store: 20 ms.
///
/// A CPU usually keeps a store to itself for less than a microsecond, and an interrupt or a context
/// switch ends that. No architecture promises a limit. Only a [`heavy`] fence that the kernel has
/// refused relies on this. If a CPU kept a store for longer, both sides could miss each other's
/// store: two threads of one process would have the slot lock at the same time, and could write
/// different records to the process's slot. The number of permits could then be wrong.
///
/// A larger value delays the thread that revokes a bias in a sandbox.
const STORE_DELAY_LIMIT: Duration = Duration::from_millis(20);

/// Whether the kernel has refused a [`heavy`] fence.
static IS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Returns whether the kernel has the fence, and has never refused it to this process.
///
/// While the process has one thread, this registers the process for it. The registration costs
/// nothing then, and milliseconds later.
pub(crate) fn is_available() -> bool {
    // No lock guards these, because a fork could leave it taken. All threads find the same.
    static IS_KNOWN: AtomicBool = AtomicBool::new(false);
    static IS_AVAILABLE: AtomicBool = AtomicBool::new(false);
    if !IS_KNOWN.load(Ordering::Acquire) {
        let needed = MembarrierQuery::PRIVATE_EXPEDITED | MembarrierQuery::REGISTER_PRIVATE_EXPEDITED;
        let is_available = membarrier_query().contains(needed);
        if is_available && SingleThreaded::get_flag().get() {
            // if this fails, `heavy` registers
            let _ = register();
        }
        IS_AVAILABLE.store(is_available, Ordering::Relaxed);
        IS_KNOWN.store(true, Ordering::Release);
    }
    IS_AVAILABLE.load(Ordering::Relaxed) && !IS_REFUSED.load(Ordering::Relaxed)
}

/// The frequent side's half. The compiler keeps the order, and [`heavy`] makes the CPU keep it.
#[inline(always)]
pub(crate) fn light() {
    compiler_fence(Ordering::SeqCst);
}

/// The rare side's half. It takes some microseconds.
///
/// If the kernel refuses the fence, this sleeps for [`STORE_DELAY_LIMIT`] instead, and the caller
/// relies on the assumption there. No thread that then calls [`is_available`] biases a lock. A lock
/// that is biased already stays so until its bias is revoked: at most one more sleep for each such
/// lock.
#[cold]
pub(crate) fn heavy() {
    let barrier = || membarrier(MembarrierCommand::PrivateExpedited);
    // the process must be registered, which takes some milliseconds once
    if barrier().is_err() && register().and_then(|()| Ok(barrier()?)).is_err() {
        IS_REFUSED.store(true, Ordering::Relaxed);
        thread::sleep(STORE_DELAY_LIMIT);
    }
}

fn register() -> io::Result<()> {
    Ok(membarrier(MembarrierCommand::RegisterPrivateExpedited)?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::{array, thread};

    const ROUNDS: usize = 20_000;

    /// In each round, both sides store, execute their fence, and load what the other side has
    /// stored.
    #[test]
    fn of_two_sides_one_sees_the_other() {
        assert!(super::is_available(), "this test needs the system call membarrier");
        let stored: [Vec<AtomicBool>; 2] =
            array::from_fn(|_| (0..ROUNDS).map(|_| AtomicBool::new(false)).collect());
        let arrived = AtomicUsize::new(0);
        let play = |side: usize, fence: fn()| -> Vec<bool> {
            let play_round = |round: usize| {
                arrived.fetch_add(1, Ordering::AcqRel);
                while arrived.load(Ordering::Acquire) < 2 * (round + 1) {
                    std::hint::spin_loop();
                }
                // the first side to arrive sees the other one's arrival late, so the two sides lag
                // in turn
                (0..round / 2 % 64 * usize::from(round % 2 == side)).for_each(|_| std::hint::black_box(()));
                stored[side][round].store(true, Ordering::Relaxed);
                fence();
                stored[1 - side][round].load(Ordering::Relaxed)
            };
            (0..ROUNDS).map(play_round).collect()
        };
        let (light, heavy) = thread::scope(|scope| {
            let light = scope.spawn(|| play(0, super::light));
            (play(1, super::heavy), light.join().expect("it does not panic"))
        });
        let blind = light.iter().zip(&heavy).filter(|(light, heavy)| !**light && !**heavy).count();
        assert_eq!(blind, 0, "in so many of {ROUNDS} rounds neither saw the other");
    }
}
