//! What only Windows' semaphores have, and what they have not.
#![allow(unsafe_code)]
#![warn(dead_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Error, ErrorKind, NativeIpcKey, Observer, Owners, SystemSemaphore, list};
use test_support::Puppet;
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateMutexW, CreateSemaphoreW, ReleaseSemaphore, WaitForSingleObject,
};

use crate::case;
use crate::tested_type::{TestedType, exists, free};

fn assert_kind<T>(outcome: Result<T, Error>, kind: ErrorKind) -> Error {
    let error = outcome.err().unwrap_or_else(|| panic!("{kind:?} was to come of it"));
    assert_eq!(error.kind(), kind, "{error}");
    error
}

/// The name as the system takes it.
fn wide(key: &NativeIpcKey) -> Vec<u16> {
    key.native_key().encode_utf16().chain([0]).collect()
}

/// A semaphore as a program makes it that knows nothing of this library.
struct Strangers(HANDLE);

impl Strangers {
    fn make(key: &NativeIpcKey, count: i32, max: i32) -> Self {
        let name = wide(key);
        // SAFETY: the name ends with a NUL and lives through the call
        let handle = unsafe { CreateSemaphoreW(ptr::null(), count, max, name.as_ptr()) };
        assert!(!handle.is_null());
        Self(handle)
    }

    fn try_take(&self) -> bool {
        // SAFETY: it is open until this is dropped
        unsafe { WaitForSingleObject(self.0, 0) == 0 }
    }

    fn release(&self, count: i32) {
        // SAFETY: it is open until this is dropped
        let released = unsafe { ReleaseSemaphore(self.0, count, ptr::null_mut()) };
        assert_ne!(released, 0);
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        // SAFETY: it is open, and not used any more
        unsafe { CloseHandle(self.0) };
    }
}

case!(Windows, unsupported_calls_are_refused);

fn unsupported_calls_are_refused(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let key = tested.key("s");
    let builder = SystemSemaphore::builder(tested.key("other"));
    assert_kind(builder.clone().persistent(true).build(), ErrorKind::Unsupported);
    assert_kind(builder.permissions(0o600).build(), ErrorKind::Unsupported);
    assert!(!exists(&tested.key("other")));
    assert_kind(SystemSemaphore::remove(&key), ErrorKind::Unsupported);
    assert_kind(SystemSemaphore::remove(tested.key("other")), ErrorKind::NotFound);
    assert_kind(Observer::new(&key), ErrorKind::Unsupported);
    assert_kind(list(Owners::User), ErrorKind::Unsupported);
    assert_kind(semaphore.available_permits(), ErrorKind::Unsupported);
    assert_kind(semaphore.waiting(), ErrorKind::Unsupported);
    assert_kind(semaphore.holders(), ErrorKind::Unsupported);
    assert_kind(semaphore.recoveries(), ErrorKind::Unsupported);
    assert_kind(semaphore.acquire_many(2), ErrorKind::Unsupported);
    let capabilities = semaphore.capabilities();
    assert!(!capabilities.returns_on_death && capabilities.ends_with_last_user && capabilities.timeout);
    assert!(!semaphore.is_persistent().expect("it is known"));
    assert_eq!(free(&semaphore), 1, "all that changed nothing");
}

case!(Windows, bad_keys_are_refused_and_named);

fn bad_keys_are_refused_and_named(tested: &TestedType) {
    let long = "x".repeat(300);
    let inner = r"a\b".to_owned();
    for native in ["".to_owned(), "a\0b".to_owned(), "\0".to_owned(), long, inner] {
        let key = NativeIpcKey::new(&native, tested.key_type);
        for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew, AccessMode::OpenExisting] {
            let error = assert_kind(SystemSemaphore::new(&key, 1, mode), ErrorKind::KeyError);
            let shown = format!("{:?}", key.to_string());
            assert!(error.to_string().contains(&shown), "{error} does not name {shown}");
        }
    }
    assert_kind(SystemSemaphore::open("", 1), ErrorKind::KeyError);
    for other in ["posix:/x", "systemv:/x", "robust:x"] {
        let key: NativeIpcKey = other.parse().expect("it is one elsewhere");
        assert_kind(SystemSemaphore::open(key, 1), ErrorKind::KeyError);
    }
}

case!(Windows, plain_name_belongs_to_this_session);

fn plain_name_belongs_to_this_session(tested: &TestedType) {
    let plain = tested.key("s");
    let with = |prefix: &str| NativeIpcKey::new(format!(r"{prefix}\{}", plain.native_key()), tested.key_type);
    let semaphore = SystemSemaphore::new(&plain, 3, AccessMode::CreateNew).expect("nobody has the name");
    let local = SystemSemaphore::new(with("Local"), 0, AccessMode::OpenExisting).expect("it is the same");
    let permit = local.acquire().expect("three are free");
    assert_eq!(free(&semaphore), 2);
    // known to be one semaphore, so that what one handle holds can be given back by the other
    permit.detach();
    assert_eq!(semaphore.detached_permits(), 1);
    semaphore.release(1).expect("it is held");
    assert_eq!((semaphore.detached_permits(), free(&local)), (0, 3));
    let global = SystemSemaphore::new(with("Global"), 7, AccessMode::CreateNew).expect("it is another");
    assert_eq!((free(&global), free(&semaphore)), (7, 3));
}

case!(Windows, name_of_another_object_is_refused);

fn name_of_another_object_is_refused(tested: &TestedType) {
    let (event, mutex) = (tested.key("event"), tested.key("mutex"));
    let (event_name, mutex_name) = (wide(&event), wide(&mutex));
    let others: [HANDLE; 2] = [
        // SAFETY: the name ends with a NUL and lives through the call
        unsafe { CreateEventW(ptr::null(), 1, 0, event_name.as_ptr()) },
        // SAFETY: as above
        unsafe { CreateMutexW(ptr::null(), 0, mutex_name.as_ptr()) },
    ];
    for key in [event, mutex] {
        for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew, AccessMode::OpenExisting] {
            assert_kind(SystemSemaphore::new(&key, 1, mode), ErrorKind::Corrupt);
        }
    }
    for other in others {
        assert!(!other.is_null());
        // SAFETY: opened above, and not used any more
        unsafe { CloseHandle(other) };
    }
}

case!(Windows, create_changes_no_semaphore_in_use);

fn create_changes_no_semaphore_in_use(tested: &TestedType) {
    let key = tested.key("s");
    let semaphore = SystemSemaphore::create(&key, 3).expect("nobody has the name");
    assert_kind(SystemSemaphore::create(&key, 5), ErrorKind::Unsupported);
    assert_kind(SystemSemaphore::new(&key, 5, AccessMode::CreateNew), ErrorKind::AlreadyExists);
    let opened = SystemSemaphore::open(&key, 5).expect("it is there");
    assert_eq!((free(&opened), free(&semaphore)), (3, 3));
    drop((semaphore, opened));
    let anew = SystemSemaphore::create(&key, 5).expect("its last user has gone");
    assert_eq!(free(&anew), 5);
}

case!(Windows, maximum_is_kept);

fn maximum_is_kept(tested: &TestedType) {
    let with_max = |max| SystemSemaphore::builder(tested.key("s")).max_permits(max);
    for impossible in [0, i32::MAX as u32 + 1] {
        assert_kind(with_max(impossible).build(), ErrorKind::Unsupported);
    }
    assert_kind(with_max(5).initial_value(6).build(), ErrorKind::OutOfResources);
    assert!(!exists(&tested.key("s")));
    let semaphore = with_max(5).initial_value(3).build().expect("nobody has the name");
    assert_eq!(semaphore.capabilities().max_permits, 5);
    // another process that knows nothing of it keeps it, too
    let mut other = tested.puppet("s");
    for count in [3, 6] {
        let failure = other.ask(&format!("add\ts\t{count}")).expect_err("there is room for two");
        assert_eq!(failure.kind, "OutOfResources", "{failure:?}");
        assert_kind(semaphore.release(count), ErrorKind::OutOfResources);
    }
    assert_kind(semaphore.add_permits(u32::MAX), ErrorKind::OutOfResources);
    assert_eq!(free(&semaphore), 3, "nothing of it was done");
    other.must("add\ts\t2");
    assert_eq!(free(&semaphore), 5);
}

case!(Windows, first_opener_sets_the_maximum);

fn first_opener_sets_the_maximum(tested: &TestedType) {
    let (large, small) = (tested.key("large"), tested.key("small"));
    let _makers = [Strangers::make(&large, 0, i32::MAX), Strangers::make(&small, 0, 2)];
    for mode in [AccessMode::Open, AccessMode::OpenExisting] {
        let open = |key, max| SystemSemaphore::builder(key).mode(mode).max_permits(max).build();
        let semaphore = open(&large, 2).expect("it is there");
        semaphore.add_permits(5).expect("it has room, whatever this one wanted");
        let semaphore = open(&small, 9).expect("it is there");
        assert_kind(semaphore.add_permits(3), ErrorKind::OutOfResources);
        assert_eq!(free(&semaphore), 0);
    }
}

case!(Windows, stranger_shares_semaphore);

fn stranger_shares_semaphore(tested: &TestedType) {
    let key = tested.key("s");
    let stranger = Strangers::make(&key, 2, 9);
    let semaphore = SystemSemaphore::open(&key, 7).expect("it is there");
    let mut waiter = tested.puppet("s");
    assert!(stranger.try_take());
    let permit = semaphore.acquire().expect("one is free");
    assert!(!stranger.try_take());
    waiter.block("acquire\ts\t1");
    stranger.release(1);
    waiter.answer().expect("the stranger gave one");
    drop(permit);
    assert!(stranger.try_take(), "it was given back");
}

case!(Windows, names_differ_to_the_last_unit);

fn names_differ_to_the_last_unit(tested: &TestedType) {
    let prefix = tested.key("s").native_key().to_owned();
    let new = |name: &str| {
        let key = NativeIpcKey::new(name, tested.key_type);
        SystemSemaphore::new(key, 1, AccessMode::CreateNew)
    };
    let filled = |units: usize, last: &str| {
        let rest = units - prefix.encode_utf16().count() - last.encode_utf16().count();
        format!("{prefix}{}{last}", "x".repeat(rest))
    };
    // a character beyond the first 65,536 is two units
    let longest = [filled(260, "a"), filled(260, "b"), filled(260, "A"), filled(260, "\u{1f512}")];
    let semaphores: Vec<_> = longest.iter().map(|name| new(name).expect("nobody has the name")).collect();
    let _permit = semaphores[0].acquire().expect("one is free");
    assert_eq!(semaphores.iter().map(free).collect::<Vec<_>>(), [0, 1, 1, 1]);
    for too_long in [filled(261, "a"), filled(261, "\u{1f512}")] {
        assert_kind(new(&too_long), ErrorKind::KeyError);
    }
    // and the prefixes are spelled as they are
    assert_kind(new(&format!(r"local\{prefix}")), ErrorKind::KeyError);
}

case!(Windows, permits_of_dead_holders_are_lost);

fn permits_of_dead_holders_are_lost(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    for left in [2, 1, 0] {
        let mut holder = tested.puppet("s");
        holder.must("acquire\ts\t1");
        holder.kill();
        assert_eq!(free(&semaphore), left, "what the dead held is lost");
    }
    assert_kind(semaphore.try_acquire(), ErrorKind::NoPermits);
}

case!(Windows, release_to_full_count_stops_at_the_maximum);

fn release_to_full_count_stops_at_the_maximum(tested: &TestedType) {
    let semaphore =
        SystemSemaphore::builder(tested.key("s")).max_permits(3).initial_value(3).build().expect("it is new");
    let mut permits = semaphore.acquire().expect("three are free");
    permits.merge(semaphore.acquire().expect("two are free")).expect("they are of one semaphore");
    semaphore.add_permits(1).expect("there is room for two");
    assert_kind(permits.release(), ErrorKind::OutOfResources);
    assert_eq!(free(&semaphore), 3, "it was filled up");
}

case!(Windows, hook_is_called_during_wait);

fn hook_is_called_during_wait(tested: &TestedType) {
    let semaphore = tested.create("s", 0);
    let mut asked = 0;
    let mut hook = || {
        asked += 1;
        asked == 3
    };
    assert_kind(semaphore.acquire_interruptible(1, None, &mut hook), ErrorKind::Interrupted);
    assert_eq!(asked, 3);
    // one that nobody ends goes on until its time
    let deadline = Instant::now() + Duration::from_millis(120);
    let outcome = semaphore.acquire_interruptible(1, Some(deadline), &mut || false);
    assert_kind(outcome, ErrorKind::TimedOut);
    assert!(Instant::now() >= deadline);
    // or until a permit comes
    thread::scope(|scope| {
        let waiter = scope.spawn(|| semaphore.acquire_interruptible(1, None, &mut || false).map(drop));
        semaphore.add_permits(1).expect("there is room");
        waiter.join().expect("it does not panic").expect("one came");
    });
    assert_eq!(free(&semaphore), 1);
}

case!(Windows, panic_returns_permits);

fn panic_returns_permits(tested: &TestedType) {
    let semaphore = tested.create("s", 1);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _permit = semaphore.acquire().expect("one is free");
        // without the text that a panic prints
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(caught.is_err());
    assert_eq!(free(&semaphore), 1);
    let permit = semaphore.acquire().expect("one is free").into_owned();
    let thread = thread::spawn(move || {
        let _permit = permit;
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(thread.join().is_err());
    assert_eq!(free(&semaphore), 1);
}

case!(Windows, semaphore_starts_afresh_after_its_last_user);

fn semaphore_starts_afresh_after_its_last_user(tested: &TestedType) {
    let key = tested.key("s");
    for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
        let mut maker = Puppet::of_this_program();
        maker.must(&format!("open\ts\t{key}\t3\tCreateNew"));
        maker.must("acquire\ts\t1");
        maker.kill();
        assert!(!exists(&key), "its last user has gone");
        let semaphore = SystemSemaphore::new(&key, 9, mode).expect("nobody has the name");
        assert_eq!(free(&semaphore), 9);
    }
}
