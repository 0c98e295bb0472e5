//! A type of semaphore under test, with a private place for names.

#[cfg(unix)]
mod unix;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Capabilities, ErrorKind, KeyType, NativeIpcKey, SystemSemaphore};
use test_support::{Puppet, TEST_TIMEOUT};

#[cfg(unix)]
pub(crate) use unix::{files_of_this_run, kernel_semaphores, sets_of_this_run, system_v};

/// What a case works with.
pub(crate) struct TestedType {
    pub(crate) key_type: KeyType,
    root: tempfile::TempDir,
    number: u32,
    names: RefCell<BTreeSet<String>>,
}

impl TestedType {
    /// Runs a case, and checks that it has left nothing.
    pub(crate) fn check(key_type: KeyType, name: &str, case: fn(&Self)) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let tested = Self {
            key_type,
            root: tempfile::Builder::new().prefix("system-semaphore-test-").tempdir().expect("a directory"),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            names: RefCell::default(),
        };
        case(&tested);
        #[cfg(unix)]
        tested.assert_no_files();
        for key in tested.keys() {
            let error = SystemSemaphore::new(&key, 0, AccessMode::OpenExisting)
                .expect_err(&format!("{name} has left {key} in the system"));
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
        let left: Vec<_> = fs::read_dir(tested.root()).expect("it can be read").flatten().collect();
        assert!(left.is_empty(), "{name} has left {left:?}");
    }

    /// Takes away a key file that has stayed behind: it may, where its maker was very slow to make the set.
    pub(crate) fn forget_key_file(&self, key: &NativeIpcKey) {
        if matches!(self.key_type, KeyType::SystemV(_)) {
            let _ = fs::remove_file(key.native_key());
        }
    }

    /// A private directory, which must be empty in the end.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path in the private directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.root().join(name).to_str().expect("temporary directories are UTF-8").to_owned()
    }

    /// The key of a name of this case's own.
    pub(crate) fn key(&self, name: &str) -> NativeIpcKey {
        self.names.borrow_mut().insert(name.to_owned());
        self.native(name)
    }

    fn native(&self, name: &str) -> NativeIpcKey {
        let native = match self.key_type {
            KeyType::SystemV(_) => self.path(name),
            KeyType::Robust | KeyType::Windows => {
                format!("system-semaphore-test-{}-{}-{name}", std::process::id(), self.number)
            }
            _ => format!("/system-semaphore-test-{}-{}-{name}", std::process::id(), self.number),
        };
        NativeIpcKey::new(native, self.key_type)
    }

    fn keys(&self) -> Vec<NativeIpcKey> {
        self.names.borrow().iter().map(|name| self.native(name)).collect()
    }

    /// A new semaphore of this name.
    #[track_caller]
    pub(crate) fn create(&self, name: &str, permits: u32) -> SystemSemaphore {
        SystemSemaphore::new(self.key(name), permits, AccessMode::CreateNew).expect("nobody has the name")
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.create("capabilities", 0).capabilities()
    }

    /// Another process that has the semaphore of this name open as `s`; it must exist.
    #[track_caller]
    pub(crate) fn puppet(&self, name: &str) -> Puppet {
        let mut puppet = Puppet::of_this_program();
        puppet.must(&format!("open\ts\t{}\t0\tOpenExisting", self.key(name)));
        puppet
    }
}

impl Drop for TestedType {
    fn drop(&mut self) {
        for key in self.keys() {
            // after a failure; nothing is there otherwise
            let _ = SystemSemaphore::remove(&key);
        }
    }
}

/// Whether a semaphore of this key is there.
#[track_caller]
pub(crate) fn exists(key: &NativeIpcKey) -> bool {
    match SystemSemaphore::new(key, 0, AccessMode::OpenExisting) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            false
        }
    }
}

/// That so many are free and so many held, so that none was lost or invented. Where it is not told who holds, what is
/// free has to do. (Another process may be giving back a dead one's at this very moment.)
#[track_caller]
pub(crate) fn assert_permits(semaphore: &SystemSemaphore, free: u32, held: u32) {
    if !semaphore.capabilities().holders {
        assert_eq!(self::free(semaphore), free, "free");
        return;
    }
    let end = Instant::now() + TEST_TIMEOUT;
    loop {
        let holders = semaphore.holders().expect("they are told");
        let books = (self::free(semaphore), holders.iter().map(|holder| holder.permits).sum::<u32>());
        if books == (free, held) {
            return;
        }
        assert!(Instant::now() < end, "{books:?} instead of {:?}: {holders:?}", (free, held));
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many permits are free.
#[track_caller]
pub(crate) fn free(semaphore: &SystemSemaphore) -> u32 {
    test_support::free(semaphore).expect("they can be counted")
}
