//! The numbers in the file: which slots are in use, and how much one slot can hold.

use std::sync::atomic::Ordering;

use super::super::algorithm::layout::{MAX_PERMITS, SLOTS};
use super::{Stage, core_of_nobody, key};
use crate::{ErrorKind, SystemSemaphore};

/// A single release can be of more than any count.
#[test]
fn who_holds_more_than_can_be_free_cannot_give_it_back_at_once() {
    let max = MAX_PERMITS;
    let stage = Stage::new(max);
    let semaphore = &stage.semaphore;
    semaphore.acquire_many(max).expect("there are enough").hold();
    semaphore.add_permits(max).expect("there is room");
    semaphore.acquire_many(max).expect("there are enough").hold();
    semaphore.add_permits(2).expect("there is room");
    assert_eq!((stage.books(), semaphore.held_permits()), ((2, 2 * max), 2 * max));
    // the tag is to be this process's, or it goes the long way
    semaphore.acquire().expect("there are two").forget().expect("it is there");
    semaphore.add_permits(1).expect("there is room");
    let outcome = semaphore.release(2 * max).map_err(|error| error.kind());
    let after = (stage.books(), semaphore.held_permits());
    SystemSemaphore::remove(key(&stage.name)).expect("it is there");
    assert_eq!((outcome, after), (Err(ErrorKind::OutOfResources), ((2, 2 * max), 2 * max)));
}

/// Who looks for the dead begins about the last one, and misses none.
#[test]
fn the_slots_in_use_are_found_from_everywhere() {
    let core = core_of_nobody();
    let (layout, used) = (core.layout(), [0, 3, 63, 64, 70, 200, SLOTS - 1]);
    used.iter().for_each(|number| layout.set_used(*number, true));
    // of no slots: the bits behind the last one
    layout.used[usize::from(SLOTS / 64)].fetch_or(!0 << (SLOTS % 64), Ordering::Relaxed);
    for (from, first) in [(0, 0), (63, 0), (64, 64), (70, 64), (130, 200), (201, 200), (SLOTS - 1, SLOTS - 1)]
    {
        let mut found = layout.used_slots_from(from);
        let mut slots: Vec<u16> = found.by_ref().collect();
        assert_eq!((slots[0], found.next()), (first, None), "from {from}");
        slots.sort_unstable();
        assert_eq!(slots, used, "from {from}");
    }
}
