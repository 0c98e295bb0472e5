//! The numbers in the file: which slots are in use, and how much one slot can hold.

use std::sync::atomic::Ordering;

use super::super::algorithm::layout::{MAX_PERMITS, SLOTS};
use super::super::format::{self, Field, StateWord};
use super::{TestSemaphore, unnamed_mapped_file};
use crate::{ErrorKind, SystemSemaphore};

/// A single release can be of more than any count.
#[test]
fn release_of_more_than_the_maximum_is_refused() {
    let max = MAX_PERMITS;
    let test = TestSemaphore::new(max);
    let semaphore = &test.semaphore;
    semaphore.acquire_many(max).expect("there are enough").detach();
    semaphore.add_permits(max).expect("there is room");
    semaphore.acquire_many(max).expect("there are enough").detach();
    semaphore.add_permits(2).expect("there is room");
    assert_eq!((test.permits(), semaphore.detached_permits()), ((2, 2 * max), 2 * max));
    // the tag is to be this process's, or it goes the long way
    semaphore.acquire().expect("there are two").forget().expect("it is there");
    semaphore.add_permits(1).expect("there is room");
    let outcome = semaphore.release(2 * max).map_err(|error| error.kind());
    let after = (test.permits(), semaphore.detached_permits());
    SystemSemaphore::remove(&test.key).expect("it is there");
    assert_eq!((outcome, after), (Err(ErrorKind::OutOfResources), ((2, 2 * max), 2 * max)));
}

/// A scan for dead users begins at the slot recovered last, and must cover all slots.
#[test]
fn slots_in_use_are_found_from_any_start() {
    let mapped = unnamed_mapped_file();
    let (layout, used) = (mapped.layout(), [0, 3, 63, 64, 70, 200, SLOTS - 1]);
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

/// Two builds that share a semaphore agree on all of this. A change needs another version.
#[test]
fn format_is_the_one_of_version_2() {
    let paths = |fields: &[Field]| fields.iter().map(|field| (field.offset, field.size)).collect::<Vec<_>>();
    assert_eq!((format::MAGIC, format::VERSION, format::SLOTS), (*b"SYSSEMA4", 2, 4093));
    assert_eq!((format::REGISTRY_BYTE, format::WATCHER_BYTE), (4093, 4094));
    assert_eq!((format::REMOVED, format::INITIAL, format::RESET), (4093, 4094, 4095));
    assert_eq!((format::SLOTS_AT, format::SLOT_SIZE, format::FIRST_SLOTS), (640, 64, 54));
    assert_eq!((format::NAME_AT, format::FILE_SIZE), (262_592, 266_240));
    let header = [
        (0, 8),
        (8, 4),
        (12, 4),
        (16, 4),
        (20, 4),
        (24, 4),
        (32, 8),
        (40, 8),
        (48, 8),
        (64, 8),
        (72, 8),
        (80, 8),
        (128, 512),
    ];
    assert_eq!(paths(format::header::FIELDS), header);
    let slot = [(0, 8), (8, 8), (16, 4), (20, 4), (24, 4), (28, 4), (32, 8), (40, 4), (48, 8), (56, 4)];
    assert_eq!(paths(format::slot::FIELDS), slot);
    let state = StateWord { slot: 0xABC, seq: 0x12345, waiters: true, count: 0x789_ABCD };
    assert_eq!(state.encode(), 0x1234_5ABC_8789_ABCD);
    assert_eq!(StateWord::decode(state.encode()), state);
}
