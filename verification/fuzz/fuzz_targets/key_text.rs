//! The text of keys. What is read is written so that it is read as the same; and it is read as another decoder of
//! percent encoding reads it, and if and only if the rule, written down once more, allows it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use system_semaphore::{Environment, ErrorKind, KeyType, NativeIpcKey, Platform, ProjectId};

fuzz_target!(|text: &str| {
    is_read_well(text);
    for before in ["posix:", "systemv-", "robust:name?legacyKey="] {
        is_read_well(&format!("{before}{text}"));
    }
    derives_keys(text);
});

fn is_read_well(text: &str) {
    let key = text.parse::<NativeIpcKey>();
    match &key {
        Ok(key) => {
            survives(key);
            is_what_stands_there(key, text);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::KeyError),
    }
    if !text.contains('%') {
        assert_eq!(key.is_ok(), is_key(text));
    }
}

fn survives(key: &NativeIpcKey) {
    assert_eq!(&key.to_string().parse::<NativeIpcKey>().expect("what is written can be read"), key);
}

fn is_what_stands_there(key: &NativeIpcKey, text: &str) {
    let (_, path) = text.split_once(':').expect("it is a key");
    let path = path.split(['?', '#']).next().expect("there is always a first part");
    let is_noncharacter = |c: char| c as u32 & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(&c);
    let is_encoded = path.split('%').skip(1).all(|rest| {
        let mut rest = rest.chars();
        (0..2).all(|_| rest.next().is_some_and(|digit| digit.is_ascii_hexdigit()))
    });
    match percent_decode_str(path).decode_utf8() {
        // an authority
        _ if path.starts_with("//") => {}
        _ if !is_encoded => assert_eq!(key.native_key(), path),
        Ok(decoded) if !decoded.contains(is_noncharacter) => assert_eq!(key.native_key(), decoded),
        _ => {}
    }
}

/// Whether this is the text of a key. It has no `%`.
fn is_key(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme = scheme.to_ascii_lowercase();
    let number = scheme.strip_prefix("systemv-").filter(|number| !number.starts_with('+'));
    let has_type = ["robust", "systemv", "posix", "windows"].contains(&&*scheme)
        || number.is_some_and(|number| (1..=255).contains(&number.parse().unwrap_or(0)));
    let rest = rest.split('#').next().unwrap_or("");
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = path.strip_prefix("//").and_then(|path| path.split('/').next()).unwrap_or("");
    let items: Vec<&str> = query.strip_suffix('&').unwrap_or(query).split('&').collect();
    let is_legacy = |item: &&str| *item == "legacyKey" || item.starts_with("legacyKey=");
    has_type && ["", "@", ":", "@:"].contains(&host) && (query.is_empty() || items.iter().all(is_legacy))
}

/// On one platform, for what a name's length chooses: all at once would take most of the time.
fn derives_keys(name: &str) {
    const PLATFORMS: [Platform; 6] = [
        Platform::Linux,
        Platform::Windows,
        Platform::Qnx,
        Platform::Other,
        Platform::Apple { sandboxed: true },
        Platform::Apple { sandboxed: false },
    ];
    let platform = PLATFORMS[name.len() % PLATFORMS.len()];
    let project = ProjectId::new(name.len() as u8).unwrap_or(ProjectId::QT);
    let mut environment = Environment::of(platform);
    environment.temp_dir = Some(name.to_owned());
    for key_type in [KeyType::Robust, KeyType::SystemV(project), KeyType::Posix, KeyType::Windows] {
        let legacy = environment.legacy_native_key(name, key_type);
        let safe = environment.platform_safe_key(name, key_type);
        assert_eq!(legacy.legacy_key(), Some(name).filter(|_| !legacy.is_empty()));
        for key in [legacy, safe].iter().filter(|key| !key.is_empty()) {
            assert!(platform.has_type(key_type) && !name.is_empty());
            survives(key);
        }
    }
}
