//! Our semaphores and those of a real Qt (PySide6 6.12), in different processes, as one.
//!
//! Every row says what Qt does and what we do, and shows it. The rows make the table in `docs/qt.md`, which must
//! say the same.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use interop::TestDirectory;
use libtest_mimic::{Arguments, Trial};
use system_semaphore::{KeyType, NativeIpcKey};
use test_support::{Failure, Puppet, wait_until};

struct Row {
    name: &'static str,
    qt: &'static str,
    ours: &'static str,
    run: fn(&TestDirectory),
}

const ROWS: &[Row] = &[
    Row {
        name: "same_names",
        qt: "turns a name into a native key, and reads and writes keys as text",
        ours: "the same for random names and texts, asked live",
        run: random_names_and_texts_agree,
    },
    Row {
        name: "same_directories",
        qt: "puts key files into the temporary and the runtime directory, spelled and chosen by its own rules",
        ours: "into the same, for every spelling of `TMPDIR` and every state of `XDG_RUNTIME_DIR`",
        run: directories_are_the_same,
    },
    Row {
        name: "byte_order_mark",
        qt: "reading a key's text drops a U+FEFF in front of the legacy key, so that key does not survive its text",
        ours: "keeps it: any key survives its text",
        run: a_byte_order_mark_survives,
    },
    Row {
        name: "shared_counts",
        qt: "creates, acquires and releases",
        ours: "sees every step, in both directions, on both types, by legacy and native, ASCII and other names",
        run: counts_are_shared,
    },
    Row {
        name: "release_wakes_the_other_side",
        qt: "a blocked acquire ends when we release",
        ours: "a blocked acquire ends when Qt releases",
        run: a_release_wakes_the_other_side,
    },
    Row {
        name: "open_ignores_the_initial_value",
        qt: "Open of what is there leaves the count",
        ours: "the same",
        run: open_ignores_the_initial_value,
    },
    Row {
        name: "create_on_system_v",
        qt: "Create sets the count of what is there and wakes our waiters",
        ours: "Create sets the count and wakes Qt's waiters",
        run: create_resets_on_system_v,
    },
    Row {
        name: "create_on_posix",
        qt: "Create makes a new semaphore; users of the old one keep it",
        ours: "the same",
        run: create_replaces_on_posix,
    },
    Row {
        name: "qt_is_killed_holding",
        qt: "System V: the kernel gives its permits back; POSIX: they are lost",
        ours: "our waiter wakes on System V, and waits on on POSIX",
        run: qt_is_killed_while_it_holds,
    },
    Row {
        name: "we_are_killed_holding",
        qt: "its waiter wakes on System V, and waits on on POSIX",
        ours: "System V: our permits come back; POSIX: they are lost",
        run: we_are_killed_while_we_hold,
    },
    Row {
        name: "posts_of_a_process_that_exits",
        qt: "System V: what it released vanishes when it exits",
        ours: "what was created stays",
        run: posts_of_a_process_that_exits,
    },
    Row {
        name: "more_than_32767_items",
        qt: "System V: a consumer stops after 32,767 items, a producer after 32,768: out of resources",
        ours: "any number of items",
        run: more_than_32767_items,
    },
    Row {
        name: "large_releases",
        qt: "System V: release(65537) adds 1, release(32768) waits to take 32,768",
        ours: "more than 32,767 is OutOfResources, and nothing happens",
        run: large_releases,
    },
    Row {
        name: "qt_removes_it_under_us",
        qt: "its creator's destructor removes the semaphore, whoever uses it",
        ours: "System V: NotFound, \"was removed\", to waiters too; POSIX: we keep the old one",
        run: qt_removes_it_under_us,
    },
    Row {
        name: "we_remove_it_under_qt",
        qt: "System V: a waiter silently makes a new semaphore with its own initial value; POSIX: keeps the old one",
        ours: "our creator's last handle removes it, by Qt's rule",
        run: we_remove_it_under_qt,
    },
    Row {
        name: "shared_memory_lock",
        qt: "QSharedMemory::lock() takes the semaphore of the same key",
        ours: "that semaphore excludes it, and is excluded by it",
        run: shared_memory_lock,
    },
    Row {
        name: "files_of_others",
        qt: "System V: the destructor deletes the file named as key, whatever it is",
        ours: "a file that we did not make stays",
        run: files_of_others,
    },
    Row {
        name: "too_large_an_initial_value",
        qt: "System V: Create with 40,000 fails and removes the semaphore that was there",
        ours: "fails, and nothing happens to it",
        run: too_large_an_initial_value,
    },
    Row {
        name: "another_user",
        qt: "makes its semaphores for its user alone",
        ours: "PermissionDenied to another user",
        run: another_user,
    },
    Row { name: "nul_in_a_name", qt: "a NUL cuts the native name off", ours: "KeyError", run: nul_in_a_name },
    Row {
        name: "four_processes_at_once",
        qt: "takes turns with us: two processes of each side, 2,000 items through two semaphores",
        ours: "the same, and nothing is lost",
        run: both_sides_pass_items,
    },
];

const TYPES: [KeyType; 2] = [KeyType::SYSTEM_V, KeyType::Posix];

fn main() {
    test_support::serve();
    let mut trials: Vec<Trial> = ROWS
        .iter()
        .map(|row| {
            Trial::test(row.name, || {
                let directory = TestDirectory::new();
                (row.run)(&directory);
                let left = directory.left();
                assert!(left.is_empty(), "left behind: {left:?}");
                Ok(())
            })
        })
        .collect();
    trials.push(Trial::test("the_table_in_the_docs_is_this_one", || {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/qt.md");
        let docs = fs::read_to_string(path).expect("docs/qt.md can be read");
        assert!(docs.contains(&table()), "docs/qt.md should contain this table:\n{}", table());
        Ok(())
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn table() -> String {
    let rows = ROWS.iter().map(|row| format!("| `{}` | {} | {} |\n", row.name, row.qt, row.ours));
    format!("| row | Qt 6.12 | this library |\n|---|---|---|\n{}", rows.collect::<String>())
}

/// Opens `key` as handle `s`.
#[track_caller]
fn open(side: &mut Puppet, key: &NativeIpcKey, initial: u32, mode: &str) {
    side.must(&format!("open\ts\t{key}\t{initial}\t{mode}"));
}

/// The number of free permits, as our side sees it.
#[track_caller]
fn free(ours: &mut Puppet) -> u32 {
    ours.must("available\ts").parse().expect("a number")
}

fn number(failure: &Failure) -> u32 {
    failure.kind.parse().expect("Qt's errors are numbers")
}

fn random_names_and_texts_agree(directory: &TestDirectory) {
    const SPECIAL: &[&str] = &[
        "/",
        "//",
        "%",
        "%2F",
        "%00",
        "%E2%82%AC",
        "%E2%82",
        "%zz",
        "?",
        "#",
        "&",
        "=",
        ":",
        "@",
        "\\",
        "legacyKey=",
        "posix:",
        "systemv-84:",
        "systemv:",
        "Global\\",
        "é",
        "日本",
        "😀",
        " ",
        "..",
        "\u{7f}",
        "%EF%BF%BE",
        "%F4%8F%BF%BF",
        "%C0%80",
        "%ED%A0%80",
        "+",
        "-",
        "a",
        "Z",
        "0",
        "_",
        "\u{FFFE}x",
    ];
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = |prefix: &str| {
        let parts = (0..random.usize(0..9)).map(|_| random.choice(SPECIAL).expect("it is not empty"));
        format!("{prefix}{}", parts.copied().collect::<String>())
    };
    // what PySide swallows before Qt sees it
    let is_swallowed = |text: &str| text.starts_with(['\u{FEFF}', '\u{FFFE}']);
    let mut qt = directory.qt();
    let environment = directory.environment();
    for _ in 0..3_000 {
        let name = text("");
        if !is_swallowed(&name) {
            for key_type in TYPES {
                for (function, ours) in [
                    ("legacyNativeKey", environment.legacy_native_key(&name, key_type)),
                    ("platformSafeKey", environment.platform_safe_key(&name, key_type)),
                ] {
                    let command = format!("derive\t{function}\t{}\t{}", encode(&name), key_type.number());
                    assert_eq!(qt.must(&command), describe(&ours), "{function} {name:?} {key_type}");
                }
            }
        }
        for text in [text(""), text("posix:"), text("systemv:/x?legacyKey="), text("systemv-7:/")] {
            if !is_swallowed(&text) {
                let ours = text.parse().map_or("invalid".into(), |key| describe(&key));
                assert_eq!(qt.must(&format!("parse\t{}", encode(&text))), ours, "{text:?}");
            }
        }
    }
}

fn directories_are_the_same(directory: &TestDirectory) {
    const SPELLINGS: &[&str] = &[
        "",
        "/",
        "//",
        "///",
        "/..",
        "/../x",
        "/../../x/./y",
        "/a/../..",
        "..",
        "../x",
        "../../../../../../../x",
        ".",
        "./",
        "./x",
        "../",
        "x//y",
        "x/",
        "/a/b/../",
        "/a/b/..",
        "/a//b/../c//d",
        "//a",
        "/a/...",
        "/a/.../",
        "/.a",
        "/a/.",
        "/a/./",
        "a/../..",
        "/x//",
        "//x//",
        "//..",
        "/tmp/..//",
        "/a/b/../../..",
        "~/x",
        "/a/.b/..c/d..",
        "/a b",
        "/\u{e9}/../x",
        " /x",
    ];
    let path = |name: &str| directory.path(name).to_str().expect("it is UTF-8").to_owned();
    let here = directory.path("runtime");
    let ask = |temp_dir: &str, runtime_dir: &str, function: &str| {
        let mut qt = directory.qt_elsewhere(temp_dir, runtime_dir, &here);
        let mut environment = directory.environment();
        environment.temp_dir = Some(temp_dir.to_owned());
        environment.runtime_dir = Some(runtime_dir.to_owned());
        environment.current_dir = here.to_str().expect("it is UTF-8").to_owned();
        let theirs = qt.must(&format!("derive\t{function}\t{}\t{}", encode("k"), KeyType::SYSTEM_V.number()));
        let ours = match function {
            "legacyNativeKey" => environment.legacy_native_key("k", KeyType::SYSTEM_V),
            _ => environment.platform_safe_key("k", KeyType::SYSTEM_V),
        };
        assert_eq!(
            theirs,
            describe(&ours),
            "{function}, TMPDIR={temp_dir:?}, XDG_RUNTIME_DIR={runtime_dir:?}"
        );
    };
    for spelling in SPELLINGS {
        ask(spelling, &path("runtime"), "legacyNativeKey");
    }

    fs::create_dir(path("open")).expect("it is ours");
    fs::set_permissions(path("open"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(path("file"), "").expect("it is ours");
    symlink(path("runtime"), path("link")).expect("it is ours");
    fs::create_dir(path("temp")).expect("it is ours");
    for state in ["runtime", "runtime/", "runtime//", "open", "file", "link", "link/", "missing/x", "new"] {
        ask(&path("temp"), &path(state), "platformSafeKey");
    }
    for unusable in ["", ".", "relative"] {
        ask(&path("temp"), unusable, "platformSafeKey");
        ask(&path("missing"), unusable, "platformSafeKey");
    }
    for made in ["open", "new", "temp"] {
        fs::remove_dir_all(path(made)).expect("it was made here");
    }
    for made in ["file", "link"] {
        fs::remove_file(path(made)).expect("it was made here");
    }
}

/// A text that may contain anything, as the Qt puppet takes and gives it.
fn encode(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { BASE64.encode(text) }
}

fn describe(key: &NativeIpcKey) -> String {
    format!("{} {}", encode(key.native_key()), encode(&key.to_string()))
}

fn a_byte_order_mark_survives(directory: &TestDirectory) {
    let text = "systemv:/x?legacyKey=\u{FEFF}x";
    let qt = directory.qt().must(&format!("parse\t{}", encode(text)));
    assert_eq!(qt, format!("{} {}", encode("/x"), encode("systemv:/x?legacyKey=x")));
    let ours: NativeIpcKey = text.parse().expect("it is a key");
    assert_eq!((ours.legacy_key(), ours.to_string()), (Some("\u{FEFF}x"), text.to_owned()));
}

fn counts_are_shared(directory: &TestDirectory) {
    for key_type in TYPES {
        for name in ["ascii", "größe-日本語-😀"] {
            for key in [directory.legacy_key(name, key_type), directory.safe_key(name, key_type)] {
                for qt_creates in [true, false] {
                    let (mut qt, mut ours) = (directory.qt(), directory.ours());
                    if qt_creates {
                        open(&mut qt, &key, 3, "Create");
                        open(&mut ours, &key, 9, "Open");
                    } else {
                        open(&mut ours, &key, 3, "Create");
                        open(&mut qt, &key, 9, "Open");
                    }
                    assert_eq!(qt.must("native\ts"), key.to_string());
                    assert_eq!(free(&mut ours), 3, "{key}");
                    qt.must("acquire\ts");
                    assert_eq!(free(&mut ours), 2, "{key}");
                    ours.must("acquire\ts\t1");
                    qt.must("acquire\ts");
                    assert_eq!(free(&mut ours), 0, "{key}");
                    assert_eq!(ours.ask("try\ts\t1").expect_err("none is free").kind, "NoPermits");
                    ours.must("drop\ts");
                    qt.must("release\ts\t2");
                    assert_eq!(free(&mut ours), 3, "{key}");
                    ours.must("release\ts\t4");
                    assert_eq!(free(&mut ours), 7, "{key}");
                    // who made it removes it
                    for side in [&mut qt, &mut ours] {
                        side.must("close\ts");
                    }
                    let failure = ours.ask(&format!("open\ts\t{key}\t0\tOpenExisting"));
                    assert_eq!(failure.expect_err("it is removed").kind, "NotFound");
                }
            }
        }
    }
    // Qt's plain name is our legacy key of the legacy default type, without any native key being named
    let name = directory.name("plain");
    let (mut qt, mut ours) = (directory.qt(), directory.ours());
    qt.must(&format!("open\ts\tname={name}\t4\tCreate"));
    let key = directory.legacy_key("plain", NativeIpcKey::legacy_default_type());
    ours.must(&format!("open\ts\t{key}\t0\tOpen"));
    assert_eq!(free(&mut ours), 4);
    qt.must("close\ts");
}

fn a_release_wakes_the_other_side(directory: &TestDirectory) {
    for key_type in TYPES {
        let key = directory.legacy_key("s", key_type);
        let (mut qt, mut ours) = (directory.qt(), directory.ours());
        open(&mut qt, &key, 0, "Create");
        open(&mut ours, &key, 0, "Open");
        qt.block("acquire\ts");
        ours.must("add\ts\t1");
        qt.answer().expect("our permit is Qt's now");
        ours.block("acquire\ts\t1");
        qt.must("release\ts\t1");
        ours.answer().expect("Qt's permit is ours now");
        ours.must("drop\ts");
        assert_eq!(free(&mut ours), 1);
        qt.must("close\ts");
    }
}

fn open_ignores_the_initial_value(directory: &TestDirectory) {
    for key_type in TYPES {
        let key = directory.legacy_key("s", key_type);
        let (mut qt, mut ours, mut third) = (directory.qt(), directory.ours(), directory.qt());
        open(&mut qt, &key, 2, "Open");
        open(&mut ours, &key, 7, "Open");
        open(&mut third, &key, 8, "Open");
        assert_eq!(free(&mut ours), 2);
        qt.must("close\ts");
    }
}

fn create_resets_on_system_v(directory: &TestDirectory) {
    let key = directory.legacy_key("s", KeyType::SYSTEM_V);
    let (mut qt, mut ours) = (directory.qt(), directory.ours());
    open(&mut qt, &key, 0, "Create");
    open(&mut ours, &key, 0, "Open");
    ours.block("acquire\ts\t1");
    let mut other_qt = directory.qt();
    open(&mut other_qt, &key, 5, "Create");
    ours.answer().expect("Qt's Create brought five");
    assert_eq!(free(&mut ours), 4);

    ours.must("forget\ts");
    open(&mut ours, &key, 0, "Create");
    qt.block("acquire\ts");
    let mut other_ours = directory.ours();
    open(&mut other_ours, &key, 3, "Create");
    qt.answer().expect("our Create brought three");
    assert_eq!(free(&mut ours), 2);
    for side in [&mut qt, &mut other_qt, &mut ours, &mut other_ours] {
        side.must("close\ts");
    }
    directory.clean_up_after_qt(&key);
}

fn create_replaces_on_posix(directory: &TestDirectory) {
    let key = directory.legacy_key("s", KeyType::Posix);
    let (mut qt, mut ours) = (directory.qt(), directory.ours());
    open(&mut ours, &key, 1, "Create");
    open(&mut qt, &key, 5, "Create");
    assert_eq!(free(&mut ours), 1, "we keep the old one");
    let mut second = directory.ours();
    open(&mut second, &key, 0, "Open");
    assert_eq!(free(&mut second), 5);
    open(&mut second, &key, 7, "Create");
    qt.must("acquire\ts");
    assert_eq!(free(&mut second), 7, "Qt keeps its own");
    // ours is no longer the one of that name, so our end leaves the name alone (Qt's would not)
    ours.must("close\ts");
    let mut third = directory.qt();
    open(&mut third, &key, 0, "Open");
    third.must("acquire\ts");
    assert_eq!(free(&mut second), 6);
    second.must("close\ts");
    qt.must("close\ts");
}

fn qt_is_killed_while_it_holds(directory: &TestDirectory) {
    for key_type in TYPES {
        let key = directory.legacy_key("s", key_type);
        let (mut ours, mut qt) = (directory.ours(), directory.qt());
        open(&mut ours, &key, 2, "Create");
        open(&mut qt, &key, 0, "Open");
        qt.must("acquire\ts");
        qt.must("acquire\ts");
        let mut watcher = directory.ours();
        open(&mut watcher, &key, 0, "Open");
        ours.block("acquire\ts\t1");
        qt.kill();
        if key_type == KeyType::SYSTEM_V {
            ours.answer().expect("the kernel gave Qt's permits back");
            assert_eq!(free(&mut watcher), 1);
        } else {
            assert_eq!(free(&mut watcher), 0, "they are lost");
            watcher.must("add\ts\t1");
            ours.answer().expect("one was put in their directory");
        }
        ours.must("close\ts");
    }
}

fn we_are_killed_while_we_hold(directory: &TestDirectory) {
    for key_type in TYPES {
        let key = directory.legacy_key("s", key_type);
        let (mut ours, mut qt) = (directory.ours(), directory.qt());
        open(&mut qt, &key, 2, "Create");
        open(&mut ours, &key, 0, "Open");
        ours.must("acquire\ts\t1");
        ours.must("acquire\ts\t1");
        ours.must("hold\ts");
        let mut watcher = directory.ours();
        open(&mut watcher, &key, 0, "Open");
        qt.block("acquire\ts");
        ours.kill();
        if key_type == KeyType::SYSTEM_V {
            qt.answer().expect("the kernel gave our permits back");
            assert_eq!(free(&mut watcher), 1);
        } else {
            assert_eq!(free(&mut watcher), 0, "they are lost");
            watcher.must("add\ts\t1");
            qt.answer().expect("one was put in their directory");
        }
        qt.must("close\ts");
    }
}

fn posts_of_a_process_that_exits(directory: &TestDirectory) {
    for key_type in TYPES {
        let key = directory.legacy_key("s", key_type);
        let mut watcher = directory.ours();
        open(&mut watcher, &key, 0, "Create");
        let mut qt = directory.qt();
        open(&mut qt, &key, 0, "Open");
        qt.must("release\ts\t3");
        assert_eq!(free(&mut watcher), 3);
        qt.exit();
        let expected = if key_type == KeyType::SYSTEM_V { 0 } else { 3 };
        assert_eq!(free(&mut watcher), expected, "what Qt posted, on {key_type}");
        let mut ours = directory.ours();
        open(&mut ours, &key, 0, "Open");
        ours.must("release\ts\t3");
        ours.exit();
        assert_eq!(free(&mut watcher), expected + 3, "what we posted, on {key_type}");
        watcher.must("close\ts");
    }
}

fn more_than_32767_items(directory: &TestDirectory) {
    let key = directory.legacy_key("s", KeyType::SYSTEM_V);
    const OUT_OF_RESOURCES: u32 = 5;
    // Qt takes what we provide
    let (mut ours, mut qt) = (directory.ours(), directory.qt());
    open(&mut ours, &key, 0, "Create");
    open(&mut qt, &key, 0, "Open");
    ours.must("add\ts\t32767");
    assert_eq!(qt.must("acquires\ts\t32767"), "32767");
    ours.must("add\ts\t1");
    assert_eq!(qt.must("acquires\ts\t1"), format!("0 {OUT_OF_RESOURCES}"), "although one is free");
    assert_eq!(free(&mut ours), 1);
    // Qt provides, and we take
    let mut qt = directory.qt();
    open(&mut ours, &key, 0, "Create");
    open(&mut qt, &key, 0, "Open");
    assert_eq!(qt.must("releases\ts\t32767"), "32767");
    ours.must("consume\ts\t32767");
    assert_eq!(qt.must("releases\ts\t2"), format!("1 {OUT_OF_RESOURCES}"), "although the count is 0");
    ours.must("consume\ts\t1");
    // ours among themselves
    let mut other = directory.ours();
    open(&mut other, &key, 0, "Open");
    for _ in 0..4 {
        other.must("produce\ts\t30000");
        ours.must("consume\ts\t30000");
    }
    assert_eq!(free(&mut ours), 0);
    ours.must("close\ts");
}

fn large_releases(directory: &TestDirectory) {
    let key = directory.legacy_key("s", KeyType::SYSTEM_V);
    let (mut ours, mut qt) = (directory.ours(), directory.qt());
    open(&mut ours, &key, 5, "Create");
    open(&mut qt, &key, 0, "Open");
    qt.must("release\ts\t65537");
    assert_eq!(free(&mut ours), 6, "Qt adds what is left of the number in 16 bits");
    for count in [32_768, 65_535, 65_537] {
        let failure = ours.ask(&format!("release\ts\t{count}")).expect_err("it is too many");
        assert_eq!(failure.kind, "OutOfResources");
        assert_eq!(free(&mut ours), 6);
    }
    qt.block("release\ts\t32768");
    qt.kill();
    assert_eq!(free(&mut ours), 5, "the one that Qt added went with it");
    ours.must("close\ts");
}

fn qt_removes_it_under_us(directory: &TestDirectory) {
    for key_type in TYPES {
        let key = directory.legacy_key("s", key_type);
        let (mut qt, mut ours, mut waiter) = (directory.qt(), directory.ours(), directory.ours());
        open(&mut qt, &key, 1, "Create");
        open(&mut ours, &key, 0, "Open");
        open(&mut waiter, &key, 0, "Open");
        ours.must("acquire\ts\t1");
        waiter.block("acquire\ts\t1");
        qt.must("close\ts");
        if key_type == KeyType::SYSTEM_V {
            let told = waiter.answer().expect_err("it is removed");
            assert_eq!(told.kind, "NotFound");
            assert!(told.message.contains("was removed"), "{told:?}");
            assert_eq!(ours.ask("drop\ts").expect_err("it is removed").kind, "NotFound");
            assert_eq!(ours.ask("try\ts\t1").expect_err("it is removed").kind, "NotFound");
            // nothing of it comes back by our hand
            let gone = ours.ask(&format!("open\tt\t{key}\t0\tOpenExisting"));
            assert_eq!(gone.expect_err("it is removed").kind, "NotFound");
        } else {
            ours.must("drop\ts");
            waiter.answer().expect("those who have it keep it");
        }
    }
}

fn we_remove_it_under_qt(directory: &TestDirectory) {
    for key_type in TYPES {
        let key = directory.legacy_key("s", key_type);
        let (mut ours, mut qt, mut waiter) = (directory.ours(), directory.qt(), directory.qt());
        open(&mut ours, &key, 1, "Create");
        open(&mut qt, &key, 0, "Open");
        // with an initial value of 1, as a mutex is opened
        open(&mut waiter, &key, 1, "Open");
        qt.must("acquire\ts");
        waiter.block("acquire\ts");
        ours.must("close\ts");
        if key_type == KeyType::SYSTEM_V {
            waiter.answer().expect("it makes itself a new one: both are inside now");
            waiter.must("close\ts");
        } else {
            qt.must("release\ts\t1");
            waiter.answer().expect("those who have it keep it");
        }
        directory.clean_up_after_qt(&key);
    }
}

fn shared_memory_lock(directory: &TestDirectory) {
    for key_type in TYPES {
        for key in [directory.legacy_key("m", key_type), directory.safe_key("m", key_type)] {
            // the segment's name is another for legacy keys, but the semaphore's key is derived alike
            let memory_key = match key.legacy_key() {
                Some(name) => {
                    let mut environment = directory.environment();
                    environment.facility = system_semaphore::Facility::SharedMemory;
                    environment.legacy_native_key(name, key_type)
                }
                None => key.clone(),
            };
            let (mut qt, mut ours, mut watcher) = (directory.qt(), directory.ours(), directory.ours());
            qt.must(&format!("shm-open\tm\t{memory_key}"));
            qt.must("shm-lock\tm");
            open(&mut ours, &key, 1, "OpenExisting");
            open(&mut watcher, &key, 1, "OpenExisting");
            assert_eq!(free(&mut watcher), 0, "{key}");
            ours.block("acquire\ts\t1");
            qt.must("shm-unlock\tm");
            ours.answer().expect("Qt has left");
            qt.block("shm-lock\tm");
            ours.must("drop\ts");
            qt.answer().expect("we have left");
            qt.must("shm-unlock\tm");
            assert_eq!(free(&mut watcher), 1, "{key}");
            qt.must("close\tm");
            if key_type == KeyType::Posix {
                // Qt cannot tell who else has it, and leaves it
                fs::remove_file(format!("/dev/shm{}", memory_key.native_key())).expect("Qt has left it");
            }
        }
    }
}

fn files_of_others(directory: &TestDirectory) {
    let path = directory.path("precious");
    let key = NativeIpcKey::new(path.to_str().expect("it is UTF-8"), KeyType::SYSTEM_V);
    for (mut side, survives) in [(directory.ours(), true), (directory.qt(), false)] {
        fs::write(&path, "years of work").expect("it is ours");
        open(&mut side, &key, 1, "Open");
        side.must("close\ts");
        assert_eq!(path.exists(), survives);
    }
}

fn too_large_an_initial_value(directory: &TestDirectory) {
    let key = directory.legacy_key("s", KeyType::SYSTEM_V);
    let (mut victim, mut qt, mut ours) = (directory.ours(), directory.qt(), directory.ours());
    open(&mut victim, &key, 3, "Create");
    let create = format!("open\ts\t{key}\t40000\tCreate");
    assert_eq!(ours.ask(&create).expect_err("it is too large").kind, "OutOfResources");
    assert_eq!(free(&mut victim), 3);
    assert_eq!(number(&qt.ask(&create).expect_err("it is too large")), 5, "Qt's OutOfResources");
    wait_until("Qt's object is destroyed", || victim.ask("available\ts").is_err());
    victim.must("close\ts");
    directory.clean_up_after_qt(&key);
}

fn another_user(directory: &TestDirectory) {
    for key_type in TYPES {
        let key = directory.legacy_key("s", key_type);
        let mut qt = directory.qt();
        open(&mut qt, &key, 1, "Create");
        let mut stranger = directory.ours_as_another_user();
        for mode in ["Open", "OpenExisting"] {
            let failure = stranger.ask(&format!("open\ts\t{key}\t1\t{mode}")).expect_err("it is Qt's user's");
            assert_eq!(failure.kind, "PermissionDenied", "{failure:?}");
            assert!(failure.message.contains("another user"), "{failure:?}");
        }
        fs::remove_file(directory.strangers_program()).expect("it was put there");
        qt.must("close\ts");
    }
}

fn nul_in_a_name(directory: &TestDirectory) {
    let short = NativeIpcKey::new(format!("/interop-{}-nul", std::process::id()), KeyType::Posix);
    let with_nul = NativeIpcKey::new(format!("{}\0rest", short.native_key()), KeyType::Posix);
    let (mut qt, mut ours) = (directory.qt(), directory.ours());
    open(&mut qt, &with_nul, 6, "Create");
    open(&mut ours, &short, 0, "OpenExisting");
    assert_eq!(free(&mut ours), 6, "Qt has made the semaphore of the shorter name");
    let failure = ours.ask(&format!("open\tt\t{with_nul}\t0\tOpen")).expect_err("it cannot be meant");
    assert_eq!(failure.kind, "KeyError");
    qt.must("close\ts");
}

fn both_sides_pass_items(directory: &TestDirectory) {
    for key_type in TYPES {
        let (ping, pong) = (directory.legacy_key("ping", key_type), directory.legacy_key("pong", key_type));
        let mut maker = directory.ours();
        maker.must(&format!("open\tping\t{ping}\t3\tCreate"));
        maker.must(&format!("open\tpong\t{pong}\t0\tCreate"));
        let mut sides = [directory.ours(), directory.qt(), directory.ours(), directory.qt()];
        for (index, side) in sides.iter_mut().enumerate() {
            side.must(&format!("open\tping\t{ping}\t0\tOpen"));
            side.must(&format!("open\tpong\t{pong}\t0\tOpen"));
            let (from, to) = if index < 2 { ("ping", "pong") } else { ("pong", "ping") };
            side.send(&format!("pass\t{from}\t{to}\t2000"));
        }
        for side in &mut sides {
            side.answer().expect("all items pass");
        }
        let count = |maker: &mut Puppet, handle: &str| -> u32 {
            maker.must(&format!("available\t{handle}")).parse().expect("a number")
        };
        assert_eq!(count(&mut maker, "ping") + count(&mut maker, "pong"), 3);
        maker.must("close\tping");
        maker.must("close\tpong");
    }
}
