//! Processes and threads that use semaphores at random and are killed at random moments: no permit is ever lost or
//! doubled, and everybody gets through.
//!
//! `cargo run --release -p chaos -- [--seed N] [--kills N | --seconds N] [--processes N] [--first-round N]`
//!
//! This program is the *driver* and starts itself as its *workers*. A round has one [`Scene`](scene::Scene), and ends with a quiet
//! point, when all workers are gone. The workers write on a [`SharedState`](shared_state::SharedState) what they do, so that the driver
//! knows at each quiet point how many permits there are to be ([`accounting`]), and what whom it kills was about.
//!
//! With a seed the plan is the same again: the scenes, the attacks, what each worker does. How all that falls together is not.

mod accounting;
mod engine_inspection;
mod processes;
mod round;
mod scene;
mod shared_state;
mod statistics;
mod unsafe_calls;
mod watch;
mod worker;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use lexopt::{Arg, ValueExt};
use system_semaphore::SystemSemaphore;
use test_support::robust_file::path_of;

use self::processes::Processes;
use self::round::Round;
use self::shared_state::SEMAPHORES;
use self::watch::{End, Outcome, wrong};
use self::worker::Inherited;

const USAGE: &str = "usage: chaos [--seed N] [--kills N | --seconds N] [--processes N] [--first-round N]";
/// If nothing is said.
const KILLS: u64 = 20_000;
const PROCESSES: usize = 8;
/// A queue needs somebody who holds and somebody who waits.
const FEWEST_PROCESSES: usize = 3;

struct Options {
    seed: u64,
    kills: Option<u64>,
    seconds: Option<u64>,
    processes: usize,
    first_round: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "play") {
        play(&arguments[1..]);
    }
    match options(arguments) {
        Ok(options) => run(&options),
        Err(error) => {
            eprintln!("chaos: {error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// A worker: the descriptor of the shared state, the seat, and perhaps a descriptor with permits, and how many.
fn play(arguments: &[OsString]) -> ! {
    let numbers: Vec<usize> =
        arguments.iter().filter_map(|argument| argument.to_str()?.parse().ok()).collect();
    let inherited = match numbers[2..] {
        [descriptor, count] => Some(Inherited { descriptor: descriptor as i32, count: count as u32 }),
        _ => None,
    };
    worker::play(numbers[0] as i32, numbers[1], inherited)
}

fn options(arguments: Vec<OsString>) -> Result<Options, lexopt::Error> {
    let mut options = Options {
        seed: fastrand::u64(..1 << 32),
        kills: None,
        seconds: None,
        processes: PROCESSES,
        first_round: 0,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("seed") => options.seed = parser.value()?.parse()?,
            Arg::Long("kills") => options.kills = Some(parser.value()?.parse()?),
            Arg::Long("seconds") => options.seconds = Some(parser.value()?.parse()?),
            Arg::Long("processes") => options.processes = parser.value()?.parse()?,
            Arg::Long("first-round") => options.first_round = parser.value()?.parse()?,
            argument => return Err(argument.unexpected()),
        }
    }
    if !(FEWEST_PROCESSES..=shared_state::WORKERS).contains(&options.processes) {
        return Err(format!("--processes is from {FEWEST_PROCESSES} to {}", shared_state::WORKERS).into());
    }
    Ok(options)
}

fn run(options: &Options) -> ExitCode {
    println!("seed {}", options.seed);
    let mut processes = match Processes::new() {
        Ok(processes) => processes,
        Err(error) => {
            eprintln!("chaos: cannot begin: {error}");
            return ExitCode::from(2);
        }
    };
    let begin = Instant::now();
    let outcome = rounds(options, &mut processes);
    processes.end_all();
    let left = clean_up(&processes);
    let outcome = outcome.and(left);
    print!("{}", processes.statistics);
    println!("{:.1?}", begin.elapsed());
    let passed = processes.statistics.quiet;
    match outcome {
        Ok(()) => {
            println!("{passed} passed, 0 failed");
            ExitCode::SUCCESS
        }
        Err(End::Interrupted) => {
            println!("interrupted");
            ExitCode::from(130)
        }
        Err(End::Wrong(what)) => {
            println!("FAILED: {what}\n{passed} passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn rounds(options: &Options, processes: &mut Processes) -> Outcome {
    let begin = Instant::now();
    let kills = if options.seconds.is_none() { options.kills.or(Some(KILLS)) } else { options.kills };
    let is_enough = |kills_now: u64| {
        kills.is_some_and(|kills| kills_now >= kills)
            || options.seconds.is_some_and(|seconds| begin.elapsed() >= Duration::from_secs(seconds))
    };
    let mut number = options.first_round;
    while !is_enough(processes.statistics.kills) {
        let mut round = Round::new(processes, options.seed, number, options.processes);
        if let Err(End::Wrong(what)) = round.play() {
            let (seed, scene) = (options.seed, round.describe());
            return wrong(format!(
                "{what}\nin round {number} (--seed {seed} --first-round {number}), {scene}"
            ));
        }
        processes.watch.check()?;
        number += 1;
    }
    Ok(())
}

/// Nothing of this run's names may be left.
fn clean_up(processes: &Processes) -> Outcome {
    for semaphore in 0..SEMAPHORES {
        // there is none unless the run ended early
        let _ = SystemSemaphore::remove(scene::key(processes.shared_state, semaphore));
        let path = path_of(&scene::name(std::process::id(), semaphore));
        if path.exists() {
            let _ = fs::remove_file(&path);
            return wrong(format!("{} was left", path.display()));
        }
    }
    Ok(())
}
