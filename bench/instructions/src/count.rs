//! Counting by callgrind.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use crate::{PYTHON, Result};

/// How often a path is gone in the two runs. The first is long enough for what happens only at the beginning.
const TIMES: [u64; 2] = [1_000, 11_000];

/// Where `run` has put the Python package.
const PACKAGE: &str = "target/instructions/python";

/// How many instructions the path takes.
pub(crate) fn count(name: &str) -> Result<u64> {
    let [few, many] = TIMES;
    let difference = run(name, many)?.saturating_sub(run(name, few)?);
    Ok((difference as f64 / (many - few) as f64).round() as u64)
}

/// All instructions of a process that goes the path so many times; of Python, those within our library, since the
/// interpreter's are not ours, and others in each version.
fn run(name: &str, times: u64) -> Result<u64> {
    let directory = tempfile::tempdir()?;
    let profile = directory.path().join("profile");
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", profile.display()));
    if name == PYTHON {
        command.arg(python()?).args(["-B", "bench/instructions/pair.py", PACKAGE]).env("PYTHONHASHSEED", "0");
    } else {
        command.arg(env::current_exe()?).args(["--go", name]);
    }
    // where Qt's keys have their files
    command.env("XDG_RUNTIME_DIR", directory.path().join("runtime"));
    let output = command.arg(times.to_string()).output()?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} under valgrind: {}\n{messages}", output.status).into());
    }
    within(&profile, (name == PYTHON).then_some("/_native."))
}

/// The interpreter itself: what `python3` finds may be a script that starts it.
fn python() -> Result<String> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The instructions in a profile, of objects with this in their paths.
///
/// A line is the cost of a source line, by its number and the instructions, or says where the following ones are. After
/// `calls=` stands what the call cost, which is counted where it was spent. An object's path stands where its number is met
/// for the first time.
fn within(profile: &Path, object: Option<&str>) -> Result<u64> {
    let text = fs::read_to_string(profile)?;
    let mut numbers = Vec::new();
    let (mut is_within, mut sum) = (object.is_none(), 0);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((key, value)) = line.split_once('=') {
            let (number, path) = value.split_once(' ').unwrap_or((value, ""));
            match key {
                "ob" | "cob" => {
                    if object.is_some_and(|object| path.contains(object)) {
                        numbers.push(number);
                    }
                    if key == "ob" {
                        is_within = object.is_none() || numbers.contains(&number);
                    }
                }
                "calls" => {
                    lines.next();
                }
                _ => {}
            }
        } else if is_within
            && line.starts_with(['+', '-', '*', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            && let Some((_, cost)) = line.split_once(' ')
        {
            sum += cost.parse::<u64>()?;
        }
    }
    if sum == 0 {
        return Err(format!("there is nothing of {} in the profile", object.unwrap_or("it")).into());
    }
    Ok(sum)
}
