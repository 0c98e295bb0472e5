//! Names of this process's own, and the files that belong to them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind as Io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use system_semaphore::{AccessMode, ErrorKind, KeyType, NativeIpcKey, SystemSemaphore};

use crate::choice;
use crate::scribble::{MAGIC, NAME_AT, PAGE, PERSISTENT_AT, SLOT_SIZE, SLOTS, SLOTS_AT, VERSION};

choice! {
    /// Which of the places that a name's file can be at.
    #[derive(Copy, PartialEq, Eq)]
    pub enum Place {
        /// In the directory of the user's names.
        Own,
        /// The same, with a name so long that the file is called by its hash, and has the name inside.
        Long,
        /// Where everybody's names are.
        Global,
    }
}

/// A name that nobody else has, and the file that stands for it.
pub struct Spot {
    /// The name.
    pub key: NativeIpcKey,
    /// The file, which need not be there.
    pub path: PathBuf,
    /// The content of a semaphore's file of that name, which is persistent and has 3 permits.
    good: Vec<u8>,
}

const SHARED_MEMORY: &str = "/dev/shm";

impl Spot {
    /// The spot at this place. There is one of each in a process.
    pub fn at(place: Place) -> &'static Self {
        static OWN: LazyLock<Spot> = LazyLock::new(|| Spot::new("", ""));
        static LONG: LazyLock<Spot> = LazyLock::new(|| Spot::new("", &"-long".repeat(50)));
        static GLOBAL: LazyLock<Spot> = LazyLock::new(|| Spot::new("Global\\", ""));
        match place {
            Place::Own => &OWN,
            Place::Long => &LONG,
            Place::Global => &GLOBAL,
        }
    }

    /// One more, for a semaphore that nobody does anything to.
    pub fn quiet() -> &'static Self {
        static QUIET: LazyLock<Spot> = LazyLock::new(|| Spot::new("", "-quiet"));
        &QUIET
    }

    fn new(before: &str, behind: &str) -> Self {
        let name = format!("{before}fuzz-{}{behind}", std::process::id());
        let key = NativeIpcKey::new(name, KeyType::Robust);
        drop(SystemSemaphore::builder(&key).initial_value(3).persistent(true).build().expect("it is new"));
        let path = find_file();
        let good = fs::read(&path).expect("it stays");
        SystemSemaphore::remove(&key).expect("it is there");
        assert_eq!(
            (&good[..8], good[8]),
            (MAGIC, VERSION),
            "the layout is another one: bring this up to date"
        );
        assert_eq!(good.len() as u64, (NAME_AT + 4 + 1024).next_multiple_of(PAGE), "the same");
        Self { key, path, good }
    }

    /// How long the file of a semaphore is.
    pub fn file_size(&self) -> u64 {
        self.good.len() as u64
    }

    /// Puts a file of this length there, with the content of a semaphore's.
    pub fn plant(&self, length: u64, persistent: bool) -> File {
        let file = self.plant_empty();
        let (head, name) = (&self.good[..PAGE as usize], &self.good[NAME_AT as usize..]);
        file.write_all_at(head, 0).expect("there is room");
        file.write_all_at(name, NAME_AT).expect("there is room");
        let persistent = u32::from(persistent).to_ne_bytes();
        file.write_all_at(&persistent, PERSISTENT_AT).expect("there is room");
        file.set_len(length).expect("there is room");
        file
    }

    /// Puts an empty file there.
    pub fn plant_empty(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        loop {
            // it may be there already
            let _ = DirBuilder::new().mode(0o700).create(self.directory());
            match options.open(&self.path) {
                Ok(file) => return file,
                // the last user of another name has taken the directory along
                Err(error) if error.kind() == Io::NotFound => {}
                Err(error) => panic!("cannot put anything at {}: {error}", self.path.display()),
            }
        }
    }

    fn directory(&self) -> &Path {
        self.path.parent().expect("it is in one")
    }

    /// The file, as a stranger opens it.
    pub fn file(&self) -> Option<File> {
        OpenOptions::new().read(true).write(true).open(&self.path).ok()
    }

    /// Whether this file still stands there.
    pub fn names(&self, file: &File) -> bool {
        let inode = file.metadata().expect("it is open").ino();
        fs::symlink_metadata(&self.path).is_ok_and(|data| data.ino() == inode)
    }

    /// Why the file is not this semaphore's, if it is not: then it must be left alone.
    pub fn refusal(&self, file: &File) -> Option<ErrorKind> {
        let head = read(file, 0, 12);
        let length = file.metadata().expect("it is open").len();
        if head.get(..8) != Some(MAGIC)
            || head.get(8..) != Some(&u32::from(VERSION).to_ne_bytes())
            || length != self.file_size()
        {
            return Some(ErrorKind::Corrupt);
        }
        let is_long = self.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('~'));
        let length = 4 + self.key.native_key().len();
        let name = &self.good[NAME_AT as usize..][..length];
        (is_long && read(file, NAME_AT, length) != name).then_some(ErrorKind::KeyError)
    }

    /// Takes the file away, and the user's directory if nobody else uses it.
    pub fn clear(&self) {
        let _ = fs::remove_file(&self.path);
        if self.directory() != Path::new(SHARED_MEMORY) {
            let _ = fs::remove_dir(self.directory());
        }
    }

    /// Checks that a semaphore can be made here, works, and goes.
    pub fn serves(&self) {
        works(&SystemSemaphore::new(&self.key, 2, AccessMode::CreateNew).expect("it is new"), 2);
        assert!(!self.path.exists(), "it is left");
    }
}

/// Checks a semaphore that must be in order, with this many permits.
pub fn works(semaphore: &SystemSemaphore, permits: u32) {
    let free = || semaphore.available_permits().expect("it is in order");
    assert_eq!(free(), permits);
    let all = semaphore.try_acquire_many(permits).expect("all are free");
    let error = semaphore.try_acquire().expect_err("there are no more");
    assert_eq!(error.kind(), ErrorKind::NoPermits, "{error}");
    all.release().expect("they are ours");
    assert_eq!(free(), permits);
}

/// Where this process has just made a semaphore: it has the only file that can have this process's id in it.
fn find_file() -> PathBuf {
    let users = Path::new(SHARED_MEMORY).join(format!("system-semaphore-{}", nix::unistd::geteuid()));
    let mut files = Vec::new();
    for directory in [Path::new(SHARED_MEMORY), &users] {
        files.extend(fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    let is_made_here = |path: &PathBuf| {
        let Ok(file) = File::open(path) else { return false };
        read(&file, 0, 8) == MAGIC && read(&file, SLOTS_AT + 24, 4) == std::process::id().to_ne_bytes()
    };
    files.into_iter().find(is_made_here).expect("its file is there")
}

fn read(file: &File, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, at).unwrap_or(0);
    bytes.truncate(read);
    bytes
}

/// All that can be seen of a file.
#[derive(PartialEq, Eq)]
pub struct Sight {
    data: [i64; 7],
    content: Vec<u8>,
}

impl Sight {
    /// What stands at the path now.
    pub fn of(path: &Path) -> Option<Self> {
        let data = fs::symlink_metadata(path).ok()?;
        let (user, mode, links) = (data.uid().into(), data.mode().into(), data.nlink() as i64);
        let data =
            [data.ino() as i64, user, mode, links, data.size() as i64, data.mtime(), data.mtime_nsec()];
        Some(Self { data, content: fs::read(path).expect("it can be read") })
    }
}

/// Takes the lock on a byte of the file, as another living user has it; `false` if somebody has it already.
pub fn lock(file: &File, byte: u16) -> bool {
    fcntl(file, FcntlArg::F_OFD_SETLK(&describe(byte, 1))).is_ok()
}

/// Lets the living hold nothing.
pub fn mend(file: &File) {
    mend_slots(file, 0, SLOTS);
}

fn mend_slots(file: &File, first: u16, count: u16) {
    let mut lock = describe(first, count);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).expect("a lock can be asked for");
    if i32::from(lock.l_type) == libc::F_UNLCK {
        return;
    }
    if count == 1 {
        let committed = SLOTS_AT + u64::from(first) * SLOT_SIZE;
        file.write_all_at(&[0; 8], committed).expect("it can be written");
        return;
    }
    let half = count / 2;
    mend_slots(file, first, half);
    mend_slots(file, first + half, count - half);
}

fn describe(first: u16, count: u16) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: first.into(),
        l_len: count.into(),
        l_pid: 0,
    }
}
