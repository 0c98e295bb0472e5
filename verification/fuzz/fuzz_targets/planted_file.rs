//! A file that stands in a semaphore's place before anybody opens it: a semaphore's with anything in it, or anything at
//! all. What is no semaphore's is refused, and stays as it is. What is one is opened as its mode says.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use fuzz::choice;
use fuzz::scribble::{
    EPOCH_AT, MAX_PERMITS_AT, PERSISTENT_AT, REGISTRY_BYTE, SLOTS, STATE_AT, Slot, Write, scribble,
};
use fuzz::session::{Mode, Step, Visit};
use fuzz::test_file::{Place, Sight, Spot, lock, works};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use system_semaphore::{ErrorKind, SystemSemaphore};

#[derive(Arbitrary, Debug)]
struct Plan {
    place: Place,
    content: Content,
    /// The slots of others who live.
    living: Vec<Slot>,
    mode: Mode,
    steps: Vec<Step>,
}

choice! {
    enum Content {
        Semaphore {
            persistent: bool,
            writes: Vec<Write>,
        },
        /// With a length that it should not have.
        Longer(u16),
        Shorter(u32),
        Anything(Vec<u8>),
    }
}

impl Plan {
    /// So many are enough: some wait for milliseconds.
    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().take(16)
    }
}

const PERMITS: u32 = 3;

fuzz_target!(|plan: Plan| {
    let spot = Spot::at(plan.place);
    let file = plant(spot, &plan.content);
    match spot.refusal(&file) {
        Some(kind) => is_left_alone(spot, &plan, kind),
        None => is_opened(spot, &plan, &file),
    }
    spot.clear();
});

fn plant(spot: &Spot, content: &Content) -> File {
    let size = spot.file_size();
    match content {
        Content::Semaphore { persistent, writes } => {
            let file = spot.plant(size, *persistent);
            scribble(&file, writes);
            file
        }
        Content::Longer(more) => spot.plant(size + u64::from(*more), true),
        Content::Shorter(length) => spot.plant(u64::from(*length) % size, true),
        Content::Anything(bytes) => {
            let file = spot.plant_empty();
            file.write_all_at(bytes, 0).expect("there is room");
            file
        }
    }
}

fn is_left_alone(spot: &'static Spot, plan: &Plan, kind: ErrorKind) {
    let before = Sight::of(&spot.path);
    let mut visit = Visit::new(spot);
    let refused = visit.open(plan.mode, PERMITS).err().map(|error| error.kind());
    assert_eq!(refused, Some(kind));
    let refused = SystemSemaphore::remove(&spot.key).err().map(|error| error.kind());
    assert_eq!(refused, Some(kind));
    plan.steps().for_each(|step| visit.take(step));
    visit.end();
    assert!(Sight::of(&spot.path) == before, "it is another file");
}

fn is_opened(spot: &'static Spot, plan: &Plan, file: &File) {
    let mut has_users = false;
    for slot in plan.living.iter().take(4).filter(|slot| slot.number() != REGISTRY_BYTE) {
        assert!(lock(file, slot.number()), "nobody else has a lock");
        has_users |= slot.number() < SLOTS;
    }
    let word = |at| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).expect("it can be read");
        u32::from_ne_bytes(bytes)
    };
    let persistent = word(PERSISTENT_AT) != 0;
    let (slot, seq) = (word(STATE_AT + 4) & 0xFFF, word(STATE_AT + 4) >> 12);
    let is_removed = slot == u32::from(SLOTS);
    let next = word(EPOCH_AT).wrapping_add(1);
    let is_next = slot == u32::from(SLOTS) + 2 && seq == next & 0xF_FFFF;
    let epoch = if is_next { next } else { word(EPOCH_AT) };
    let max = word(MAX_PERMITS_AT + u64::from(epoch & 1) * 4);
    let is_leftover = is_removed || !persistent && !has_users;

    let mut visit = Visit::new(spot);
    let opened = visit.open(plan.mode, PERMITS).map_err(|error| error.kind());
    match (plan.mode, is_leftover) {
        (Mode::OpenExisting, true) => {
            assert_eq!(opened.err(), Some(ErrorKind::NotFound));
            assert!(!spot.path.exists(), "it is left");
        }
        (_, true) => works(opened.expect("a leftover starts afresh"), PERMITS),
        (Mode::CreateNew, false) => assert_eq!(opened.err(), Some(ErrorKind::AlreadyExists)),
        (Mode::Create, false) if max < PERMITS => {
            assert_eq!(opened.err(), Some(ErrorKind::OutOfResources));
        }
        (Mode::Create, false) => works(opened.expect("it is reset"), PERMITS),
        (Mode::Open | Mode::OpenExisting, false) => drop(opened.expect("it can be opened")),
    }
    plan.steps().for_each(|step| visit.take(step));
    visit.end();
    if !is_leftover && !plan.steps().any(|step| matches!(step, Step::Remove)) {
        assert!(spot.names(file), "it is gone, though others use it or it is persistent");
    }
}
