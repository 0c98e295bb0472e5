//! Processes that are halted or killed between any two steps of the engine.

mod actor;
mod deaths;
mod lifetime;
mod recovery;
mod resets;
mod slots;
mod wakes;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

pub(crate) use self::actor::{hit, is_expired, longest_sleep};
use super::algorithm::layout::FILE_SIZE;
use super::algorithm::mapped_file::MappedFile;
use super::algorithm::operation::{self, Operation, Outcome, WaitersFlag};
use super::lifetime::file::map;
use super::lifetime::path::SemaphorePath;
use super::lifetime::{close, open};
use crate::backend::api::OpenRequest;
use crate::{AccessMode, KeyType, NativeIpcKey, SystemSemaphore};

/// An open file that has no name, and nothing in it.
pub(super) fn unnamed_mapped_file() -> MappedFile {
    let path = Arc::new(SemaphorePath::of("of nobody").expect("a good name"));
    let open = || {
        let file = memfd_create("of nobody", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, FILE_SIZE).map(|()| file)
    };
    map(&path, open).expect("there is memory").0
}

/// A semaphore of the test's own.
struct TestSemaphore {
    name: String,
    key: NativeIpcKey,
    semaphore: SystemSemaphore,
}

impl TestSemaphore {
    fn new(count: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("system-semaphore-unit-{}-{number}", std::process::id());
        let key = NativeIpcKey::new(&name, KeyType::Robust);
        let semaphore = SystemSemaphore::new(&key, count, AccessMode::CreateNew).expect("it is new");
        Self { name, key, semaphore }
    }

    /// What lets an actor open it as `s`.
    fn opening(&self, initial: u32, mode: &str) -> String {
        format!("open\ts\t{}\t{initial}\t{mode}", self.key)
    }

    /// What the books say when the dead are buried: what is free, and what is held in the current epoch.
    fn permits(&self) -> (u32, u32) {
        let free = self.semaphore.available_permits().expect("it is told");
        let mapped = self.open_mapped();
        let epoch = mapped.resolve_epoch();
        let slots = mapped.layout().used_slots();
        let held = slots.map(|slot| mapped.ensure_slot(slot).expect("it is there").held(epoch)).sum();
        self.close(&mapped);
        (free, held)
    }

    #[track_caller]
    fn assert_permits(&self, free: u32, held: u32, context: impl Display) {
        assert_eq!(self.permits(), (free, held), "free and held: {context}");
    }

    /// A look at the file, with a slot of its own.
    fn open_mapped(&self) -> MappedFile {
        let path = self.path();
        let request = OpenRequest { mode: AccessMode::OpenExisting, ..OpenRequest::default() };
        let mapped = open::open(&path, &request).expect("it is there");
        Arc::into_inner(mapped).expect("nobody else has it")
    }

    fn path(&self) -> Arc<SemaphorePath> {
        Arc::new(SemaphorePath::of(&self.name).expect("it is a good name"))
    }

    /// Closes what [`mapped`](Self::mapped) has opened.
    fn close(&self, mapped: &MappedFile) {
        close::close(mapped, &self.path());
    }

    fn create(&self, count: u32) -> SystemSemaphore {
        SystemSemaphore::new(&self.key, count, AccessMode::Create).expect("it can be reset")
    }
}

impl Drop for TestSemaphore {
    fn drop(&mut self) {
        // after a failure; else the last handle sees to it
        if thread::panicking() {
            let _ = SystemSemaphore::remove(&self.key);
        }
    }
}

/// What other processes do between the halt of an actor and its death.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meanwhile {
    Nothing,
    /// Somebody else has the next turn, and so has to help.
    AnotherOperation,
    /// Somebody else does so many that the tag's number comes round for it.
    ManyOperations,
    Reset,
}

impl Meanwhile {
    const ALL: [Self; 4] = [Self::Nothing, Self::AnotherOperation, Self::ManyOperations, Self::Reset];

    fn happen(self, test: &TestSemaphore) {
        match self {
            Self::Nothing => {}
            Self::AnotherOperation => test.semaphore.add_permits(1).expect("there is room"),
            Self::ManyOperations => (0..50).for_each(|_| {
                drop(test.semaphore.try_acquire().expect("there are enough"));
            }),
            Self::Reset => drop(test.create(100)),
        }
    }

    /// Returns how many permits are free afterwards, if `free` would be without it.
    fn free(self, free: u32) -> u32 {
        match self {
            Self::Nothing | Self::ManyOperations => free,
            Self::AnotherOperation => free + 1,
            Self::Reset => 100,
        }
    }
}

/// Takes a permit for a user that has no semaphore around it.
fn take_one(user: &MappedFile) {
    operate(user, &Operation::acquire(1, false, WaitersFlag::Keep));
}

#[track_caller]
fn operate(user: &MappedFile, operation: &Operation) {
    let writer = operation::SlotWriter::new(user, user.own_slot().expect("it has one")).expect("it is there");
    assert!(matches!(writer.operate(operation), Ok(Outcome::Done { .. })));
}

/// More users than are all looked at without much thought, and more than one page has slots for.
const MANY: usize = 110;
