//! Names of a case's own, and the files that belong to them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind as Io};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Error, ErrorKind, KeyType, NativeIpcKey, SystemSemaphore};
use test_support::{Puppet, wait_for};

use super::syscalls;

pub(crate) const SHARED_MEMORY: &str = "/dev/shm";
pub(crate) const MODES: [AccessMode; 4] =
    [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew, AccessMode::OpenExisting];

/// What a stranger knows of the file; compare `layout.rs`.
pub(crate) const SLOTS: u16 = 4093;
pub(crate) const REGISTRY_BYTE: u16 = SLOTS;
pub(crate) const WATCHER_BYTE: u16 = SLOTS + 1;
pub(crate) const REGISTRAR_AT: u64 = 24;
pub(crate) const LAST_PASS_AT: u64 = 40;
pub(crate) const STATE_AT: u64 = 64;
pub(crate) const MAX_PERMITS_AT: u64 = STATE_AT + 8;
pub(crate) const USED_AT: u64 = 128;
pub(crate) const USED_SIZE: u64 = 512;
pub(crate) const SLOTS_AT: u64 = USED_AT + USED_SIZE;
pub(crate) const SLOT_SIZE: u64 = 64;
pub(crate) const PENDING_IN_SLOT: u64 = 8;
pub(crate) const HELPED_IN_SLOT: u64 = 16;
pub(crate) const PID_IN_SLOT: u64 = 24;
pub(crate) const RECOVERER_IN_SLOT: u64 = 56;
/// The slots in the first page.
pub(crate) const FIRST_SLOTS: u16 = ((4096 - SLOTS_AT) / SLOT_SIZE) as u16;

/// A call may take so long: an open waits 3 s for others, and the machine may be busy.
pub(crate) const PROMPT: Duration = Duration::from_secs(20);

/// The directory of this user's names.
pub(crate) fn directory() -> PathBuf {
    Path::new(SHARED_MEMORY).join(format!("system-semaphore-{}", syscalls::effective_uid()))
}

fn prefix(case: u32) -> String {
    format!("system-semaphore-hostile-{case}-")
}

/// Removes what a failed case has left.
pub(crate) fn sweep(case: u32) {
    let prefix = prefix(case);
    let mut directories = vec![PathBuf::from(SHARED_MEMORY)];
    let entries = fs::read_dir(SHARED_MEMORY).expect("it can be listed").flatten();
    let is_users = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("system-semaphore-"))
    };
    directories.extend(entries.map(|entry| entry.path()).filter(is_users));
    for directory in &directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(&prefix) {
                let path = entry.path();
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
        if directory != Path::new(SHARED_MEMORY) {
            // unless somebody uses it
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A name that nobody else has, and the file that stands for it. The file must be gone in the end.
pub(crate) struct Spot {
    pub(crate) key: NativeIpcKey,
    pub(crate) path: PathBuf,
}

impl Spot {
    /// A name of this user.
    pub(crate) fn own() -> Self {
        let name = Self::name();
        let path = directory().join(&name);
        Self { key: NativeIpcKey::new(name, KeyType::Robust), path }
    }

    /// A name for all users.
    pub(crate) fn global() -> Self {
        let name = Self::name();
        let path = Path::new(SHARED_MEMORY).join(format!("system-semaphore.{name}"));
        Self { key: NativeIpcKey::new(format!("Global\\{name}"), KeyType::Robust), path }
    }

    fn name() -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        format!("{}{}", prefix(std::process::id()), NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// A new semaphore.
    #[track_caller]
    pub(crate) fn create(&self, permits: u32) -> SystemSemaphore {
        self.open(permits, AccessMode::CreateNew).expect("nobody has the name")
    }

    pub(crate) fn open(&self, permits: u32, mode: AccessMode) -> Result<SystemSemaphore, Error> {
        promptly("open", || SystemSemaphore::new(&self.key, permits, mode))
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        promptly("remove", || SystemSemaphore::remove(&self.key))
    }

    /// Another process that has it open as `s`.
    #[track_caller]
    pub(crate) fn puppet(&self) -> Puppet {
        let mut puppet = Puppet::of_this_program();
        puppet.must(&self.opening("OpenExisting"));
        puppet
    }

    /// What lets a puppet open it as `s`, with 7 permits if it is new.
    pub(crate) fn opening(&self, mode: &str) -> String {
        format!("open\ts\t{}\t7\t{mode}", self.key)
    }

    /// The file, as a stranger opens it.
    #[track_caller]
    pub(crate) fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).expect("the semaphore has its file there")
    }

    /// The state word, as another program reads it.
    pub(crate) fn state(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file().read_exact_at(&mut bytes, STATE_AT).expect("it can be read");
        u64::from_ne_bytes(bytes)
    }

    /// Overwrites the state word, as another program does.
    pub(crate) fn set_state(&self, state: u64) {
        self.file().write_all_at(&state.to_ne_bytes(), STATE_AT).expect("it can be written");
    }

    pub(crate) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Puts something in the file's place.
    pub(crate) fn plant(&self, put: impl Fn(&Path) -> io::Result<()>) {
        loop {
            let directory = self.path.parent().expect("it has one");
            match fs::DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != Io::AlreadyExists => panic!("{}: {error}", directory.display()),
                _ => {}
            }
            match put(&self.path) {
                Ok(()) => return,
                // another's last user has taken the directory along
                Err(error) if error.kind() == Io::NotFound => {}
                Err(error) => panic!("cannot put anything at {}: {error}", self.path.display()),
            }
        }
    }

    pub(crate) fn plant_bytes(&self, bytes: &[u8]) {
        self.plant(|path| {
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all_at(bytes, 0)
        });
    }

    /// Takes it away.
    pub(crate) fn clear(&self) {
        let _ = fs::remove_file(&self.path).or_else(|_| fs::remove_dir_all(&self.path));
        self.leave_directory();
    }

    fn leave_directory(&self) {
        if self.path.starts_with(directory()) {
            // unless somebody uses it
            let _ = fs::remove_dir(directory());
        }
    }

    /// Opens it in every mode, and removes it: all that is refused like this, and changes nothing.
    #[track_caller]
    pub(crate) fn is_refused(&self, what: &str, kind: ErrorKind, words: &[&str]) {
        self.is_refused_at(&self.path, what, kind, words);
    }

    /// The same, where it is something else that is at fault, at this path.
    #[track_caller]
    pub(crate) fn is_refused_at(&self, at: &Path, what: &str, kind: ErrorKind, words: &[&str]) {
        self.check_refusals(at, what, kind, words, || Some(Sight::of(at)));
    }

    /// The same, where others change it meanwhile.
    #[track_caller]
    pub(crate) fn is_refused_while_used(&self, what: &str, kind: ErrorKind, words: &[&str]) {
        self.check_refusals(&self.path, what, kind, words, || None);
    }

    #[track_caller]
    fn check_refusals(
        &self,
        at: &Path,
        what: &str,
        kind: ErrorKind,
        words: &[&str],
        sight: impl Fn() -> Option<Sight>,
    ) {
        let before = sight();
        let complain = |action: &str, error: Error| {
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{action} {what}: {text}");
            let path = at.to_str().expect("it is plain");
            for word in [path].iter().chain(words) {
                assert!(text.contains(word), "{action} {what}: {word:?} is not in: {text}");
            }
            assert!(sight() == before, "{action} {what}: it was changed ({text})");
        };
        for mode in MODES {
            match self.open(3, mode) {
                Err(error) => complain(&format!("{mode:?}"), error),
                Ok(_) => panic!("{mode:?} {what}: it was opened"),
            }
            let builder = SystemSemaphore::builder(&self.key).mode(mode).persistent(true).max_permits(5);
            match builder.initial_value(3).permissions(0o666).build() {
                Err(error) => complain(&format!("{mode:?}, persistent,"), error),
                Ok(_) => panic!("{mode:?}, persistent, {what}: it was opened"),
            }
        }
        match self.remove() {
            Err(error) => complain("remove", error),
            Ok(()) => panic!("{what}: it was removed"),
        }
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.clear();
        } else {
            assert!(!self.exists(), "{} is left", self.path.display());
        }
    }
}

/// What can be seen of something without touching it.
#[derive(PartialEq)]
pub(crate) struct Sight {
    file: Option<[i64; 7]>,
    content: Vec<u8>,
}

impl Sight {
    pub(crate) fn of(path: &Path) -> Self {
        let data = fs::symlink_metadata(path).ok();
        let content = data.as_ref().map(|data| Self::content(path, data)).unwrap_or_default();
        let file = data.map(|data| {
            let (uid, mode, links) = (data.uid().into(), data.mode().into(), data.nlink() as i64);
            [data.ino() as i64, uid, mode, links, data.size() as i64, data.mtime(), data.mtime_nsec()]
        });
        Self { file, content }
    }

    /// What is in a directory.
    pub(crate) fn names(&self) -> &[u8] {
        &self.content
    }

    fn content(path: &Path, data: &Metadata) -> Vec<u8> {
        let kind = data.file_type();
        if kind.is_symlink() {
            fs::read_link(path).expect("it is a link").into_os_string().into_encoded_bytes()
        } else if kind.is_dir() {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| format!("{:?}", entry.file_name())).collect::<String>().into_bytes()
        } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
            Vec::new()
        } else {
            fs::read(path).unwrap_or_default()
        }
    }
}

/// Does something that must not hang.
#[track_caller]
pub(crate) fn promptly<T>(what: &str, action: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let outcome = action();
    let elapsed = begin.elapsed();
    assert!(elapsed < PROMPT, "{what} took {elapsed:?}");
    outcome
}

/// How many permits are free.
#[track_caller]
pub(crate) fn free(semaphore: &SystemSemaphore) -> u32 {
    semaphore.available_permits().expect("the count can be read")
}

/// Uses a semaphore that must be in order, with this many permits.
#[track_caller]
pub(crate) fn works(semaphore: &SystemSemaphore, permits: u32) {
    // somebody else may be giving back for the dead
    wait_for(format_args!("{permits} are free"), || free(semaphore) == permits);
    let all = semaphore.acquire_many_timeout(permits, PROMPT).expect("all are free");
    assert_eq!(semaphore.try_acquire().expect_err("there are no more").kind(), ErrorKind::NoPermits);
    all.release().expect("they are ours");
    assert_eq!(free(semaphore), permits);
}

/// The bytes of a semaphore's file that nobody uses.
pub(crate) fn good_bytes() -> Vec<u8> {
    let spot = Spot::own();
    drop(SystemSemaphore::builder(&spot.key).initial_value(3).persistent(true).build().expect("it is new"));
    let bytes = fs::read(&spot.path).expect("it stays");
    spot.remove().expect("it is there");
    assert_eq!(&bytes[..8], b"SYSSEMA4", "it is the layout that these tests know");
    assert_eq!(&bytes[8..12], &2u32.to_ne_bytes(), "it is the layout that these tests know");
    assert_eq!(bytes[STATE_AT as usize], 3, "it is the layout that these tests know");
    bytes
}

/// The number of the slot of a process.
#[track_caller]
pub(crate) fn slot_of(file: &File, pid: u32) -> u16 {
    let is_his = |slot: &u16| {
        let mut bytes = [0; 4];
        let at = SLOTS_AT + u64::from(*slot) * SLOT_SIZE + PID_IN_SLOT;
        file.read_exact_at(&mut bytes, at).expect("it can be read");
        u32::from_ne_bytes(bytes) == pid
    };
    (0..SLOTS).find(is_his).expect("it has a slot")
}
