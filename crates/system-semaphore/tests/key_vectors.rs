//! What Qt 6.12 answered for some 1,700 keys, and what is expected on platforms where it was not run: our answers
//! are the same, but for the deviations listed here. A difference that is not listed fails, and so does a listed
//! one that has gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use system_semaphore::{
    Directory, Environment, ErrorKind, Facility, KeyType, NativeIpcKey, Platform, SystemSemaphore,
};

/// Names of rows in which we answer otherwise on purpose, and why.
type Deviations<'a> = &'a [(&'static str, &'static str)];
const NONE: Deviations<'static> = &[];
const NO_SUCH_TYPE: &str = "the number is no key type: Qt goes on as if it were System V, we refuse it";

/// The rows compared by one test, and the differences found.
#[derive(Default)]
struct Comparison {
    rows: BTreeSet<String>,
    different: BTreeMap<String, String>,
}

impl Comparison {
    fn row(&mut self, name: String, qt: &Value, ours: &Value) {
        if qt != ours {
            self.different.insert(name.clone(), format!("Qt {qt}, we {ours}"));
        }
        self.rows.insert(name);
    }

    fn finish(self, least_rows: usize, deviations: Deviations<'_>) {
        assert!(self.rows.len() >= least_rows, "only {} rows were compared", self.rows.len());
        for (name, difference) in &self.different {
            assert!(deviations.iter().any(|(listed, _)| listed == name), "{name}: {difference}");
        }
        for (name, why) in deviations {
            assert!(self.different.contains_key(*name), "{name} is listed ({why}), but does not differ");
        }
    }
}

fn qt() -> Value {
    serde_json::from_str(include_str!("data/qt-6.12-linux.json")).expect("the file is JSON")
}

fn rows<'a>(vectors: &'a Value, section: &str) -> &'a Vec<Value> {
    vectors[section].as_array().unwrap_or_else(|| panic!("no rows in {section}"))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("{row} has no text {field}"))
}

/// A type by Qt's name or number; `None` for a number that we refuse.
fn key_type(value: &Value) -> Option<KeyType> {
    match value.as_str() {
        Some("systemv") => Some(KeyType::SYSTEM_V),
        Some("posix") => Some(KeyType::Posix),
        Some("windows") => Some(KeyType::Windows),
        Some(other) => panic!("unknown type {other}"),
        None => KeyType::from_number(value.as_u64().and_then(|n| n.try_into().ok()).expect("a number")).ok(),
    }
}

/// The machine on which Qt was asked.
fn asked() -> Environment<'static> {
    let mut environment = Environment::of(Platform::Unix);
    environment.user_name = Box::new(|| "root".into());
    environment
}

fn derive(environment: &Environment<'_>, row: &Value) -> Option<NativeIpcKey> {
    let (name, key_type) = (text(row, "key"), key_type(&row["key_type"])?);
    Some(match text(row, "fn") {
        "legacyNativeKey" => environment.legacy_native_key(name, key_type),
        "platformSafeKey" => environment.platform_safe_key(name, key_type),
        other => panic!("unknown function {other}"),
    })
}

/// The fields of a row of Qt's, as our key answers them.
fn describe(key: &NativeIpcKey, row: &Value) -> Value {
    let again: Result<NativeIpcKey, _> = key.to_string().parse();
    let mut fields = serde_json::Map::new();
    for field in row.as_object().expect("a row is an object").keys() {
        let value = match field.as_str() {
            "valid" => Value::from(true),
            "empty" => Value::from(key.is_empty()),
            "type" => Value::from(key.key_type().number()),
            "native" => Value::from(key.native_key()),
            "string" => Value::from(key.to_string()),
            "roundtrip_valid" => Value::from(again.is_ok()),
            "roundtrip_equal" => Value::from(again.as_ref().is_ok_and(|again| again == key)),
            "roundtrip_native" => Value::from(again.as_ref().map_or("", |again| again.native_key())),
            _ => row[field].clone(),
        };
        fields.insert(field.clone(), value);
    }
    Value::from(fields)
}

fn compare_derivations(
    section: &str,
    environment: &Environment<'_>,
    least_rows: usize,
    deviations: Deviations<'_>,
) {
    let vectors = qt();
    let mut comparison = Comparison::default();
    for row in rows(&vectors, section) {
        let ours = derive(environment, row).map_or(Value::Null, |key| describe(&key, row));
        let (function, name, key_type) = (text(row, "fn"), &row["key"], &row["key_type"]);
        comparison.row(format!("{function} {name} {key_type}"), row, &ours);
    }
    comparison.finish(least_rows, deviations);
}

#[test]
fn names_become_the_native_keys_that_qt_makes() {
    let deviations: Deviations<'_> = &[
        ("legacyNativeKey \"myapp\" 0", NO_SUCH_TYPE),
        ("legacyNativeKey \"\" 0", NO_SUCH_TYPE),
        ("legacyNativeKey \"/abs\" 0", NO_SUCH_TYPE),
        ("platformSafeKey \"myapp\" 0", NO_SUCH_TYPE),
        ("platformSafeKey \"\" 0", NO_SUCH_TYPE),
        ("platformSafeKey \"/abs\" 0", NO_SUCH_TYPE),
    ];
    compare_derivations("key_derivation", &asked(), 600, deviations);
}

#[test]
fn names_of_shared_memory_do_too() {
    let mut environment = asked();
    environment.facility = Facility::SharedMemory;
    compare_derivations("shared_memory_key_derivation", &environment, 36, NONE);
}

#[test]
fn keys_are_written_as_qt_writes_them() {
    let vectors = qt();
    let mut comparison = Comparison::default();
    for row in rows(&vectors, "to_string") {
        let ours = key_type(&row["type"])
            .map_or(Value::Null, |key_type| describe(&NativeIpcKey::new(text(row, "native"), key_type), row));
        comparison.row(format!("toString {} {}", row["type"], row["native"]), row, &ours);
    }
    comparison.finish(
        700,
        &[
            ("toString 0 \"x\"", NO_SUCH_TYPE),
            ("toString 258 \"x\"", NO_SUCH_TYPE),
            ("toString 300 \"x\"", NO_SUCH_TYPE),
            ("toString 65535 \"x\"", NO_SUCH_TYPE),
        ],
    );
}

#[test]
fn keys_are_read_as_qt_reads_them() {
    let vectors = qt();
    let mut comparison = Comparison::default();
    for row in rows(&vectors, "from_string") {
        let parsed: Result<NativeIpcKey, _> = text(row, "text").parse();
        let ours = match parsed {
            Ok(key) => describe(&key, row),
            // what Qt shows of a key that is none
            Err(_) => serde_json::json!({
                "text": row["text"], "valid": false, "empty": true, "type": 0, "native": "", "string": ""
            }),
        };
        comparison.row(format!("fromString {}", row["text"]), row, &ours);
    }
    comparison.finish(200, NONE);
}

#[test]
fn key_objects_behave_as_qts() {
    let vectors = qt();
    let qt = &vectors["key_object_semantics"];
    let environment = asked();
    let legacy = environment.legacy_native_key("x", KeyType::Posix);
    let plain = NativeIpcKey::new(legacy.native_key(), KeyType::Posix);
    let mut copy = legacy.clone();
    copy.set_native_key(plain.native_key());
    let mut retyped_legacy = legacy.clone();
    let refusal = retyped_legacy.set_type(KeyType::SYSTEM_V).map_err(|error| error.kind());
    let refused = refusal == Err(ErrorKind::KeyError);
    let mut retyped = plain.clone();
    retyped.set_type(KeyType::SYSTEM_V).expect("a plain key's type can be changed");
    let object = |key: NativeIpcKey| describe(&key, &qt["default_ctor"]);
    let posix = Platform::Unix.default_type();

    let mut comparison = Comparison::default();
    let mut row = |name: &str, ours: Value| comparison.row(name.into(), &qt[name], &ours);
    row(
        "legacyNativeKey_then_setType_SystemV__type_after",
        if refused { "refused".into() } else { 256.into() },
    );
    assert_eq!(retyped_legacy, legacy, "what was refused has changed nothing");
    row("plain_then_setType_SystemV__type_after", retyped.key_type().number().into());
    row("legacy_eq_plain_same_native", (legacy == plain).into());
    row("copy_of_legacy_then_setNativeKey_same__eq_original", (copy == legacy).into());
    row("that_copy_eq_plain", (copy == plain).into());
    row("that_copy_toString", copy.to_string().into());
    row("default_ctor", object(NativeIpcKey::new("", posix)));
    row("ctor_type_only_systemv", object(NativeIpcKey::new("", KeyType::SYSTEM_V)));
    row("ctor_string_only", object(NativeIpcKey::new("dummy", posix)));
    assert_eq!(KeyType::from_number(0).map_err(|error| error.kind()), Err(ErrorKind::KeyError));
    assert_eq!(KeyType::from_number(0x102).map_err(|error| error.kind()), Err(ErrorKind::KeyError));
    row("ctor_type0", KeyType::from_number(0).map_or(Value::Null, |ty| object(NativeIpcKey::new("", ty))));
    // hash_equal_for_legacy_and_plain is no promise of a hash, but of Qt's
    let ignored = "Qt ignores setType there in silence; we refuse it";
    comparison.finish(
        10,
        &[("ctor_type0", NO_SUCH_TYPE), ("legacyNativeKey_then_setType_SystemV__type_after", ignored)],
    );

    if cfg!(target_os = "linux") {
        assert_eq!(NativeIpcKey::default(), NativeIpcKey::new("", KeyType::Posix));
    }
}

#[test]
fn types_and_defaults_are_those_of_qt() {
    let vectors = qt();
    let support = &vectors["support"];
    assert_eq!(support["DefaultTypeForOs"], Platform::Unix.default_type().number());
    assert_eq!(support["legacyDefaultTypeForOs"], Platform::Unix.legacy_default_type().number());
    assert_eq!(support["DefaultTypeForOs"], Platform::Linux.default_type().number());
    assert_eq!(support["legacyDefaultTypeForOs"], Platform::Linux.legacy_default_type().number());
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut comparison = Comparison::default();
    let is_supported = |key_type: Option<KeyType>| {
        key_type.map_or(Value::Null, |key_type| SystemSemaphore::is_key_type_supported(key_type).into())
    };
    for (name, supported) in support["QSystemSemaphore.isKeyTypeSupported"].as_object().expect("an object") {
        let ours = is_supported(key_type(&name.as_str().into()));
        comparison.row(format!("isKeyTypeSupported {name}"), supported, &ours);
    }
    for (number, supported) in
        support["QSystemSemaphore.isKeyTypeSupported_numeric"].as_object().expect("an object")
    {
        let parsed: u64 = number.parse().expect("a number");
        comparison.row(
            format!("isKeyTypeSupported {number}"),
            supported,
            &is_supported(key_type(&parsed.into())),
        );
    }
    comparison.finish(9, &[("isKeyTypeSupported 0", NO_SUCH_TYPE)]);
}

/// What stood where when Qt was asked with variables set. `$ENVDIR` was a scratch directory.
fn scene(path: &str) -> Directory {
    let path = path.strip_prefix("$ENVDIR/").map_or(path.to_owned(), |rest| format!("scratch/{rest}"));
    match path.trim_end_matches('/') {
        "scratch/run700" => Directory::Real { owned: true, mode: 0o700 },
        "scratch/run755" => Directory::Real { owned: true, mode: 0o755 },
        "scratch/link700" | "scratch/afile" => Directory::NoDirectory,
        path if path.starts_with("scratch/created") => Directory::Missing { creatable: true },
        "/usr/runtime-root" | "//runtime-root" => Directory::Missing { creatable: true },
        path if path.starts_with("/tmp/") || path.starts_with("/var/tmp/") => {
            Directory::Missing { creatable: true }
        }
        _ => Directory::Missing { creatable: false },
    }
}

#[test]
fn variables_and_directories_count_as_for_qt() {
    let vectors = qt();
    let mut comparison = Comparison::default();
    for row in rows(&vectors, "environment_variants") {
        let variable = |name: &str| row["env"][name].as_str();
        // Qt saw the scratch directory's real path, which is absolute
        let absolute = |value: &str| value.replace("$ENVDIR", "/$ENVDIR");
        let mut environment = asked();
        environment.temp_dir = variable("TMPDIR").map(absolute);
        environment.runtime_dir = variable("XDG_RUNTIME_DIR").map(absolute);
        environment.current_dir = text(row, "cwd").into();
        environment.directories =
            Box::new(|path| scene(path.strip_prefix('/').filter(|p| p.starts_with('$')).unwrap_or(path)));
        let ours = serde_json::json!({
            "legacy_systemv": environment.legacy_native_key("k", KeyType::SYSTEM_V).native_key(),
            "safe_systemv": environment.platform_safe_key("k", KeyType::SYSTEM_V).native_key(),
            "legacy_posix": environment.legacy_native_key("k", KeyType::Posix).native_key(),
            "temp": environment.temp_location(),
            "runtime": environment.runtime_location(),
        });
        let ours: Value =
            serde_json::from_str(&ours.to_string().replace("/$ENVDIR", "$ENVDIR")).expect("JSON");
        // a library prints no warnings
        let mut qt = row["result"].clone();
        qt.as_object_mut().expect("an object").remove("warnings");
        comparison.row(row["env"].to_string(), &qt, &ours);
    }
    comparison.finish(24, NONE);
}

#[test]
fn windows_and_macos_follow_the_rules_read_from_qts_source() {
    let vectors: Value = serde_json::from_str(include_str!("data/qt-windows-macos-unverified.json"))
        .expect("the file is JSON");
    let mut comparison = Comparison::default();
    for row in rows(&vectors, "rows") {
        let os = text(row, "os");
        let platform = match os {
            "windows" => Platform::Windows,
            os if os.starts_with("macos sandboxed") => Platform::Apple { sandboxed: true },
            os if os.starts_with("macos") => Platform::Apple { sandboxed: false },
            other => panic!("unknown system {other}"),
        };
        let key = derive(&Environment::of(platform), row).expect("all types are good");
        let name = format!("{os} {} {}", text(row, "fn"), row["key"]);
        comparison.row(name, &row["native"], &key.native_key().into());
    }
    comparison.finish(104, NONE);
}

#[test]
fn half_a_character_at_the_cut_does_no_harm() {
    let apple = Environment::of(Platform::Apple { sandboxed: false });
    let name = format!("{}\u{1F600}", "x".repeat(28));
    assert_eq!(
        apple.platform_safe_key(&name, KeyType::Posix).native_key(),
        format!("/{}\u{FFFD}", "x".repeat(28))
    );
}

/// Qt knows nothing of the robust type; these are our own rules.
#[test]
fn robust_keys_have_the_name_itself() {
    let linux = Environment::of(Platform::Linux);
    for (name, native) in [
        ("market", "market"),
        ("/a b?\u{E4}", "/a b?\u{E4}"),
        (r"Local\market", "market"),
        (r"local\market", r"local\market"),
        (r"LocalMarket", r"LocalMarket"),
        (r"Global\market", r"Global\market"),
        (r"Global\Local\market", r"Global\Local\market"),
        // what is behind Local\ does not come to be a prefix itself
        (r"Local\Global\market", r"Local\Global\market"),
        (r"Local\Local\market", r"Local\Local\market"),
        (r"Local\Local\Global\market", r"Local\Local\Global\market"),
        (r"Local\GlobalMarket", "GlobalMarket"),
        // a NUL, and any length: the backend says what cannot be
        ("a\0b", "a\0b"),
        (&"x".repeat(2000), &"x".repeat(2000)),
    ] {
        let safe = linux.platform_safe_key(name, KeyType::Robust);
        assert_eq!(safe, NativeIpcKey::new(native, KeyType::Robust), "{name:?}");
        let legacy = linux.legacy_native_key(name, KeyType::Robust);
        assert_eq!((legacy.key_type(), legacy.native_key()), (KeyType::Robust, native), "{name:?}");
        assert_eq!(legacy.legacy_key(), Some(name));
    }
    for (platform, name) in [
        (Platform::Linux, ""),
        (Platform::Linux, r"Local\"),
        (Platform::Unix, "market"),
        (Platform::Apple { sandboxed: false }, "market"),
        (Platform::Qnx, "market"),
        (Platform::Windows, "market"),
        (Platform::Other, "market"),
    ] {
        let environment = Environment::of(platform);
        let empty = NativeIpcKey::new("", KeyType::Robust);
        assert_eq!(environment.platform_safe_key(name, KeyType::Robust), empty, "{platform:?} {name:?}");
        assert_eq!(environment.legacy_native_key(name, KeyType::Robust), empty, "{platform:?} {name:?}");
    }
}

#[test]
fn robust_keys_have_a_number_and_a_text_form() {
    assert_eq!(KeyType::Robust.number(), 512);
    assert_eq!(KeyType::from_number(512).expect("it is a type"), KeyType::Robust);
    for number in [0, 258, 511, 513, u16::MAX] {
        let error = KeyType::from_number(number).expect_err("it is no type");
        assert_eq!(error.kind(), ErrorKind::KeyError);
        assert!(error.to_string().contains("512 (robust)"), "{error}");
    }
    for (text, native) in [
        ("robust:market", "market"),
        (r"robust:Global\market", r"Global\market"),
        ("robust:a%3Fb%00", "a?b\0"),
        ("robust:/%2Fmarket", "//market"),
    ] {
        let key = NativeIpcKey::new(native, KeyType::Robust);
        assert_eq!(key.to_string(), text);
        assert_eq!(text.parse::<NativeIpcKey>().expect("it is a key"), key);
    }
    let key: NativeIpcKey = r"RoBust:market?legacyKey=Local\market".parse().expect("it is a key");
    assert_eq!(key, Environment::of(Platform::Linux).legacy_native_key(r"Local\market", KeyType::Robust));
    for text in ["market", "robus:market", "robust-1:market", "robusts:market"] {
        let error = text.parse::<NativeIpcKey>().expect_err("it is no key");
        assert!(error.to_string().contains("must begin with robust:"), "{error}");
    }
}

#[test]
fn plain_names_are_of_the_platforms_best_type() {
    for (platform, best) in [
        (Platform::Linux, KeyType::Robust),
        (Platform::Unix, KeyType::SYSTEM_V),
        (Platform::Apple { sandboxed: false }, KeyType::SYSTEM_V),
        (Platform::Apple { sandboxed: true }, KeyType::Posix),
        (Platform::Qnx, KeyType::Posix),
        (Platform::Windows, KeyType::Windows),
        (Platform::Other, KeyType::SYSTEM_V),
    ] {
        assert_eq!(platform.best_type(), best, "{platform:?}");
        assert_eq!(platform.has_type(best), platform != Platform::Other, "{platform:?}");
    }
    assert_eq!(NativeIpcKey::best_type(), Platform::current().best_type());
    if cfg!(target_os = "linux") {
        assert_eq!(Platform::current(), Platform::Linux);
        // refused, so that nothing is made, but with the key that the name became
        let error = SystemSemaphore::open("Local\\a\0b", 1).expect_err("a NUL is in it");
        assert_eq!(error.kind(), ErrorKind::KeyError);
        assert_eq!(error.key(), r"robust:a%00b?legacyKey=Local\a%00b");
        for empty in ["", r"Local\"] {
            let error = SystemSemaphore::open(empty, 1).expect_err("nothing is named");
            assert_eq!((error.kind(), error.key()), (ErrorKind::KeyError, empty));
            assert!(error.to_string().contains("the key is empty"), "{error}");
        }
    }
}

/// A few rows against real directories; `$ENVDIR` is a scratch directory here as it was for Qt.
#[cfg(unix)]
#[test]
fn real_directories_are_read_and_created_as_qt_does() {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = |name: &str| scratch.path().join(name).to_str().expect("it is UTF-8").to_owned();
    let make = |name: &str, mode: u32| {
        fs::create_dir(path(name)).expect("a directory can be made");
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    make("run700", 0o700);
    make("run755", 0o755);
    symlink(path("run700"), path("link700")).expect("a link can be made");
    fs::write(path("afile"), "").expect("a file can be written");
    make("temp", 0o755);

    let runtime_location = |name: &str| {
        let mut environment = Environment::current();
        environment.temp_dir = Some(path("temp"));
        environment.runtime_dir = Some(path(name));
        environment.runtime_location()
    };
    let user = (Environment::current().user_name)();
    let fallback = format!("{}/runtime-{user}", path("temp"));
    for (name, expected) in [
        ("run700", path("run700")),
        ("run700/", format!("{}/", path("run700"))),
        ("created", path("created")),
        ("run755", fallback.clone()),
        ("link700", fallback.clone()),
        ("afile", fallback.clone()),
        ("missing/a/b", fallback.clone()),
    ] {
        assert_eq!(runtime_location(name), expected, "XDG_RUNTIME_DIR={name}");
    }
    for made in [path("created"), fallback] {
        let mode = fs::metadata(&made).expect("it was made").mode() & 0o7777;
        assert_eq!(mode, 0o700, "{made}");
    }
    assert!(!fs::exists(path("missing")).expect("its parent is there"));
}
