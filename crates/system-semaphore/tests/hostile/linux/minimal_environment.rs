//! A process has little around it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use system_semaphore::{AccessMode, SystemSemaphore};
use test_support::Puppet;
use test_support::robust_file::{FileSnapshot, SHARED_MEMORY, assert_works, directory, effective_uid};

use super::syscalls;
use super::test_file::{PROMPT, TestFile, free};

pub(crate) fn umask_does_not_change_permissions() {
    for umask in [0, 0o022, 0o077, 0o777] {
        syscalls::set_umask(umask);
        for test_file in [TestFile::own(), TestFile::global()] {
            for (said, expected) in
                [(None, 0o600), (Some(0o600), 0o600), (Some(0o660), 0o660), (Some(0o666), 0o666)]
            {
                let builder =
                    SystemSemaphore::builder(&test_file.key).mode(AccessMode::CreateNew).initial_value(3);
                let builder = match said {
                    Some(mode) => builder.permissions(mode),
                    None => builder,
                };
                let semaphore = builder.build().expect("nobody has the name");
                let mode = fs::metadata(&test_file.path).expect("it is there").mode() & 0o7777;
                assert_eq!(mode, expected, "with umask {umask:o}, {said:?}");
                assert_works(&semaphore, 3);
            }
        }
    }
}

pub(crate) fn empty_environment_is_sufficient() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let mut command = Puppet::this_program();
    let role: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    command.env_clear().envs(role).current_dir("/");
    let mut puppet = Puppet::spawn(&mut command);
    puppet.must(&test_file.opening("OpenExisting"));
    puppet.must("acquire\ts\t3");
    assert_eq!(free(&semaphore), 0);
    puppet.kill();
    assert_works(&semaphore, 3);
}

fn hide_proc() {
    syscalls::mount_tmpfs(Path::new("/proc"), "size=4k").expect("who has a mount namespace may mount");
}

/// Whether the system gives a file a name by its descriptor, whoever asks.
fn links_by_descriptor() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is there");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(10))
}

pub(crate) fn create_without_proc_succeeds_or_names_proc() {
    let is_possible = links_by_descriptor();
    hide_proc();
    for test_file in [TestFile::own(), TestFile::global()] {
        for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
            match test_file.open(3, mode) {
                Ok(semaphore) => assert_works(&semaphore, 3),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!is_possible && text.contains("/proc"), "{mode:?}: {text}");
                }
            }
            let snapshot = FileSnapshot::of(Path::new(SHARED_MEMORY));
            let left = String::from_utf8_lossy(snapshot.names());
            assert_eq!(left, "", "{mode:?}: something is left");
        }
    }
    assert!(!directory().exists());
}

pub(crate) fn open_semaphores_continue_without_proc() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let (mut holder, mut waiter, mut user) =
        (test_file.puppet(), Puppet::of_this_program(), Puppet::of_this_program());
    hide_proc();
    // none of those has looked into it before
    user.must(&test_file.opening("OpenExisting"));
    user.must("acquire\ts\t1");
    user.must("drop\ts");
    assert_works(&semaphore, 3);
    waiter.must(&test_file.opening("Open"));
    holder.must("acquire\ts\t3");
    waiter.send("acquire\ts\t1");
    test_support::wait_until("it waits", || semaphore.waiting().is_ok_and(|waiting| waiting == 1));
    let begin = Instant::now();
    holder.kill();
    waiter.answer().expect("the permits came back");
    assert!(begin.elapsed() < PROMPT);
    let holders = semaphore.holders().expect("they are told");
    assert_eq!(holders.len(), 1);
    waiter.must("drop\ts");
    drop(test_file.open(5, AccessMode::Create).expect("a reset needs nothing"));
    assert_works(&semaphore, 5);
    waiter.must("close\ts");
    user.must("close\ts");
}

/// Then there is another place for all, whatever the environment says.
pub(crate) fn tmp_is_used_without_shared_memory() {
    for path in ["/dev", "/tmp"] {
        syscalls::mount_tmpfs(Path::new(path), "size=4m,mode=1777")
            .expect("who has a mount namespace may mount");
    }
    let key = TestFile::own();
    let semaphore = key.create(3);
    let directory = format!("/tmp/system-semaphore-{}", effective_uid());
    assert_eq!(fs::read_dir(&directory).expect("it is there").count(), 1);
    assert_works(&semaphore, 3);
    drop(semaphore);
    assert!(!Path::new(&directory).exists());
}
