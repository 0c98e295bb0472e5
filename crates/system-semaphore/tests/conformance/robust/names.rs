//! Names, and whose they are.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use system_semaphore::{AccessMode, ErrorKind, KeyType, NativeIpcKey, SystemSemaphore};
use test_support::Puppet;
use test_support::robust_file::{directory, directory_of, shared_memory};

use crate::case;
use crate::tested_type::{TestedType, assert_permits, exists, free};

fn robust(name: &str) -> NativeIpcKey {
    NativeIpcKey::new(name, KeyType::Robust)
}

case!(Robust, any_text_is_a_name_and_different_names_are_different_semaphores);

/// Each is a name of its own, though some look like paths, some like what a careless encoding would make of another, and
/// some are too long for a file's name.
fn any_text_is_a_name_and_different_names_are_different_semaphores(tested: &TestedType) {
    let unique = tested.key("s").native_key().to_owned();
    let long = |tail: &str| format!("{unique}{}{tail}", "x".repeat(1024 - unique.len() - tail.len()));
    let mut names = vec![unique.clone(), long("a"), long("b"), long("\u{e4}"), long("/")];
    for odd in [
        "/",
        "//",
        "/..",
        "/../x",
        "/.",
        "a/b",
        ".",
        "..",
        "%",
        "%2F",
        "%2f",
        "%25",
        "%%",
        "\\",
        "\\\\",
        "\\x",
        "\n",
        "\r\n",
        "\t",
        " ",
        "  ",
        "\u{7f}",
        "\u{1}",
        "\u{20ac}",
        "\u{1F600}",
        "e\u{301}",
        "\u{e9}",
        "~",
        "*",
        "?",
        "\"",
        "'",
        "$HOME",
        ";",
        "A",
        "a",
        ":",
        "=",
    ] {
        names.push(format!("{unique}{odd}"));
        names.push(format!("{odd}{unique}"));
    }
    names.push(format!("~{unique}"));
    names.push(format!("Global{unique}"));
    names.push(format!("global\\{unique}"));
    names.push(format!("Global/{unique}"));
    names.push(format!(r"Global\{unique}"));
    names.push(format!(r"Global\Global\{unique}"));
    names.push(format!(r"Global\/{unique}"));
    names.push(format!(r"Global\../{unique}"));
    names.push(format!(r"Global\{}", long("a")));
    names.push(format!(r"Local\Local\{unique}"));
    names.push(format!(r"Local\Global\{unique}"));
    names.push("x".repeat(300) + &unique);
    names.sort();
    names.dedup();

    let before = files();
    let semaphores: Vec<SystemSemaphore> = (1..)
        .zip(&names)
        .map(|(count, name)| {
            SystemSemaphore::new(robust(name), count, AccessMode::CreateNew)
                .unwrap_or_else(|error| panic!("{error}"))
        })
        .collect();
    for (count, (name, semaphore)) in (1..).zip(names.iter().zip(&semaphores)) {
        assert_permits(semaphore, count, 0);
        let again = SystemSemaphore::new(robust(name), 0, AccessMode::OpenExisting).expect("it is there");
        assert_eq!(free(&again), count, "{name:?}");
    }
    // another process means the same by them
    let mut puppet = Puppet::of_this_program();
    for (count, name) in (1..).zip(&names) {
        puppet.must(&format!("open\ts\t{}\t0\tOpenExisting", robust(name)));
        assert_eq!(puppet.must("available\ts"), format!("{count}"), "{name:?}");
        puppet.must("close\ts");
    }
    drop(semaphores);
    for name in &names {
        assert!(!exists(&robust(name)), "{name:?}");
    }
    let left: Vec<_> =
        files().into_iter().filter(|file| file.contains(&unique) && !before.contains(file)).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn files() -> Vec<String> {
    let mut files = Vec::new();
    for directory in [shared_memory().to_owned(), directory()] {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    files
}

case!(Robust, local_name_is_private_and_global_name_is_shared);

fn local_name_is_private_and_global_name_is_shared(tested: &TestedType) {
    let name = tested.key("s").native_key().to_owned();
    let (local, global) = (robust(&format!(r"Local\{name}")), robust(&format!(r"Global\{name}")));
    let own = tested.create("s", 1);
    let same = SystemSemaphore::new(&local, 9, AccessMode::OpenExisting).expect("it is the same");
    let permit = same.acquire().expect("one is free");
    assert_permits(&own, 0, 1);
    drop(permit);
    assert!(!exists(&global));
    let other = SystemSemaphore::new(&global, 7, AccessMode::CreateNew).expect("nobody has it");
    assert_eq!((free(&own), free(&other)), (1, 7));
    // by plain names as well
    let plain = SystemSemaphore::open(format!(r"Global\{name}"), 0).expect("it is there");
    assert_permits(&plain, 7, 0);
    let plain = SystemSemaphore::open(format!(r"Local\{name}"), 0).expect("it is there");
    assert_permits(&plain, 1, 0);
    drop((other, plain));
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}")).permissions().mode() & 0o7777
}

case!(Robust, file_has_requested_permissions);

fn file_has_requested_permissions(tested: &TestedType) {
    let key = tested.key("s");
    let global = robust(&format!(r"Global\{}", key.native_key()));
    let global_file = shared_memory().join(format!("system-semaphore.{}", key.native_key()));
    for (key, file) in [(&key, tested.file("s")), (&global, global_file)] {
        let open = SystemSemaphore::open(key, 1).expect("nobody has the name");
        assert_eq!(mode_of(&file), 0o600);
        drop(open);
        // those that the umask would take off are in it, too; to read without writing, or the other way round, is no use
        for (asked, given) in [(0o666, 0o666), (0o660, 0o660), (0o622, 0o600), (0o644, 0o600)] {
            let builder = SystemSemaphore::builder(key).permissions(asked);
            let open = builder.clone().build().expect("nobody has the name");
            assert_eq!(mode_of(&file), given);
            let same = builder.permissions(0o600).build().expect("it is there");
            assert_eq!(mode_of(&file), given, "they are those of its maker");
            drop((open, same));
        }
        assert!(!file.exists());
    }
    let open = tested.create("s", 1);
    assert_eq!(mode_of(&directory()), 0o700);
    drop(open);
}

case!(Robust, environment_and_umask_change_nothing);

/// Two processes meet wherever they were started from.
fn environment_and_umask_change_nothing(tested: &TestedType) {
    let (key, file) = (tested.key("s"), tested.file("s"));
    let program = std::env::current_exe().expect("the program knows itself");
    let mut strange = Puppet::program("sh");
    strange.args(["-c", "umask 777; exec \"$0\""]).arg(program).current_dir("/");
    for variable in ["TMPDIR", "HOME", "XDG_RUNTIME_DIR", "LANG", "USER"] {
        strange.env(variable, "/nowhere");
    }
    let mut stranger = Puppet::spawn(&mut strange);
    stranger.must(&format!("open\ts\t{key}\t4\tCreateNew"));
    assert_eq!(mode_of(&file), 0o600);
    let semaphore = SystemSemaphore::new(&key, 0, AccessMode::OpenExisting).expect("it is there");
    stranger.must("acquire\ts\t1");
    assert_permits(&semaphore, 3, 1);
    stranger.must("close\ts");
    stranger.must(&format!("open\tother\t{}\t1\tCreateNew", tested.key("other")));
    drop(semaphore);
    let other = SystemSemaphore::new(tested.key("other"), 0, AccessMode::OpenExisting).expect("it is there");
    stranger.exit();
    assert_permits(&other, 1, 0);
}

case!(Robust, other_user_shares_semaphore_that_is_global_and_allowed);

/// Only root can be several users, so this tests nothing for others, which CI must not be.
fn other_user_shares_semaphore_that_is_global_and_allowed(tested: &TestedType) {
    if fs::metadata("/proc/self").expect("it is mounted").uid() != 0 {
        assert!(std::env::var_os("CI").is_none(), "this needs several users: run it as root");
        return;
    }
    const USER: u32 = 54_321;
    let name = tested.key("s").native_key().to_owned();
    let (own, global) = (tested.create("s", 1), robust(&format!(r"Global\{name}")));
    let mut other = Puppet::of_this_program();
    other.must(&format!("become\t{USER}"));

    // the same plain name is another semaphore
    other.must(&format!("open\ts\t{}\t5\tCreateNew", tested.key("s")));
    other.must("acquire\ts\t1");
    assert_permits(&own, 1, 0);
    let directory = directory_of(USER);
    assert_eq!((mode_of(&directory), fs::metadata(&directory).expect("it is there").uid()), (0o700, USER));
    other.must("close\ts");
    assert!(!directory.join(&name).exists());

    // a global one that is not shared is refused by name
    let open = format!("open\tg\t{global}\t5\tOpen");
    let private = SystemSemaphore::new(&global, 3, AccessMode::CreateNew).expect("nobody has it");
    for mode in ["Open", "Create", "CreateNew", "OpenExisting"] {
        let failure = other.ask(&format!("open\tg\t{global}\t5\t{mode}")).expect_err("it is not allowed");
        assert_eq!(failure.kind, "PermissionDenied", "{failure:?}");
        assert!(failure.message.contains(&name) && failure.message.contains("user 0"), "{failure:?}");
    }
    assert_permits(&private, 3, 0);
    drop(private);

    // and one that is shared is the same
    let shared = SystemSemaphore::builder(&global).initial_value(3).permissions(0o666).build();
    let shared = shared.expect("nobody has it");
    other.must(&open);
    other.must("acquire\tg\t2");
    assert_permits(&shared, 1, 2);
    let holders = shared.holders().expect("they are told");
    assert_eq!(holders[0].pid, Some(other.pid()));
    let mut waiter = Puppet::of_this_program();
    waiter.must(&open);
    waiter.block("acquire\tg\t2");
    other.kill();
    waiter.answer().expect("they came back");
    assert_permits(&shared, 1, 2);
    drop(waiter);

    // whoever made it, who is last removes it, if the directory lets him: /dev/shm lets only its owner
    let mut other = Puppet::of_this_program();
    other.must(&format!("become\t{USER}"));
    other.must(&open);
    drop(shared);
    other.must("close\tg");
    let error = SystemSemaphore::new(&global, 0, AccessMode::OpenExisting).expect_err("nobody uses it");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    drop(own);
    let file = shared_memory().join(format!("system-semaphore.{name}"));
    assert!(!file.exists(), "the next one who may, removes it");
}
