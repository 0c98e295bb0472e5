//! Names of this process's own, and the files that belong to them.

use std::fs::File;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};
use test_support::byte_lock;
use test_support::format::{FILE_SIZE, MAGIC, NAME_AT, PAGE_SIZE, SLOTS, VERSION, header, slot, slot_at};
use test_support::robust_file::{self, assert_works_now, valid_bytes};

use crate::choice;

choice! {
    /// Which of the locations that a name's file can be at.
    #[derive(Copy, PartialEq, Eq)]
    pub enum Location {
        /// In the directory of the user's names.
        Own,
        /// The same, with a name so long that the file is called by its hash, and has the name inside.
        Long,
        /// Where everybody's names are.
        Global,
    }
}

/// A name that nobody else has, and the file that stands for it.
pub struct TestFile {
    file: robust_file::TestFile,
    /// The content of a semaphore's file of that name, which is persistent and has 3 permits.
    good: Vec<u8>,
}

impl Deref for TestFile {
    type Target = robust_file::TestFile;

    fn deref(&self) -> &robust_file::TestFile {
        &self.file
    }
}

impl TestFile {
    /// The test file at this location. There is one of each in a process.
    pub fn at(location: Location) -> &'static Self {
        static OWN: LazyLock<TestFile> = LazyLock::new(|| TestFile::new("", ""));
        static LONG: LazyLock<TestFile> = LazyLock::new(|| TestFile::new("", &"-long".repeat(50)));
        static GLOBAL: LazyLock<TestFile> = LazyLock::new(|| TestFile::new("Global\\", ""));
        match location {
            Location::Own => &OWN,
            Location::Long => &LONG,
            Location::Global => &GLOBAL,
        }
    }

    /// One more, for a semaphore that nobody does anything to.
    pub fn quiet() -> &'static Self {
        static QUIET: LazyLock<TestFile> = LazyLock::new(|| TestFile::new("", "-quiet"));
        &QUIET
    }

    fn new(before: &str, behind: &str) -> Self {
        let file = robust_file::TestFile::new(&format!("{before}fuzz-{}{behind}", std::process::id()));
        let good = valid_bytes(&file);
        Self { file, good }
    }

    /// Puts a file of this length there, with the content of a semaphore's.
    pub fn plant_valid(&self, length: u64, persistent: bool) -> File {
        let file = self.plant_bytes(&self.good[..PAGE_SIZE as usize]);
        file.write_all_at(&self.good[NAME_AT as usize..], NAME_AT).expect("there is room");
        let persistent = u32::from(persistent).to_ne_bytes();
        file.write_all_at(&persistent, header::PERSISTENT).expect("there is room");
        file.set_len(length).expect("there is room");
        file
    }

    /// Why the file is not this semaphore's, if it is not: then it must be left alone.
    pub fn refusal(&self, file: &File) -> Option<ErrorKind> {
        let head = read(file, header::MAGIC, 12);
        let length = file.metadata().expect("it is open").len();
        if head.get(..8) != Some(&MAGIC)
            || head.get(8..) != Some(&VERSION.to_ne_bytes())
            || length != FILE_SIZE
        {
            return Some(ErrorKind::Corrupt);
        }
        let is_long = self.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('~'));
        let length = 4 + self.key.native_key().len();
        let name = &self.good[NAME_AT as usize..][..length];
        (is_long && read(file, NAME_AT, length) != name).then_some(ErrorKind::KeyError)
    }

    /// Checks that a semaphore can be made here, works, and goes.
    pub fn serves(&self) {
        assert_works_now(&SystemSemaphore::new(&self.key, 2, AccessMode::CreateNew).expect("it is new"), 2);
        assert!(!self.path.exists(), "it is left");
    }
}

fn read(file: &File, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, at).unwrap_or(0);
    bytes.truncate(read);
    bytes
}

/// Lets the living hold nothing.
pub fn clear_held(file: &File) {
    clear_held_slots(file, 0, SLOTS);
}

fn clear_held_slots(file: &File, first: u16, count: u16) {
    if !byte_lock::is_locked_by_other(file, first..first + count) {
        return;
    }
    if count == 1 {
        file.write_all_at(&[0; 8], slot_at(first) + slot::COMMITTED).expect("it can be written");
        return;
    }
    let half = count / 2;
    clear_held_slots(file, first, half);
    clear_held_slots(file, first + half, count - half);
}
