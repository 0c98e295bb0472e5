//! What holds for keys of any content.

use proptest::prelude::*;
use system_semaphore::{Environment, KeyType, NativeIpcKey, Platform, ProjectId};

fn key_type() -> impl Strategy<Value = KeyType> {
    prop_oneof![
        Just(KeyType::Robust),
        (1..=255u8).prop_map(|id| KeyType::SystemV(ProjectId::new(id).expect("not 0"))),
        Just(KeyType::Posix),
        Just(KeyType::Windows),
    ]
}

/// Texts full of what is special in keys.
fn tricky() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<char>().prop_map(String::from),
        "[/%?#&=:@.\\\\A-Za-z0-9+-]".prop_map(String::from),
        "%[0-9a-fA-F]{2}".prop_map(String::from),
        Just("legacyKey=".to_owned()),
        Just("systemv-".to_owned()),
        Just("posix:".to_owned()),
        Just("Local\\".to_owned()),
        Just("Global\\".to_owned()),
        Just("//".to_owned()),
        Just("\u{FFFE}".to_owned()),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_native_name_survives_its_text_form(native in prop_oneof![any::<String>(), tricky()], ty in key_type()) {
        let key = NativeIpcKey::new(native, ty);
        prop_assert_eq!(key.to_string().parse::<NativeIpcKey>().expect("what is written can be read"), key);
    }

    #[test]
    fn any_plain_name_survives_the_text_form_of_its_key(name in prop_oneof![any::<String>(), tricky()]) {
        for (platform, ty) in [
            (Platform::Linux, KeyType::Robust),
            (Platform::Unix, KeyType::SYSTEM_V),
            (Platform::Unix, KeyType::Posix),
            (Platform::Windows, KeyType::Windows),
            (Platform::Apple { sandboxed: true }, KeyType::Posix),
        ] {
            let environment = Environment::of(platform);
            for key in [environment.legacy_native_key(&name, ty), environment.platform_safe_key(&name, ty)] {
                prop_assert_eq!(key.to_string().parse::<NativeIpcKey>().expect("what is written can be read"), key);
            }
        }
    }

    #[test]
    fn a_type_is_its_number(number in any::<u16>(), ty in key_type()) {
        prop_assert_eq!(KeyType::from_number(ty.number()).expect("it is a type"), ty);
        if let Ok(ty) = KeyType::from_number(number) {
            prop_assert_eq!(ty.number(), number);
        }
    }

    #[test]
    fn linux_is_a_unix_with_robust_semaphores(name in prop_oneof![any::<String>(), tricky()], ty in key_type()) {
        let (linux, unix) = (Environment::of(Platform::Linux), Environment::of(Platform::Unix));
        if ty == KeyType::Robust {
            prop_assert!(Platform::Linux.has_type(ty) && !Platform::Unix.has_type(ty));
        } else {
            prop_assert_eq!(Platform::Linux.has_type(ty), Platform::Unix.has_type(ty));
            prop_assert_eq!(linux.legacy_native_key(&name, ty), unix.legacy_native_key(&name, ty));
            prop_assert_eq!(linux.platform_safe_key(&name, ty), unix.platform_safe_key(&name, ty));
        }
    }

    /// Names are one semaphore if and only if they mean the same, and native names mean what the plain ones did.
    #[test]
    fn robust_names_do_not_meet(
        prefixes in prop::array::uniform2(prop::collection::vec(prop::sample::select(vec!["Local\\", "Global\\"]), 0..4)),
        name in prop_oneof![Just(String::new()), tricky()],
    ) {
        let linux = Environment::of(Platform::Linux);
        let [one, other] = prefixes.map(|prefixes| prefixes.concat() + &name);
        let native = |name: &str| linux.platform_safe_key(name, KeyType::Robust).native_key().to_owned();
        // whether it is for all users, and the rest
        let meaning = |name: &str| match name.strip_prefix("Global\\") {
            Some(rest) => (true, rest.to_owned()),
            None => (false, name.strip_prefix("Local\\").unwrap_or(name).to_owned()),
        };
        prop_assert_eq!(native(&one) == native(&other), meaning(&one) == meaning(&other));
        prop_assert_eq!(meaning(&native(&one)), meaning(&one));
        let legacy = linux.legacy_native_key(&one, KeyType::Robust);
        prop_assert_eq!(legacy.native_key(), native(&one));
        prop_assert_eq!(legacy.legacy_key(), Some(&*one).filter(|_| !legacy.is_empty()));
    }

    #[test]
    fn reading_any_text_does_no_harm_and_settles_at_once(text in prop_oneof![any::<String>(), tricky()]) {
        for text in [text.clone(), format!("posix:{text}"), format!("robust:{text}"), format!("systemv:/x?legacyKey={text}")] {
            if let Ok(key) = text.parse::<NativeIpcKey>() {
                prop_assert_eq!(key.to_string().parse::<NativeIpcKey>().expect("a second time too"), key);
            } else {
                let message = text.parse::<NativeIpcKey>().expect_err("the same again").to_string();
                prop_assert!(message.contains("must begin with") || message.contains("behind"));
            }
        }
    }
}
