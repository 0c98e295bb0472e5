//! Keys as users give them.

use system_semaphore::{
    AccessMode, ErrorKind, KeyType, NativeIpcKey, SystemSemaphore, legacy_native_key, platform_safe_key,
};

use crate::case;
use crate::tested_type::{TestedType, free};

case!(Unix, bad_keys_are_refused_and_named);

#[cfg(unix)]
fn bad_keys_are_refused_and_named(tested: &TestedType) {
    let mut bad = vec!["".to_owned(), "/a\0b".to_owned()];
    let long = format!("/{}", "x".repeat(300));
    match tested.key_type {
        KeyType::Posix => bad.extend([long, "/inner/slash".to_owned(), "/".to_owned()]),
        KeyType::Robust => {
            bad.extend(["x".repeat(1025), "\u{20ac}".repeat(342), "a\0".to_owned(), "\0".to_owned()]);
            bad.extend([r"Global\".to_owned(), r"Local\".to_owned(), "Global\\\0".to_owned()]);
            bad.push(format!(r"Global\{}", "x".repeat(1025)));
        }
        _ => bad.extend([long, tested.path("missing/directory")]),
    }
    for native in bad {
        let key = NativeIpcKey::new(&native, tested.key_type);
        for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
            let error = SystemSemaphore::new(&key, 1, mode).expect_err("the key is bad");
            assert_eq!(error.kind(), ErrorKind::KeyError, "{error}");
            let shown = format!("{:?}", key.to_string());
            assert!(error.to_string().contains(&shown), "{error} does not name {shown}");
        }
    }
    let error = SystemSemaphore::builder("").key_type(tested.key_type).build().expect_err("it is empty");
    assert_eq!(error.kind(), ErrorKind::KeyError, "{error}");
    let error = SystemSemaphore::open(NativeIpcKey::new("x", KeyType::Windows), 1).expect_err("not here");
    assert_eq!(error.kind(), ErrorKind::KeyError, "{error}");
}

case!(Unix, key_of_another_type_is_refused);

#[cfg(unix)]
fn key_of_another_type_is_refused(tested: &TestedType) {
    let error = SystemSemaphore::builder(tested.key("s"))
        .key_type(KeyType::Windows)
        .build()
        .expect_err("the types differ");
    assert_eq!(error.kind(), ErrorKind::KeyError, "{error}");
}

case!(EveryType, plain_name_is_legacy_key_of_qt);

fn plain_name_is_legacy_key_of_qt(tested: &TestedType) {
    let name = format!("system-semaphore test {} {}", tested.key_type, std::process::id());
    let by_name = SystemSemaphore::builder(&name)
        .key_type(tested.key_type)
        .initial_value(2)
        .mode(AccessMode::CreateNew)
        .build()
        .expect("nobody has the name");
    assert_eq!(by_name.key(), name);
    let native = legacy_native_key(&name, tested.key_type);
    assert_eq!(by_name.native_key(), &native);
    let by_key = SystemSemaphore::new(native, 0, AccessMode::OpenExisting).expect("it is there");
    assert_eq!(free(&by_key), 2);
    if tested.key_type == KeyType::Posix {
        let safe = platform_safe_key(&name, KeyType::Posix);
        let error = SystemSemaphore::new(safe, 0, AccessMode::OpenExisting).expect_err("it is another name");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

case!(EveryType, too_large_initial_value_changes_nothing);

fn too_large_initial_value_changes_nothing(tested: &TestedType) {
    let semaphore = tested.create("s", 3);
    let too_many = semaphore.capabilities().max_permits + 1;
    let new = |name, mode| SystemSemaphore::new(tested.key(name), too_many, mode);
    for mode in [AccessMode::Open, AccessMode::Create, AccessMode::CreateNew] {
        let error = new("new", mode).expect_err("it cannot count so far");
        assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
        assert!(error.to_string().contains(&too_many.to_string()), "{error}");
    }
    for mode in [AccessMode::Create, AccessMode::CreateNew] {
        let error = new("s", mode).expect_err("it cannot count so far");
        assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error}");
    }
    assert_eq!(free(&semaphore), 3, "the one that is there is unharmed");
    for mode in [AccessMode::Open, AccessMode::OpenExisting] {
        let open = new("s", mode).expect("what is there is opened, and the value ignored");
        assert_eq!(free(&open), 3);
    }
}
