//! A file that stands in a semaphore's place before anybody opens it: a semaphore's with anything in it, or anything at
//! all. What is no semaphore's is refused, and stays as it is. What is one is opened as its mode says.
#![no_main]

use std::fs::File;

use fuzz::choice;
use fuzz::scribble::{Slot, Write, scribble};
use fuzz::session::{Mode, Session, Step};
use fuzz::test_file::{Location, TestFile};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use system_semaphore::{ErrorKind, SystemSemaphore};
use test_support::byte_lock;
use test_support::format::{
    FILE_SIZE, REGISTRY_BYTE, REMOVED, RESET, SLOTS, StateWord, header, read_u32, read_u64,
};
use test_support::robust_file::{FileSnapshot, assert_works_now};

#[derive(Arbitrary, Debug)]
struct Plan {
    location: Location,
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
    let test_file = TestFile::at(plan.location);
    let file = plant(test_file, &plan.content);
    match test_file.refusal(&file) {
        Some(kind) => is_left_alone(test_file, &plan, kind),
        None => is_opened(test_file, &plan, &file),
    }
    test_file.clear();
});

fn plant(test_file: &TestFile, content: &Content) -> File {
    match content {
        Content::Semaphore { persistent, writes } => {
            let file = test_file.plant_valid(FILE_SIZE, *persistent);
            scribble(&file, writes);
            file
        }
        Content::Longer(more) => test_file.plant_valid(FILE_SIZE + u64::from(*more), true),
        Content::Shorter(length) => test_file.plant_valid(u64::from(*length) % FILE_SIZE, true),
        Content::Anything(bytes) => test_file.plant_bytes(bytes),
    }
}

fn is_left_alone(test_file: &'static TestFile, plan: &Plan, kind: ErrorKind) {
    let before = FileSnapshot::of(&test_file.path);
    let mut session = Session::new(test_file);
    let refused = session.open(plan.mode, PERMITS).err().map(|error| error.kind());
    assert_eq!(refused, Some(kind));
    let refused = SystemSemaphore::remove(&test_file.key).err().map(|error| error.kind());
    assert_eq!(refused, Some(kind));
    plan.steps().for_each(|step| session.take(step));
    session.end();
    assert!(FileSnapshot::of(&test_file.path) == before, "it is another file");
}

fn is_opened(test_file: &'static TestFile, plan: &Plan, file: &File) {
    let mut has_users = false;
    for slot in plan.living.iter().take(4).filter(|slot| slot.number() != REGISTRY_BYTE) {
        let bytes = slot.number()..slot.number() + 1;
        byte_lock::try_lock(file, bytes).expect("nobody else has a lock");
        has_users |= slot.number() < SLOTS;
    }
    let word = |at| read_u32(file, at).expect("it can be read");
    let persistent = word(header::PERSISTENT) != 0;
    let state = StateWord::decode(read_u64(file, header::STATE).expect("it can be read"));
    let is_removed = state.slot == REMOVED;
    let next = word(header::EPOCH).wrapping_add(1);
    let is_next = state.slot == RESET && state.seq == next & 0xF_FFFF;
    let epoch = if is_next { next } else { word(header::EPOCH) };
    let max = word(header::MAX_PERMITS + u64::from(epoch & 1) * 4);
    let is_leftover = is_removed || !persistent && !has_users;

    let mut session = Session::new(test_file);
    let opened = session.open(plan.mode, PERMITS).map_err(|error| error.kind());
    match (plan.mode, is_leftover) {
        (Mode::OpenExisting, true) => {
            assert_eq!(opened.err(), Some(ErrorKind::NotFound));
            assert!(!test_file.path.exists(), "it is left");
        }
        (_, true) => assert_works_now(&opened.expect("a leftover starts afresh"), PERMITS),
        (Mode::CreateNew, false) => assert_eq!(opened.err(), Some(ErrorKind::AlreadyExists)),
        (Mode::Create, false) if max < PERMITS => {
            assert_eq!(opened.err(), Some(ErrorKind::OutOfResources));
        }
        (Mode::Create, false) => assert_works_now(&opened.expect("it is reset"), PERMITS),
        (Mode::Open | Mode::OpenExisting, false) => drop(opened.expect("it can be opened")),
    }
    plan.steps().for_each(|step| session.take(step));
    session.end();
    if !is_leftover && !plan.steps().any(|step| matches!(step, Step::Remove)) {
        assert!(test_file.names(file), "it is gone, though others use it or it is persistent");
    }
}
