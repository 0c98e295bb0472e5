//! Two users: root and nobody.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};

use system_semaphore::{AccessMode, SystemSemaphore};
use test_support::robust_file::{SHARED_MEMORY, assert_works, directory_of};
use test_support::{Failure, Puppet, format};

use super::test_file::{TestFile, free};
use super::{NOBODY, USER};

fn nobody() -> Puppet {
    Puppet::spawn(Puppet::this_program().env(USER, NOBODY.to_string()))
}

fn create(test_file: &TestFile, permits: u32, permissions: u32) -> SystemSemaphore {
    let builder = SystemSemaphore::builder(&test_file.key).initial_value(permits).mode(AccessMode::CreateNew);
    builder.permissions(permissions).build().expect("nobody has the name")
}

#[track_caller]
fn is_denied(test_file: &TestFile, owner: u32, failure: &Failure) {
    let text = &failure.message;
    assert_eq!(failure.kind, "PermissionDenied", "{text}");
    assert!(text.contains(test_file.path.to_str().expect("it is plain")), "{text}");
    assert!(text.contains(&format!("user {owner}")), "{text}");
}

pub(crate) fn private_global_name_is_refused_to_other_users() {
    for permissions in [0o600, 0o640, 0o644, 0o660, 0o662, 0o666 & !0o004] {
        let test_file = TestFile::global();
        let semaphore = create(&test_file, 3, permissions);
        let mut nobody = nobody();
        for mode in ["Open", "Create", "CreateNew", "OpenExisting"] {
            let failure = nobody.ask(&test_file.opening(mode)).expect_err("it is root's");
            is_denied(&test_file, 0, &failure);
        }
        assert_works(&semaphore, 3);
    }
    // what root may do is another matter
    let test_file = TestFile::global();
    let mut nobody = nobody();
    nobody.must(&test_file.opening("CreateNew"));
    assert_works(&test_file.open(0, AccessMode::OpenExisting).expect("root may"), 7);
    nobody.must("close\ts");
}

pub(crate) fn shared_global_name_is_shared_by_users() {
    let test_file = TestFile::global();
    let semaphore = create(&test_file, 3, 0o666);
    let mut nobody = nobody();
    nobody.must(&test_file.opening("OpenExisting"));
    nobody.must("acquire\ts\t2");
    assert_eq!(free(&semaphore), 1);
    let holders = semaphore.holders().expect("they are told");
    assert_eq!((holders.len(), holders[0].pid, holders[0].permits), (1, Some(nobody.pid()), 2));
    // root waits for nobody, and nobody for root
    let mut root = test_file.puppet();
    root.block("acquire\ts\t3");
    nobody.kill();
    root.answer().expect("the permits came back");
    let mut nobody = self::nobody();
    nobody.must(&test_file.opening("OpenExisting"));
    nobody.block("acquire\ts\t3");
    root.kill();
    nobody.answer().expect("the permits came back");
    // a reset by who did not make it
    let mut another = self::nobody();
    another.must(&test_file.opening("Create"));
    assert_works(&semaphore, 7);
    let data = fs::metadata(&test_file.path).expect("it is there");
    assert_eq!((data.uid(), data.mode() & 0o7777), (0, 0o666));
}

pub(crate) fn stale_file_that_opener_may_not_unlink_starts_afresh() {
    let test_file = TestFile::global();
    let semaphore = create(&test_file, 3, 0o666);
    let mut nobody = nobody();
    nobody.must(&test_file.opening("OpenExisting"));
    semaphore.add_permits(1).expect("there is room");
    drop(semaphore);
    nobody.must("try\ts\t4");
    nobody.must("forget\ts");
    nobody.must("close\ts");
    assert!(test_file.exists(), "the directory is sticky");
    let failure = nobody.ask(&test_file.opening("OpenExisting")).expect_err("there is none");
    assert_eq!(failure.kind, "NotFound", "{failure:?}");
    for mode in ["Open", "Create", "CreateNew"] {
        nobody.must(&test_file.opening(mode));
        assert_eq!(nobody.must("available\ts"), "7", "{mode}");
        nobody.must("try\ts\t7");
        nobody.must("forget\ts");
        nobody.must("close\ts");
    }
    assert!(test_file.exists(), "the directory is sticky");
    let semaphore = test_file.open(5, AccessMode::Open).expect("nobody uses it");
    assert_works(&semaphore, 5);
    drop(semaphore);
    assert!(!test_file.exists(), "its owner has unlinked it");
    // a killed one leaves the same
    let semaphore = create(&test_file, 3, 0o666);
    nobody.must(&test_file.opening("OpenExisting"));
    nobody.must("try\ts\t2");
    drop(semaphore);
    nobody.kill();
    assert_works(&test_file.open(5, AccessMode::Open).expect("nobody uses it"), 5);
}

/// Its remover was killed before it could unlink it.
pub(crate) fn removed_file_that_opener_may_not_unlink_starts_afresh() {
    let test_file = TestFile::global();
    let builder =
        SystemSemaphore::builder(&test_file.key).initial_value(3).persistent(true).permissions(0o666);
    let semaphore = builder.build().expect("nobody has the name");
    let mut user = test_file.puppet();
    user.must("try\ts\t1");
    drop(semaphore);
    let removed = format::removed_state().to_ne_bytes();
    test_file.file().write_all_at(&removed, format::header::STATE).expect("it can be written");
    // its users were told that it is gone: it does not come back for them
    let mut nobody = nobody();
    let Failure { kind, message } = nobody.ask(&test_file.opening("Open")).expect_err("it is in use");
    assert_eq!(kind, "PermissionDenied", "{message}");
    assert!(message.contains("cannot unlink"), "{message}");
    user.kill();
    nobody.must(&test_file.opening("Open"));
    assert_eq!(nobody.must("available\ts"), "7");
    let mut other = self::nobody();
    other.must(&test_file.opening("OpenExisting"));
    other.must("try\ts\t2");
    assert_eq!(nobody.must("available\ts"), "5");
    other.kill();
    assert_eq!(nobody.must("available\ts"), "7");
    // it no longer stays when its last user leaves
    nobody.must("close\ts");
    assert_works(&test_file.open(5, AccessMode::Open).expect("nobody uses it"), 5);
    assert!(!test_file.exists(), "its owner has unlinked it");
}

pub(crate) fn same_name_of_two_users_is_two_semaphores() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let mut nobody = nobody();
    let failure = nobody.ask(&test_file.opening("OpenExisting")).expect_err("it is root's");
    assert_eq!(failure.kind, "NotFound", "{failure:?}");
    nobody.must(&test_file.opening("CreateNew"));
    nobody.must("acquire\ts\t7");
    assert_works(&semaphore, 3);
    let directories: Vec<u32> = [0, NOBODY]
        .map(|user| fs::metadata(directory_of(user)).expect("it is there"))
        .iter()
        .map(|data| {
            assert_eq!(data.mode() & 0o7777, 0o700);
            data.uid()
        })
        .collect();
    assert_eq!(directories, [0, NOBODY]);
    nobody.must("close\ts");
    drop(semaphore);
    let left: Vec<_> = fs::read_dir(SHARED_MEMORY).expect("it can be listed").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Root could have put it there; it is nobody's semaphore all the same.
pub(crate) fn file_of_another_user_in_own_directory_is_refused() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let mut nobody = nobody();
    nobody.must(&test_file.opening("CreateNew"));
    let file = test_file.path.file_name().expect("it has a name");
    let path = directory_of(NOBODY).join(file);
    chown(&path, Some(0), Some(0)).expect("root may");
    for mode in ["Open", "Create", "CreateNew", "OpenExisting"] {
        let failure = nobody.ask(&test_file.opening(mode)).expect_err("it is root's");
        assert_eq!(failure.kind, "PermissionDenied", "{failure:?}");
        assert!(failure.message.contains("user 0"), "{failure:?}");
        assert!(failure.message.contains(path.to_str().expect("it is plain")), "{failure:?}");
    }
    // who has it open goes on
    nobody.must("acquire\ts\t7");
    nobody.must("drop\ts");
    assert_eq!(nobody.must("available\ts"), "7");
    nobody.must("close\ts");
    assert_works(&semaphore, 3);
}

pub(crate) fn unwritable_shared_memory_is_named() {
    fs::set_permissions(SHARED_MEMORY, fs::Permissions::from_mode(0o755)).expect("it is root's");
    for test_file in [TestFile::own(), TestFile::global()] {
        let mut nobody = nobody();
        for mode in ["Open", "Create", "CreateNew"] {
            let failure = nobody.ask(&test_file.opening(mode)).expect_err("nothing may be made");
            assert_eq!(failure.kind, "PermissionDenied", "{failure:?}");
            assert!(failure.message.contains(SHARED_MEMORY), "{failure:?}");
        }
    }
}
