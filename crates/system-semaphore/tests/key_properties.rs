//! What holds for keys of any content.

use proptest::prelude::*;
use system_semaphore::{Environment, KeyType, NativeIpcKey, Platform, ProjectId};

fn key_type() -> impl Strategy<Value = KeyType> {
    prop_oneof![
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
    fn reading_any_text_does_no_harm_and_settles_at_once(text in prop_oneof![any::<String>(), tricky()]) {
        for text in [text.clone(), format!("posix:{text}"), format!("systemv:/x?legacyKey={text}")] {
            if let Ok(key) = text.parse::<NativeIpcKey>() {
                prop_assert_eq!(key.to_string().parse::<NativeIpcKey>().expect("a second time too"), key);
            } else {
                let message = text.parse::<NativeIpcKey>().expect_err("the same again").to_string();
                prop_assert!(message.contains("must begin with") || message.contains("behind"));
            }
        }
    }
}
