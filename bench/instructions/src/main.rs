//! Counts the instructions that an operation takes on the fast paths, and compares them with those on record
//! (`counts.txt`). `run` builds and starts it.
//!
//! Each path is gone by this program again, under valgrind's callgrind, twice: what more times take more is what they take.
//! Only instructions of the process count, not the kernel's. They are the same in each run, but others with another compiler,
//! and somewhat others with another C library or processor.

mod count;
mod paths;
mod record;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use count::count;
use paths::PATHS;
use record::{Record, rustc};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The path that is not this program's.
const PYTHON: &str = "python-robust-pair";

/// By how many percent a path may be worse, and is worth to be told if it is better.
const TOLERANCE: f64 = 5.0;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match *words {
        ["--go", name, times] => go(name, times).map(|()| true),
        ["--write"] => write().map(|()| true),
        ref names => compare(names),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    PATHS.iter().map(|(name, _)| *name).chain([PYTHON])
}

/// Goes a path, to be counted.
fn go(name: &str, times: &str) -> Result<()> {
    let (_, path) = PATHS.iter().find(|(other, _)| *other == name).ok_or("there is no such path")?;
    path(times.parse()?);
    Ok(())
}

fn write() -> Result<()> {
    let counts = names().map(|name| Ok((name.to_owned(), count(name)?))).collect::<Result<_>>()?;
    let record = Record { rustc: rustc()?, counts };
    record.write()?;
    print!("{record}");
    Ok(())
}

/// Tells whether no path is worse than on record.
fn compare(wanted: &[&str]) -> Result<bool> {
    if let Some(name) = wanted.iter().find(|wanted| !names().any(|name| name == **wanted)) {
        return Err(
            format!("there is no path {name}; there are {}", Vec::from_iter(names()).join(", ")).into()
        );
    }
    let record = Record::read()?;
    let (mut passed, mut failed) = (0, 0);
    for name in names().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        let now = count(name)?;
        let verdict = record.counts.get(name).map(|before| (*before, percent(now, *before)));
        match verdict {
            None => {
                failed += 1;
                println!("FAILED: {name}: {now} instructions, none on record");
            }
            Some((before, more)) if more > TOLERANCE => {
                failed += 1;
                println!("FAILED: {name}: {now} instructions, {before} on record: {more:+.1} %");
            }
            Some((before, more)) => {
                passed += 1;
                let better = if more < -TOLERANCE { ", to be put on record" } else { "" };
                println!("ok: {name}: {now} instructions, {before} on record: {more:+.1} %{better}");
            }
        }
    }
    if failed > 0 {
        println!("Find out what takes more. If it has to be, say why in the commit, and put it on record:");
        println!("bench/instructions/run --write");
    }
    let rustc = rustc()?;
    if rustc != record.rustc {
        println!("The record is of {}, and this is {rustc}: counts may differ for that alone.", record.rustc);
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

fn percent(now: u64, before: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}
