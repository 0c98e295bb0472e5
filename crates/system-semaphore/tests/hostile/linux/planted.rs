//! Something else stands in the place of a semaphore's file.

use std::fs::{self, OpenOptions, Permissions};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use system_semaphore::{AccessMode, ErrorKind};
use test_support::robust_file::{FileSnapshot, assert_works, directory, effective_uid};
use test_support::{Puppet, format};

use super::test_file::{TestFile, free, valid_bytes};
use super::{NOBODY, syscalls};

/// Where the version is.
const VERSION: Range<usize> = {
    let start = format::header::VERSION as usize;
    start..start + 4
};

const CORRUPT: ErrorKind = ErrorKind::Corrupt;

/// Checks that these bytes are refused, as a file of the user and as one for all.
#[track_caller]
fn are_refused(bytes: &[u8], what: &str, words: &[&str]) {
    for test_file in [TestFile::own(), TestFile::global()] {
        test_file.plant_bytes(bytes);
        let words: Vec<&str> = words.iter().copied().chain(["remove it"]).collect();
        test_file.is_refused(what, CORRUPT, &words);
        test_file.clear();
    }
}

pub(crate) fn short_or_long_file_is_refused() {
    let good = valid_bytes();
    for length in [0, 1, 7, 8, 11] {
        are_refused(&good[..length], &format!("{length} bytes"), &["too short"]);
    }
    for length in [12, 13, 100, 4096, good.len() - 1] {
        are_refused(&good[..length], &format!("{length} bytes"), &[&format!("{length} bytes")]);
    }
    for more in [1, 4096, good.len()] {
        let mut bytes = good.clone();
        bytes.resize(good.len() + more, 0);
        are_refused(&bytes, &format!("{more} bytes more"), &["is damaged"]);
    }
}

pub(crate) fn random_bytes_are_refused() {
    let size = valid_bytes().len();
    let mut random = fastrand::Rng::new();
    for length in [1, 12, 100, 4096, size, 2 * size] {
        let mut bytes = vec![0; length];
        random.fill(&mut bytes);
        are_refused(&bytes, &format!("{length} random bytes"), &[]);
        are_refused(&vec![0; length], &format!("{length} zeros"), &[]);
        are_refused(&vec![0xFF; length], &format!("{length} ones"), &[]);
    }
}

pub(crate) fn other_magic_or_version_is_refused() {
    let good = valid_bytes();
    for at in 0..8 {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        are_refused(&bytes, &format!("another byte {at}"), &["is not the file of a semaphore"]);
    }
    for version in [1u32, 3, 4, 1 << 31, u32::MAX] {
        let mut bytes = good.clone();
        bytes[VERSION].copy_from_slice(&version.to_ne_bytes());
        let layout = format!("layout {version}");
        let age = if version < 2 { "an older version" } else { "a newer version" };
        are_refused(&bytes, &layout, &[age, &layout, "use that one"]);
        // whatever its size is in that version
        bytes.truncate(8192);
        are_refused(&bytes, &layout, &[age, &layout]);
    }
    let mut bytes = good;
    bytes[VERSION].copy_from_slice(&0u32.to_ne_bytes());
    are_refused(&bytes, "layout 0", &["layout 0"]);
}

pub(crate) fn object_that_is_no_file_is_refused() {
    for test_file in [TestFile::own(), TestFile::global()] {
        test_file.plant(|path| fs::create_dir(path));
        test_file.is_refused("a directory", CORRUPT, &["is a directory", "remove it"]);
        fs::write(test_file.path.join("content"), "of somebody").expect("it can be written");
        test_file.is_refused("a full directory", CORRUPT, &["is a directory", "remove it"]);
        test_file.clear();

        test_file.plant(syscalls::make_fifo);
        test_file.is_refused("a fifo", CORRUPT, &["no regular file", "remove it"]);
        test_file.clear();

        // a socket's path is short
        let short = Path::new("/proc/self/cwd").join(test_file.path.file_name().expect("it has a name"));
        test_file.plant(|path| {
            std::env::set_current_dir(path.parent().expect("it has one"))?;
            UnixListener::bind(&short).map(std::mem::forget)
        });
        test_file.is_refused("a socket", CORRUPT, &["no regular file", "remove it"]);
        test_file.clear();
    }
}

pub(crate) fn device_is_refused() {
    for test_file in [TestFile::own(), TestFile::global()] {
        test_file.plant(|path| syscalls::make_device(path).or_else(|_| lend("/dev/null", path)));
        test_file.is_refused("a device", CORRUPT, &["no regular file", "remove it"]);
        std::mem::forget(test_file);
    }
}

/// Lets something be seen at a path, where nothing is. (It goes with the mount namespace.)
fn lend(what: &str, path: &Path) -> std::io::Result<()> {
    match fs::metadata(what)?.is_dir() {
        true => fs::create_dir(path)?,
        false => drop(OpenOptions::new().write(true).create_new(true).open(path)?),
    }
    syscalls::bind(Path::new(what), path)
}

pub(crate) fn link_is_never_followed() {
    let target = TestFile::own();
    let semaphore = target.create(3);
    for test_file in [TestFile::own(), TestFile::global()] {
        let itself = test_file.path.clone();
        let nowhere = test_file.path.with_extension("nowhere");
        for (what, to) in [
            ("a dangling link", &nowhere),
            ("a link to itself", &itself),
            ("a link to a good one", &target.path),
        ] {
            let before = FileSnapshot::of(&target.path);
            test_file.plant(|path| symlink(to, path));
            test_file.is_refused(what, CORRUPT, &["is a symbolic link", "remove it"]);
            assert!(FileSnapshot::of(&target.path) == before, "{what}: what it points to was changed");
            assert!(!nowhere.exists(), "{what}: what it points to was made");
            test_file.clear();
        }
    }
    assert_works(&semaphore, 3);
}

pub(crate) fn other_name_with_same_hash_is_refused() {
    let (one, other) = (TestFile::long('a'), TestFile::long('b'));
    let semaphore = one.create(3);
    other.plant(|path| fs::copy(&one.path, path).map(drop));
    other.is_refused("another name's file", ErrorKind::KeyError, &["same hash", "choose another name"]);
    // a length that is none
    other.plant(|path| {
        let file = OpenOptions::new().write(true).open(path)?;
        file.write_all_at(&u32::MAX.to_ne_bytes(), format::NAME_AT)
    });
    other.is_refused("a name of no length", ErrorKind::KeyError, &["same hash", "choose another name"]);
    other.clear();
    assert_works(&semaphore, 3);
}

/// Those who use it go on, and take nothing of what comes after it.
pub(crate) fn users_continue_after_their_file_is_unlinked() {
    for test_file in [TestFile::own(), TestFile::global()] {
        let semaphore = test_file.create(3);
        let mut user = test_file.puppet();
        fs::remove_file(&test_file.path).expect("it is there");
        let new = test_file.create(5);
        user.must("acquire\ts\t2");
        assert_eq!((free(&semaphore), free(&new)), (1, 5));
        user.kill();
        assert_works(&semaphore, 3);
        drop(semaphore);
        assert!(test_file.exists(), "the new one was removed by a user of the old");
        assert_works(&new, 5);
        // nor of what is no semaphore
        fs::rename(&test_file.path, test_file.path.with_extension("old")).expect("it is there");
        test_file.plant_bytes(b"precious");
        assert_works(&new, 5);
        drop(new);
        assert_eq!(fs::read(&test_file.path).expect("it is there"), b"precious");
        fs::remove_file(test_file.path.with_extension("old")).expect("it is there");
        test_file.clear();
    }
}

/// The others here would pass if everything were refused.
pub(crate) fn stale_file_is_replaced() {
    let mut bytes = valid_bytes();
    // not persistent
    bytes[format::header::PERSISTENT as usize..][..4].fill(0);
    for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
        let test_file = TestFile::own();
        test_file.plant_bytes(&bytes);
        let semaphore = test_file.open(5, mode).expect("nobody uses what is there");
        assert_works(&semaphore, 5);
    }
    let test_file = TestFile::own();
    test_file.plant_bytes(&bytes);
    let error = test_file.open(5, AccessMode::OpenExisting).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    test_file.plant_bytes(&bytes);
    let error = test_file.remove().expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

pub(crate) fn file_of_another_user_is_refused() {
    let test_file = TestFile::own();
    let owner = format!("user {NOBODY}");
    test_file.plant_bytes(&valid_bytes());
    let words: &[&str] = if chown(&test_file.path, Some(NOBODY), Some(NOBODY)).is_ok() {
        &[&owner, "remove it"]
    } else {
        // in a user namespace of one user, what belongs to root looks like nobody's, and may not be written
        syscalls::bind(Path::new("/etc/passwd"), &test_file.path)
            .expect("who has a mount namespace may mount");
        &[&owner]
    };
    test_file.is_refused("a stranger's file", ErrorKind::PermissionDenied, words);
    std::mem::forget(test_file);
}

pub(crate) fn users_continue_after_their_file_loses_its_permissions() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let mut user = test_file.puppet();
    fs::set_permissions(&test_file.path, Permissions::from_mode(0o0)).expect("it is ours");
    user.must("acquire\ts\t2");
    assert_eq!(free(&semaphore), 1);
    let mut waiter = Puppet::of_this_program();
    let failure = waiter.ask(&test_file.opening("OpenExisting")).expect_err("it may not be read");
    assert_eq!(failure.kind, "PermissionDenied", "{failure:?}");
    user.kill();
    assert_works(&semaphore, 3);
}

/// Tests run as root, to whom this does not apply, do this as another user.
pub(crate) fn unreadable_file_is_refused() {
    let good = valid_bytes();
    let owner = format!("user {}", effective_uid());
    for mode in [0o0, 0o200, 0o400] {
        for test_file in [TestFile::own(), TestFile::global()] {
            test_file.plant_bytes(&good);
            fs::set_permissions(&test_file.path, Permissions::from_mode(mode)).expect("it is ours");
            test_file.is_refused(&format!("mode {mode:o}"), ErrorKind::PermissionDenied, &[&owner]);
            test_file.clear();
        }
    }
}

pub(crate) fn unreadable_directory_is_refused() {
    let path = directory();
    fs::DirBuilder::new().mode(0o700).create(&path).expect("it is a new place");
    fs::write(path.join("content"), "of somebody").expect("it can be written");
    for mode in [0o0, 0o200, 0o400, 0o600] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        let what = format!("a directory of mode {mode:o}");
        TestFile::own().is_refused_at(&path, &what, ErrorKind::PermissionDenied, &["mode"]);
    }
}
