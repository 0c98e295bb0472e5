//! Something else stands in the place of the directory of the user's names.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::Path;

use system_semaphore::{AccessMode, ErrorKind};
use test_support::Puppet;
use test_support::robust_file::{SHARED_MEMORY, assert_works, directory, effective_uid};

use super::test_file::TestFile;
use super::{NOBODY, syscalls};

#[track_caller]
fn is_refused(what: &str, words: &[&str]) {
    let directory = directory();
    TestFile::own().is_refused_at(&directory, what, ErrorKind::PermissionDenied, words);
    // names for all users are elsewhere
    let global = TestFile::global();
    assert_works(&global.create(3), 3);
}

fn owner() -> String {
    format!("user {}", effective_uid())
}

pub(crate) fn file_instead_of_directory_is_refused() {
    fs::write(directory(), "").expect("it is a new place");
    is_refused("a file", &["is no directory", &owner(), "removed"]);
    fs::remove_file(directory()).expect("it is ours");
    syscalls::make_fifo(&directory()).expect("it is a new place");
    is_refused("a fifo", &["is no directory", &owner(), "removed"]);
}

pub(crate) fn link_instead_of_directory_is_refused() {
    let other = directory().with_extension("other");
    symlink(&other, directory()).expect("it is a new place");
    is_refused("a dangling link", &["is no directory", &owner(), "removed"]);
    assert!(!other.exists(), "what the link points to was made");
    DirBuilder::new().mode(0o700).create(&other).expect("it is a new place");
    is_refused("a link to a directory", &["is no directory", &owner(), "removed"]);
    assert_eq!(fs::read_dir(&other).expect("it can be listed").count(), 0, "nothing was put there");
    fs::remove_file(directory()).expect("it is ours");
    symlink(directory(), directory()).expect("nothing is there");
    is_refused("a link to itself", &["is no directory", &owner(), "removed"]);
}

pub(crate) fn directory_of_another_user_is_refused() {
    DirBuilder::new().mode(0o700).create(directory()).expect("it is a new place");
    if chown(directory(), Some(NOBODY), Some(NOBODY)).is_err() {
        // in a user namespace of one user, what belongs to root looks like nobody's
        syscalls::bind(Path::new("/usr"), &directory()).expect("who has a mount namespace may mount");
    }
    is_refused("a stranger's directory", &["somebody else", &format!("user {NOBODY}"), "removed"]);
}

/// Whoever leaves as the last takes the directory along, also from those who are just coming.
pub(crate) fn directory_made_and_removed_concurrently_blocks_nobody() {
    let mut visitors: Vec<_> = (0..6).map(|_| (Puppet::of_this_program(), TestFile::own())).collect();
    for (puppet, test_file) in &mut visitors {
        puppet.send(&format!("open-close-loop\t{}\t3000", test_file.key));
    }
    for (puppet, _) in &mut visitors {
        let count = puppet.answer().expect("each has a name of its own");
        assert_ne!(count, "0");
    }
    assert!(!directory().exists());
}

pub(crate) fn read_only_file_system_is_named() {
    syscalls::mount_tmpfs(Path::new(SHARED_MEMORY), "ro").expect("who has a mount namespace may mount");
    for test_file in [TestFile::own(), TestFile::global()] {
        for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
            let error = test_file.open(3, mode).expect_err("nothing can be made");
            assert!(error.to_string().contains(SHARED_MEMORY), "{mode:?}: {error}");
        }
        let error = test_file.open(3, AccessMode::OpenExisting).expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

pub(crate) fn directory_open_to_others_is_refused() {
    DirBuilder::new().mode(0o700).create(directory()).expect("it is a new place");
    for mode in [0o777, 0o1777, 0o770, 0o701, 0o710, 0o702] {
        fs::set_permissions(directory(), Permissions::from_mode(mode)).expect("it is ours");
        is_refused(&format!("mode {mode:o}"), &["open to others", "0700", &owner()]);
    }
    fs::set_permissions(directory(), Permissions::from_mode(0o700)).expect("it is ours");
    let test_file = TestFile::own();
    assert_works(&test_file.create(3), 3);
}
