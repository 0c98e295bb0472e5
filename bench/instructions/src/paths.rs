//! The fast paths.

#![allow(unsafe_code, reason = "the C interface")]

use std::ffi::CString;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::mpsc::channel;
use std::{process, thread};

use system_semaphore::{AccessMode, KeyType, SystemSemaphore};
use system_semaphore_c as c;
use system_semaphore_qt::{QNativeIpcKey, QSystemSemaphore};

/// A path goes so many times where it says.
pub(crate) type Path = fn(times: u64);

/// By their names.
pub(crate) const PATHS: &[(&str, Path)] = &[
    ("robust-pair", |times| pair(KeyType::Robust, times)),
    ("robust-pair-beside-a-thread", |times| beside_a_thread(|| pair(KeyType::Robust, times))),
    ("robust-release", release),
    ("robust-release-beside-a-thread", |times| beside_a_thread(|| release(times))),
    ("robust-held", held),
    ("robust-held-beside-a-thread", |times| beside_a_thread(|| held(times))),
    ("robust-three-at-once", three_at_once),
    ("robust-created-and-forgotten", created_and_forgotten),
    ("robust-try-in-vain", try_in_vain),
    ("robust-open-and-close", open_and_close),
    ("system-v-pair", |times| pair(KeyType::SYSTEM_V, times)),
    ("posix-pair", |times| pair(KeyType::Posix, times)),
    ("c-robust-pair", c_pair),
    ("c-robust-held", c_held),
    ("qt-robust-pair", |times| qt_pair(KeyType::Robust, times)),
    ("qt-system-v-pair", |times| qt_pair(KeyType::SYSTEM_V, times)),
];

fn name() -> String {
    format!("instructions-{}", process::id())
}

fn make(key_type: KeyType, value: u32) -> SystemSemaphore {
    let builder = SystemSemaphore::builder(name()).key_type(key_type).initial_value(value);
    builder.mode(AccessMode::CreateNew).build().expect("nobody has the name")
}

fn repeat(times: u64, mut operation: impl FnMut()) {
    for _ in 0..times {
        operation();
    }
}

fn pair(key_type: KeyType, times: u64) {
    let semaphore = make(key_type, 3);
    repeat(times, || drop(black_box(&semaphore).acquire()));
}

fn release(times: u64) {
    let semaphore = make(KeyType::Robust, 3);
    repeat(times, || {
        let permit = black_box(&semaphore).acquire().expect("it is free");
        permit.release().expect("there is room");
    });
}

fn held(times: u64) {
    let semaphore = make(KeyType::Robust, 3);
    repeat(times, || {
        black_box(&semaphore).acquire().expect("it is free").detach();
        black_box(&semaphore).release(1).expect("it is held");
    });
}

fn three_at_once(times: u64) {
    let semaphore = make(KeyType::Robust, 3);
    repeat(times, || drop(black_box(&semaphore).acquire_many(3)));
}

fn created_and_forgotten(times: u64) {
    let semaphore = make(KeyType::Robust, 3);
    repeat(times, || {
        black_box(&semaphore).add_permits(1).expect("there is room");
        black_box(&semaphore).acquire().expect("it is free").forget().expect("it is there");
    });
}

fn try_in_vain(times: u64) {
    let semaphore = make(KeyType::Robust, 0);
    repeat(times, || drop(black_box(&semaphore).try_acquire()));
}

/// As a process does that is not the first, since a persistent one stays in between.
fn open_and_close(times: u64) {
    let builder = || SystemSemaphore::builder(name()).key_type(KeyType::Robust);
    drop(builder().mode(AccessMode::CreateNew).persistent(true).build().expect("nobody has the name"));
    repeat(times, || {
        let opened = builder().mode(AccessMode::OpenExisting).build();
        drop(black_box(opened.expect("it is persistent")));
    });
    SystemSemaphore::remove(builder().native_key().expect("a good name")).expect("it is there");
}

fn c_semaphore() -> Box<c::syssem_semaphore> {
    let name = CString::new(name()).expect("no NUL");
    let mut semaphore = MaybeUninit::uninit();
    // SAFETY: a C string
    let status = unsafe { c::syssem_create(name.as_ptr(), 3, Some(&mut semaphore)) };
    assert_eq!(status, c::syssem_status::SYSSEM_OK);
    // SAFETY: there it is, after success
    unsafe { semaphore.assume_init() }
}

fn c_pair(times: u64) {
    let semaphore = c_semaphore();
    repeat(times, || {
        let mut permit = MaybeUninit::uninit();
        let status = c::syssem_acquire(Some(&semaphore), 1, Some(&mut permit));
        assert_eq!(status, c::syssem_status::SYSSEM_OK);
        // SAFETY: there it is, after success
        let permit = unsafe { permit.assume_init() };
        c::syssem_permit_release(Some(permit));
    });
    c::syssem_close(Some(semaphore));
}

fn c_held(times: u64) {
    let semaphore = c_semaphore();
    repeat(times, || {
        c::syssem_acquire(Some(&semaphore), 1, None);
        c::syssem_release(Some(&semaphore), 1);
    });
    c::syssem_close(Some(semaphore));
}

fn qt_pair(key_type: KeyType, times: u64) {
    let key = QNativeIpcKey::platform_safe(&name(), key_type.number());
    let semaphore = QSystemSemaphore::with_native_key(key, 3, system_semaphore_qt::AccessMode::Create);
    assert!(semaphore.acquire(1) && semaphore.release(1), "{}", semaphore.error_string());
    repeat(times, || {
        black_box(&semaphore).acquire(1);
        black_box(&semaphore).release(1);
    });
}

/// Does it while another thread of the process sleeps.
fn beside_a_thread(path: impl FnOnce()) {
    let (stop, stopped) = channel::<()>();
    let other = thread::spawn(move || stopped.recv());
    path();
    drop(stop);
    let _ = other.join();
}
