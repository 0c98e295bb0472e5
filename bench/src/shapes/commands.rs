//! The command line, beside `flock` and GNU `sem`.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use system_semaphore::SystemSemaphore;

use super::{Series, Shape, Subject, Value, once, settle};
use crate::{Result, process, usage};

/// So many are started at a time.
const BURST: usize = 10;

const PLAIN: &str = "true alone";
const FLOCK: &str = "flock";
const FLOCK_NO_FORK: &str = "flock --no-fork";
const GNU_SEM: &str = "GNU sem";
pub(crate) const RUN: &str = "syssem run";
const RUN_FORK: &str = "syssem run --fork";

pub(crate) const START: Shape = Shape {
    name: "start",
    about: "Running `true` under a lock that nobody else wants, from the start of the command to its end.",
    series: &[Series::new("start", "A command under a lock", "us").beside(FLOCK)],
    two_cores: false,
    contestants: || vec![PLAIN, FLOCK, FLOCK_NO_FORK, GNU_SEM, RUN, RUN_FORK],
    points: once,
    sample: start,
};

pub(crate) const HERD: Shape = Shape {
    name: "herd",
    about: "So many commands (`true`) wait for one lock, and then run one after the other: CPU time of all processes together, from when the lock \
            becomes free until all are done. GNU `sem` looks again and again; it is measured with 10 only.",
    series: &[Series::new("herd", "CPU time a job, of all processes together", "us")
        .over("jobs waiting")
        .beside(FLOCK)],
    two_cores: false,
    contestants: || vec![FLOCK, GNU_SEM, RUN],
    points: |settings| settings.pick(vec![10, 40], vec![10, 1000]),
    sample: herd,
};

/// A command under the subject's lock.
fn locked(subject: &Subject<'_>, words: &[&str]) -> Command {
    let file = std::env::temp_dir().join(&subject.key);
    let file = file.to_str().expect("it is text");
    let syssem = std::env::current_exe().expect("it is known").with_file_name("syssem");
    let syssem = syssem.to_str().expect("it is text");
    let before: &[&str] = match subject.name {
        PLAIN => &[],
        FLOCK => &["flock", file],
        FLOCK_NO_FORK => &["flock", "--no-fork", file],
        GNU_SEM => &["sem", "--fg", "--ungroup", "--quote", "-j1", "--id", &subject.key],
        RUN => &[syssem, "run", &subject.key, "--"],
        RUN_FORK => &[syssem, "run", "--fork", &subject.key, "--"],
        _ => unreachable!("it is one of them"),
    };
    let mut words = before.iter().chain(words);
    let mut command = Command::new(words.next().expect("a command"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Takes away what the commands leave for the next ones.
fn clean_up(subject: &Subject<'_>) {
    // each of them leaves one of the two, or none
    let _ = std::fs::remove_file(std::env::temp_dir().join(&subject.key));
    let _ = SystemSemaphore::remove(&subject.key);
}

fn start(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let times = if subject.name == GNU_SEM { 1 } else { subject.settings.pick(1, 20) };
    let mut values = Vec::new();
    for _ in 0..times {
        let begin = Instant::now();
        let status = locked(subject, &["true"]).status()?;
        values.push(("start", begin.elapsed().as_secs_f64() * 1e6));
        if !status.success() {
            return Err(format!("{status}").into());
        }
    }
    clean_up(subject);
    Ok(values)
}

fn herd(subject: &Subject<'_>) -> Result<Vec<Value>> {
    if subject.name == GNU_SEM && subject.x > 10 {
        return Ok(Vec::new());
    }
    // A job of GNU sem fails now and then: who waits may get the lock of a file that has just been replaced, and then two clean up at once
    // (parallel 20221122).
    let mut attempts = if subject.name == GNU_SEM { 5 } else { 1 };
    loop {
        match one_herd(subject)? {
            Ok(taken) => return Ok(vec![("herd", taken.as_secs_f64() * 1e6 / subject.x as f64)]),
            Err(_) if attempts > 1 => attempts -= 1,
            Err(status) => return Err(format!("a job failed: {status}").into()),
        }
    }
}

/// The CPU time of a herd, or how a job failed.
fn one_herd(subject: &Subject<'_>) -> Result<std::result::Result<Duration, ExitStatus>> {
    let mut holder = holder(subject)?;
    let mut jobs = Vec::new();
    // what it takes to start all at once is another matter
    while jobs.len() < subject.x as usize {
        jobs.push(locked(subject, &["true"]).spawn()?);
        if jobs.len().is_multiple_of(BURST) {
            jobs.iter().rev().take(BURST).try_for_each(|job| process::wait_until_asleep(job.id()))?;
        }
    }
    settle();
    let before = used(&holder, &jobs)?;
    drop(holder.stdin.take());
    // all of them, so that none disturbs what comes after
    let statuses: Vec<ExitStatus> =
        jobs.iter_mut().chain([&mut holder]).map(Child::wait).collect::<std::io::Result<_>>()?;
    let taken = usage::of_children() - before;
    clean_up(subject);
    let failed = statuses.into_iter().find(|status| !status.success());
    Ok(failed.map_or(Ok(taken), Err))
}

/// A process that has the lock until its standard input ends.
fn holder(subject: &Subject<'_>) -> Result<Child> {
    let mut command = locked(subject, &["sh", "-c", "echo; read line || true"]);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    holder.stdout.as_mut().expect("it is piped").read_exact(&mut [0])?;
    Ok(holder)
}

/// The CPU time of all children so far, those that live included.
fn used(holder: &Child, jobs: &[Child]) -> Result<Duration> {
    let living: Result<u64> = jobs.iter().chain([holder]).map(|child| process::cpu_time(child.id())).sum();
    Ok(usage::of_children() + Duration::from_nanos(living?))
}
