//! Programs that have closed standard descriptors, and programs that write to a descriptor that they inherited.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use system_semaphore::{ErrorKind, Observer, Owners, SystemSemaphore, list};
use test_support::robust_file::assert_works;
use test_support::wait_until;

use super::syscalls::{self, StandardDescriptors};
use super::test_file::{TestFile, free};

/// What a descriptor of this process stands for; `None` if it is not open.
fn target(number: RawFd) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{number}")).ok()
}

/// Opens, waits until deaths are watched, observes, lists, acquires an inheritable permit.
fn use_every_descriptor(spot: &TestFile) -> Vec<(&'static str, Option<String>)> {
    let mut failures = Vec::new();
    let mut note = |what, result: Result<(), system_semaphore::Error>| {
        failures.push((what, result.err().map(|error| error.to_string())));
    };
    let semaphore = match spot.open(3, system_semaphore::AccessMode::Open) {
        Ok(semaphore) => semaphore,
        Err(error) => return vec![("open", Some(error.to_string()))],
    };
    let permits = semaphore.acquire_many(3);
    let waited = semaphore.acquire_timeout(Duration::from_millis(20));
    note(
        "wait",
        match waited {
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
            other => other.map(drop),
        },
    );
    note("acquire", permits.and_then(|permits| permits.release()));
    note("inheritable", semaphore.acquire_inheritable(1, None).map(drop));
    let observer = Observer::new(&spot.key);
    note("observe", observer.and_then(|observer| observer.snapshot().map(drop)));
    note("list", list(Owners::User).map(drop));
    failures
}

pub(crate) fn no_descriptor_takes_the_number_of_a_closed_standard_stream() {
    for closed in [&[0][..], &[1], &[2], &[1, 2], &[0, 2], &[0, 1], &[0, 1, 2]] {
        let spot = TestFile::own();
        let standard = StandardDescriptors::close(closed);
        let failures = use_every_descriptor(&spot);
        // the thread that watches for deaths still has its descriptors
        let targets: Vec<_> = closed.iter().map(|number| target(*number)).collect();
        let is_written: Vec<_> =
            closed.iter().map(|number| syscalls::write(*number, b"daemon started\n").is_ok()).collect();
        drop(standard);
        assert!(failures.iter().all(|(_, failure)| failure.is_none()), "{closed:?}: {failures:?}");
        assert!(targets.iter().all(Option::is_none), "{closed:?}: {targets:?}");
        assert!(!is_written.contains(&true), "{closed:?}: {is_written:?}");
    }
}

/// A thread prints all the time, so that a descriptor that has a low number even for a moment is written to.
pub(crate) fn thread_that_prints_to_closed_streams_harms_no_semaphore() {
    let spot = TestFile::own();
    let semaphore = spot.create(3);
    let standard = StandardDescriptors::close(&[0, 1, 2]);
    let is_over = AtomicBool::new(false);
    let failures: Vec<_> = thread::scope(|scope| {
        let printer = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for number in 0..3 {
                    // /dev/null may be there
                    let _ =
                        syscalls::write(number, b"a line of output that goes nowhere, thinks the daemon\n");
                }
            }
        });
        let own = TestFile::own();
        let failures =
            (0..100).flat_map(|_| use_every_descriptor(&own)).filter(|(_, failure)| failure.is_some());
        let failures = failures.collect();
        is_over.store(true, Ordering::Relaxed);
        printer.join().expect("it does not panic");
        failures
    });
    drop(standard);
    assert!(failures.is_empty(), "{failures:?}");
    assert_works(&semaphore, 3);
}

/// As text that lands in the file makes it: other processes notice, not only those that open it.
pub(crate) fn count_above_the_maximum_is_corrupt_for_its_users() {
    let spot = TestFile::own();
    let semaphore = SystemSemaphore::builder(&spot.key)
        .initial_value(3)
        .max_permits(5)
        .build()
        .expect("nobody has the name");
    let mut user = spot.puppet();
    // so that the state has the tag of another slot
    user.must("acquire\ts\t1");
    user.must("drop\ts");
    let good = spot.state();
    spot.set_state(good & !0x7FFF_FFFF | 6);
    let outcomes = [
        semaphore.try_acquire().map(drop),
        semaphore.acquire_timeout(Duration::from_secs(5)).map(drop),
        semaphore.add_permits(1),
        semaphore.available_permits().map(drop),
    ];
    for outcome in outcomes {
        let error = outcome.expect_err("it counts more than there can be");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("something else has written to it"), "{error}");
    }
    spot.set_state(good);
    assert_works(&semaphore, 3);
    // the maximum itself is no damage
    semaphore.add_permits(2).expect("there is room");
    user.must("acquire\ts\t1");
    user.must("drop\ts");
    assert_works(&semaphore, 5);
}

pub(crate) fn inheritable_permit_has_a_number_that_programs_do_not_use() {
    let spot = TestFile::own();
    let semaphore = spot.create(3);
    let number = |semaphore: &SystemSemaphore| {
        let permit = semaphore.acquire_inheritable(1, None).expect("there are three");
        (permit.as_fd().as_raw_fd(), permit)
    };
    let (first, permit) = number(&semaphore);
    assert!(first >= 100, "{first}");
    assert!(!syscalls::is_closed_on_exec(first));
    // its predecessor is closed, or the permit would outlive this one
    drop(permit);
    assert_eq!(free(&semaphore), 3);
    // with a lower limit, the highest free one
    syscalls::limit(std::process::id(), libc::RLIMIT_NOFILE, 60);
    let (second, permit) = number(&semaphore);
    assert_eq!(second, 59);
    let (third, another) = number(&semaphore);
    assert_eq!(third, 58);
    drop((permit, another));
    wait_until("all are free", || free(&semaphore) == 3);
}
