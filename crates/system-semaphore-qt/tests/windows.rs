//! What Qt's class does on Windows, as far as it was read (nobody here could ask it).
#![cfg(windows)]

use std::sync::atomic::{AtomicU32, Ordering};

use system_semaphore::{Error, ErrorKind, SystemSemaphore};
use system_semaphore_qt::{AccessMode, QNativeIpcKey, QSystemSemaphore, SemaphoreError};

const WINDOWS: u16 = 257;

/// A name of this test's own.
fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("qt-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

#[track_caller]
fn assert_error(semaphore: &QSystemSemaphore, error: SemaphoreError, beginning: &str) {
    let text = semaphore.error_string();
    assert_eq!(semaphore.error(), error, "{text}");
    assert!(text.starts_with(beginning), "{text}");
}

/// How many are free, by taking them all.
fn free(semaphore: &QSystemSemaphore) -> i32 {
    let taken = (0..).take_while(|_| semaphore.try_acquire(1, 0)).count() as i32;
    assert!(semaphore.release(taken));
    taken
}

#[test]
fn the_mode_means_nothing() {
    let name = name();
    let one = QSystemSemaphore::new(&name, 3, AccessMode::Create);
    let other = QSystemSemaphore::new(&name, 9, AccessMode::Create);
    assert_error(&other, SemaphoreError::NoError, "");
    assert!(one.acquire(1));
    assert_eq!(free(&other), 2, "it is the one that was there, as it was");
    assert!(one.release(1));
    assert_eq!(free(&other), 3);
}

#[test]
fn a_plain_name_is_the_legacy_key() {
    let name = name();
    let semaphore = QSystemSemaphore::new(&name, 1, AccessMode::Open);
    assert_eq!(semaphore.native_key().type_number(), WINDOWS);
    let by_key =
        QSystemSemaphore::with_native_key(QNativeIpcKey::legacy(&name, WINDOWS), 5, AccessMode::Open);
    assert!(semaphore.acquire(1));
    assert_eq!(free(&by_key), 0);
    let safe = QNativeIpcKey::platform_safe(&name, WINDOWS);
    assert_eq!(safe.native_key(), format!("sem_{name}"));
    let another = QSystemSemaphore::with_native_key(safe, 1, AccessMode::Open);
    assert!(another.acquire(1));
}

#[test]
fn an_empty_key_fails() {
    for mode in [AccessMode::Open, AccessMode::Create] {
        let semaphore = QSystemSemaphore::new("", 1, mode);
        assert!(!semaphore.acquire(1) && !semaphore.release(1));
        assert_error(&semaphore, SemaphoreError::KeyError, "QSystemSemaphore::handle: key is empty");
    }
}

#[test]
fn a_negative_initial_value_is_refused() {
    let name = name();
    let semaphore = QSystemSemaphore::new(&name, -1, AccessMode::Open);
    assert_error(&semaphore, SemaphoreError::UnknownError, "QSystemSemaphore::handle: unknown error: ");
    let kind = SystemSemaphore::new(semaphore_key(&name), 0, system_semaphore::AccessMode::OpenExisting)
        .map_err(|error: Error| error.kind())
        .expect_err("none was made");
    assert_eq!(kind, ErrorKind::NotFound);
}

fn semaphore_key(name: &str) -> system_semaphore::NativeIpcKey {
    QNativeIpcKey::legacy(name, WINDOWS).to_native().expect("it is one of Windows'")
}

#[test]
fn more_than_it_counts_is_refused() {
    let semaphore = QSystemSemaphore::new(&name(), i32::MAX, AccessMode::Open);
    assert!(!semaphore.release(1));
    let text = "QSystemSemaphore::modifySemaphore: out of resources";
    assert_error(&semaphore, SemaphoreError::OutOfResources, text);
    assert!(semaphore.acquire(1) && semaphore.release(1));
    assert_error(&semaphore, SemaphoreError::NoError, "");
}

#[test]
fn how_many_are_free_is_not_told() {
    let semaphore = QSystemSemaphore::new(&name(), 1, AccessMode::Open);
    assert_eq!(semaphore.available(), -1);
    assert_error(&semaphore, SemaphoreError::UnknownError, "QSystemSemaphore::available: ");
}
