//! The example `ring_buffer`, run as a program, with workers killed at every point.
//!
//! `RING_RUNS` is the number of random runs (default 12). `cargo test --test ring_buffer` alone does not build the
//! example: build it before, or test the whole package.

#![cfg_attr(windows, allow(dead_code, unused_imports, reason = "nobody is killed there"))]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sha1::{Digest, Sha1};

const STEPS: [&str; 9] = [
    "before-journal",
    "after-journal",
    "after-forget",
    "middle-of-copy",
    "after-commit",
    "after-add",
    "after-clean",
    "repair-before-add",
    "repair-after-add",
];
/// From this many random runs on, each step must have been died at.
const RUNS_FOR_EVERY_STEP: u64 = 100;
const CHUNK: usize = 1024;

fn example() -> PathBuf {
    let test = env::current_exe().expect("the test has a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("it is in PROFILE/deps");
    let example = profile.join("examples").join(format!("ring_buffer{}", env::consts::EXE_SUFFIX));
    assert!(
        example.exists(),
        "{} is missing: `cargo test` builds it, `cargo test --test ring_buffer` does not; run `cargo build \
         --example ring_buffer` (with --release if the test has it)",
        example.display(),
    );
    example
}

/// Bytes that look random and are the same for the same seed.
fn data(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    bytes
}

fn checksum(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs the example with a directory for temporary files of its own, and sees that it is empty afterwards. Key
/// files of System V semaphores are in there, too; the example itself looks whether the semaphores are gone.
fn run(arguments: &[String]) -> Output {
    let temporary = tempfile::tempdir().expect("a directory for the run");
    let mut example = Command::new(example());
    example.args(arguments).envs(["TMPDIR", "TMP", "TEMP"].map(|variable| (variable, temporary.path())));
    let output = test_support::output(&mut example).expect("the example can be started");
    let left: Vec<_> = fs::read_dir(temporary.path())
        .expect("it can be listed")
        .map(|entry| entry.expect("it can be read").file_name())
        .collect();
    assert!(left.is_empty(), "ring_buffer {arguments:?} left {left:?} behind\n{}", text(&output));
    output
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}{err}", output.status)
}

/// Streams this, and returns what the example printed, if all went well.
fn stream(data: &[u8], options: &[String]) -> String {
    let directory = tempfile::tempdir().expect("a directory for the file");
    let file = directory.path().join("file");
    fs::write(&file, data).expect("the file can be written");
    let mut arguments = options.to_vec();
    arguments.push(file.to_str().expect("a temporary path is text").to_owned());
    let output = run(&arguments);
    let report = text(&output);
    assert!(output.status.success(), "ring_buffer {arguments:?}: {report}");
    let reported = report.lines().find_map(|line| line.strip_prefix("SHA-1 of the copy: "));
    assert_eq!(reported, Some(&*checksum(data)), "ring_buffer {arguments:?}: {report}");
    assert!(report.contains("\nThe semaphores are removed from the system."), "{report}");
    report
}

/// The steps at which workers were killed.
fn deaths(report: &str) -> impl Iterator<Item = &str> {
    let killed = report.lines().filter(|line| line.starts_with("Killed "));
    killed.filter_map(|line| line.split_once(" at step ")?.1.split(',').next())
}

fn options<const N: usize>(options: [&str; N]) -> Vec<String> {
    options.map(str::to_owned).to_vec()
}

#[cfg(unix)]
#[test]
fn half_way_a_consumer_is_killed_and_replaced() {
    let report = stream(&data(1, 100 * CHUNK), &options(["--chunk", "1024"]));
    assert_eq!(deaths(&report).collect::<Vec<_>>(), ["middle-of-copy"], "{report}");
    assert!(report.contains("consuming item 50"), "{report}");
    assert!(report.contains("Started consumer 3 "), "{report}");
    assert!(report.contains("put back: 0 of free, 1 of used."), "{report}");
}

#[test]
fn files_of_any_size_arrive() {
    for size in [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 300 * CHUNK + 7] {
        stream(&data(2, size), &options(["--chunk", "1024"]));
    }
}

#[test]
fn a_ring_of_one_slot_and_many_workers_does() {
    let many = ["--chunk", "100", "--slots", "1", "--producers", "5", "--consumers", "5", "--kills", "0"];
    stream(&data(3, 20_000), &options(many));
}

/// The options to stream 30 items through 4 slots, and to kill at these places in turn.
fn killing_at(places: impl IntoIterator<Item = String>) -> Vec<String> {
    let places = places.into_iter().flat_map(|place| ["--kill-at".to_owned(), place]);
    options(["--chunk", "1024", "--slots", "4"]).into_iter().chain(places).collect()
}

#[cfg(unix)]
#[test]
fn a_death_at_any_step_loses_nothing() {
    let data = data(4, 30 * CHUNK);
    for role in ["producer", "consumer"] {
        for step in &STEPS[..7] {
            // the first, one in the middle and the last
            let items = [0, 15, 29];
            let report = stream(&data, &killing_at(items.map(|item| format!("{role}:{step}:{item}"))));
            assert_eq!(deaths(&report).collect::<Vec<_>>(), [*step; 3], "{report}");
        }
    }
}

#[cfg(unix)]
#[test]
fn whoever_dies_repairing_is_repaired_too() {
    let data = data(5, 30 * CHUNK);
    for role in ["producer", "consumer"] {
        for step in ["after-forget", "middle-of-copy", "after-commit"] {
            let steps = [step, "repair-before-add", "repair-after-add"];
            let report = stream(&data, &killing_at(steps.map(|step| format!("{role}:{step}:29"))));
            assert_eq!(deaths(&report).collect::<Vec<_>>(), steps, "{report}");
        }
    }
}

/// One random run.
fn random_run(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let chunk = [1, 100, CHUNK, 4 * CHUNK][random.usize(..4)];
    let several_hundred = random.usize(200..600) * chunk + random.usize(..chunk);
    // mostly long ones, which have more to kill at
    let size =
        [0, 1, chunk, several_hundred, several_hundred, several_hundred, several_hundred, several_hundred]
            [random.usize(..8)];
    let slots = [1, 2, random.usize(3..64), 64][random.usize(..4)];
    let numbers = [
        ("--seed", seed),
        ("--kills", random.u64(1..=3)),
        ("--chunk", chunk as u64),
        ("--slots", slots as u64),
    ];
    let arguments: Vec<_> =
        numbers.iter().flat_map(|(option, number)| [(*option).to_owned(), number.to_string()]).collect();
    stream(&data(seed, size), &arguments)
}

#[cfg(unix)]
#[test]
fn random_deaths_lose_nothing() {
    let runs = env::var("RING_RUNS").map_or(12, |runs| runs.parse().expect("RING_RUNS is a number"));
    let next = AtomicU64::new(0);
    let died_at = Mutex::new(Vec::new());
    thread::scope(|scope| {
        // a repair spends most of its time waiting
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    let report = random_run(seed);
                    let mut died_at = died_at.lock().expect("no other run has failed");
                    died_at.extend(deaths(&report).map(str::to_owned));
                }
            });
        }
    });
    let died_at = died_at.into_inner().expect("no run has failed");
    let counts = STEPS.map(|step| (step, died_at.iter().filter(|death| *death == step).count()));
    println!("{runs} runs, killed at steps: {counts:?}");
    if runs >= RUNS_FOR_EVERY_STEP {
        assert!(counts.iter().all(|(_, count)| *count > 0), "not every step was died at: {counts:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_clear_error() {
    // Windows opens no directory as a file
    let no_file = if cfg!(windows) { "cannot read .: " } else { "not a regular file" };
    for (name, reason) in [("no/such/file", "cannot read no/such/file: "), (".", no_file)] {
        let output = run(&options([name]));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn an_error_on_the_way_leaves_nothing_behind() {
    // more shared memory than there can be
    let output = run(&options(["--chunk", "4294967295", "--slots", "32767", "Cargo.toml"]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(!output.stderr.is_empty());
}

/// A lost mutex would stop everybody.
#[cfg(windows)]
#[test]
fn nobody_is_killed_where_permits_would_be_lost() {
    let report = stream(&data(1, 100 * CHUNK), &options(["--chunk", "1024"]));
    assert!(report.contains("Nobody is to be killed: what the dead held would stay lost"), "{report}");
    for kills in [["--kills", "1"], ["--kill-at", "consumer:middle-of-copy:50"]] {
        let [option, value] = kills;
        let this = env::current_exe().expect("the test has a path");
        let output = run(&[option.to_owned(), value.to_owned(), this.to_str().expect("text").to_owned()]);
        assert!(!output.status.success() && text(&output).contains("leave out --kills"), "{}", text(&output));
    }
}
