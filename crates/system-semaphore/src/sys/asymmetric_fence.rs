//! A fence of two unequal halves: who passes often pays nothing, who passes rarely pays for both (membarrier(2), Linux 4.14).
//!
//! Between a [`light`] fence in one thread and a [`heavy`] one in another thread of the same process there is an order, as there is
//! between two sequentially consistent fences: if each thread stores before its fence and loads what the other has stored after
//! it, at least one of them sees the other's store.

use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use std::time::Duration;
use std::{io, thread};

use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};

use super::thread::SingleThreaded;

/// No processor keeps a store to itself for so long.
const STORE_DELAY_LIMIT: Duration = Duration::from_millis(20);

/// Whether there is such a fence here. While the process has one thread, it is registered for it, which costs nothing then, and
/// milliseconds later.
pub(crate) fn is_available() -> bool {
    // No lock guards them, as a fork could leave it locked; all find the same.
    static IS_KNOWN: AtomicBool = AtomicBool::new(false);
    static IS_AVAILABLE: AtomicBool = AtomicBool::new(false);
    if !IS_KNOWN.load(Ordering::Acquire) {
        let needed = MembarrierQuery::PRIVATE_EXPEDITED | MembarrierQuery::REGISTER_PRIVATE_EXPEDITED;
        let is_available = membarrier_query().contains(needed);
        if is_available && SingleThreaded::get_flag().get() {
            // if it fails, that is found out when it is needed
            let _ = register();
        }
        IS_AVAILABLE.store(is_available, Ordering::Relaxed);
        IS_KNOWN.store(true, Ordering::Release);
    }
    IS_AVAILABLE.load(Ordering::Relaxed)
}

/// What the frequent side passes: the compiler keeps the order, and the other side makes the processor do so.
#[inline(always)]
pub(crate) fn light() {
    compiler_fence(Ordering::SeqCst);
}

/// What the rare side passes, in some microseconds.
#[cold]
pub(crate) fn heavy() {
    let barrier = || membarrier(MembarrierCommand::PrivateExpedited);
    // it must be registered, by a system call that may take some milliseconds once
    if barrier().is_err() && register().and_then(|()| Ok(barrier()?)).is_err() {
        // It was there before: a sandbox was entered since.
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

    /// In each round, both sides store, pass their fence, and load what the other has stored.
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
                // who comes first sees the other's arrival later: now the one is behind, now the other
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
