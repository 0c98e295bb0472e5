//! What every type of semaphore must do, written once and run for each.
//!
//! A case is a function that takes a [`TestedType`]: a type of semaphore and a private place for names. Where a type
//! cannot do something, the case checks that it says so. Other processes are this program again, as puppets.

#![cfg_attr(windows, allow(dead_code, unused_imports, reason = "what some of Unix's cases need"))]

mod acquiring;
mod deaths;
mod keys;
mod lifetime;
#[cfg(unix)]
mod observing;
mod owning;
#[cfg(unix)]
mod posix;
#[cfg(unix)]
mod robust;
mod several_processes;
#[cfg(unix)]
mod system_v;
mod tested_type;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use std::collections::BTreeSet;
#[cfg(unix)]
use std::thread;
#[cfg(unix)]
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use system_semaphore::KeyType;
use tested_type::TestedType;

/// The types of semaphore that a case is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Types {
    EveryType,
    /// Every type of Unix's. The case is about forks, signals, counts that are set or full, semaphores that stay, or observers.
    Unix,
    SystemV,
    Posix,
    Robust,
    #[cfg(windows)]
    Windows,
}

/// A case, [registered](case) where its function is.
struct Case {
    types: Types,
    /// The path of the function.
    name: &'static str,
    run: fn(&TestedType),
}

inventory::collect!(Case);

/// Registers the case that follows. (A function that is not registered is dead code.)
macro_rules! case {
    (@ $types:ident, $name:ident) => {
        inventory::submit! {
            crate::Case {
                types: crate::Types::$types,
                name: concat!(module_path!(), "::", stringify!($name)),
                run: $name,
            }
        }
    };
    (Unix, $name:ident) => {
        #[cfg(unix)]
        case!(@ Unix, $name);
    };
    ($types:ident, $name:ident) => {
        case!(@ $types, $name);
    };
}
use case;

/// Each type of semaphore, and which cases are for it.
#[cfg(unix)]
fn suites() -> Vec<(KeyType, &'static str, Vec<Types>)> {
    use Types::{EveryType, Posix, Robust, SystemV, Unix};
    vec![
        (KeyType::Robust, "robust", vec![Robust, EveryType, Unix]),
        (tested_type::system_v(), "system_v", vec![EveryType, Unix, SystemV]),
        (KeyType::Posix, "posix", vec![EveryType, Unix, Posix]),
    ]
}

#[cfg(windows)]
fn suites() -> Vec<(KeyType, &'static str, Vec<Types>)> {
    vec![(KeyType::Windows, "windows", vec![Types::EveryType, Types::Windows])]
}

/// The cases that the second implementation of the platform is not run with, because they are about
/// what only Linux's has.
#[cfg(portable_platform)]
const NOT_PORTABLE: &[&str] = &[
    // A waiter without notices of deaths polls ten times a second.
    "robust::deaths::waiters_sleep",
    // The case is about the thread that receives notices of deaths, and its wake-ups.
    "robust::deaths::scan_wakes_one_process_at_most",
    "robust::limits::watcher_thread_exists_only_during_long_waits",
];

fn cases() -> Vec<&'static Case> {
    let mut cases: Vec<&Case> = inventory::iter::<Case>().collect();
    #[cfg(portable_platform)]
    for name in NOT_PORTABLE {
        let count = cases.len();
        cases.retain(|case| case.name.split_once("::").is_none_or(|(_, case)| case != *name));
        assert_eq!(cases.len() + 1, count, "there is no case {name}");
    }
    // the slowest first
    cases.sort_by_key(|case| (!case.name.contains("::stress::"), case.name));
    cases
}

fn main() {
    test_support::serve();
    let arguments = Arguments::from_args();
    #[cfg(unix)]
    let before = (tested_type::sets_of_this_run(), tested_type::kernel_semaphores());
    let cases = cases();
    let mut trials = Vec::new();
    for (key_type, label, types) in suites() {
        for &case in cases.iter().filter(|case| types.contains(&case.types)) {
            let (_, name) = case.name.split_once("::").expect("it begins with the crate");
            trials.push(Trial::test(format!("{label}::{name}"), move || {
                TestedType::check(key_type, name, case.run);
                Ok(())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    #[cfg(unix)]
    assert_nothing_is_left(&before);
    conclusion.exit()
}

#[cfg(unix)]
fn assert_nothing_is_left((sets, semaphores): &(BTreeSet<String>, BTreeSet<String>)) {
    let left: Vec<String> = tested_type::sets_of_this_run().difference(sets).cloned().collect();
    if !left.is_empty() {
        eprintln!("left behind by this run, see `ipcs -s`: {left:?}");
        std::process::exit(101);
    }
    let mut left: Vec<String> = tested_type::kernel_semaphores().difference(semaphores).cloned().collect();
    // those of another run go, and new ones of its do not count
    let end = Instant::now() + test_support::TEST_TIMEOUT;
    while !left.is_empty() && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
        let now = tested_type::kernel_semaphores();
        left.retain(|name| now.contains(name));
    }
    if !left.is_empty() {
        eprintln!("left behind in /dev/shm by this run: {left:?}");
        std::process::exit(101);
    }
    let left = tested_type::files_of_this_run();
    if !left.is_empty() {
        eprintln!("left behind by this run: {left:?}");
        std::process::exit(101);
    }
}
