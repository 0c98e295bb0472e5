//! What it costs to start a command through `syssem run`, beside `flock`, and beside starting it as it is.
//!
//! `cargo bench -p syssem`. All in turns, in one run: only the ratio says something.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 1001;

fn main() {
    let key = format!("syssem-bench-{}", std::process::id());
    let file = std::env::temp_dir().join(&key);
    let command = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let path = file.to_str().expect("it is text");
    let syssem = env!("CARGO_BIN_EXE_syssem");
    let mut commands = [
        ("true", command("true", &[])),
        ("flock FILE true", command("flock", &[path, "true"])),
        ("flock --no-fork FILE true", command("flock", &["--no-fork", path, "true"])),
        ("syssem run KEY true", command(syssem, &["run", &key, "true"])),
        ("syssem run --fork KEY true", command(syssem, &["run", "--fork", &key, "true"])),
    ];
    let mut times = vec![Vec::with_capacity(ROUNDS); commands.len()];
    for _ in 0..ROUNDS {
        for ((name, command), times) in commands.iter_mut().zip(&mut times) {
            let begin = Instant::now();
            let status = command.status().unwrap_or_else(|error| panic!("{name}: {error}"));
            times.push(begin.elapsed());
            assert!(status.success(), "{name}: {status}");
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    println!("medians of {ROUNDS} rounds");
    for ((name, _), time) in commands.iter().zip(&medians) {
        let over = |time: Duration| time.saturating_sub(medians[0]).as_secs_f64();
        let ratio = over(*time) / over(medians[1]);
        println!("{name:28} {:6.0} us, {ratio:5.2} of flock's cost", time.as_secs_f64() * 1e6);
    }
    let _ = std::fs::remove_file(file);
    let _ = system_semaphore::SystemSemaphore::remove(&key);
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
