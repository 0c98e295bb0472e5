//! Who holds a permit is killed while another waits for it; and who waits for long.

use std::thread;
use std::time::Duration;

use super::several::now;
use super::{Series, Shape, Subject, Value, once, those};
use crate::Result;
use crate::contestant::{Language, SEMOP_UNDO};
use crate::process::Worker;

/// How many deaths there are with `--long`.
const MANY: usize = 1000;

/// How long the waiter has slept at most, in nanoseconds.
const LONGEST_SLEEP: u64 = 20_000_000;

pub(crate) const DEATH: Shape = Shape {
    name: "death",
    about: "The holder of the only permit gets SIGKILL when another process has slept in its wait for it for 0 to 20 ms: from just before \
            the kill until that one has the permit.",
    series: &[Series::new("death", "SIGKILL of the holder to the waiter's permit", "us")
        .beside(SEMOP_UNDO)
        .with_worst()],
    two_cores: false,
    contestants: || those(|contestant| contestant.returns_on_death() && !contestant.has_threads()),
    points: once,
    sample: deaths,
};

pub(crate) const LONG_WAIT: Shape = Shape {
    name: "long-wait",
    about: "CPU time of a process that waits a quarter of a second for a permit, from before the wait until it has it: for the first time, and \
            then again.",
    series: &[
        Series::new("long-wait", "CPU time of the first long wait", "us"),
        Series::new("long-wait-again", "CPU time of another long wait", "us"),
    ],
    two_cores: false,
    contestants: || those(|contestant| contestant.language != Language::Python && !contestant.has_threads()),
    points: once,
    sample: long_wait,
};

fn deaths(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let is_many = subject.settings.long && subject.contestant().language == Language::Rust;
    let count = if is_many { MANY.div_ceil(subject.settings.rounds) } else { 1 };
    let mut waiter = subject.worker(0)?;
    waiter.ask(&format!("make {} 1 1", subject.key))?;
    let mut values = Vec::new();
    for _ in 0..count {
        // not the same for all
        let slept = Duration::from_nanos(now() % LONGEST_SLEEP);
        values.push(("death", death(subject, &mut waiter, slept)?));
    }
    Ok(values)
}

fn death(subject: &Subject<'_>, waiter: &mut Worker, slept: Duration) -> Result<f64> {
    let mut holder = holder(subject, waiter)?;
    // that long it has waited is what is measured
    thread::sleep(slept);
    let killed = now();
    holder.kill()?;
    let has = waiter.answer()?[0];
    waiter.ask("unhold")?;
    Ok((has - killed as f64) / 1e3)
}

fn long_wait(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let mut waiter = subject.worker(0)?;
    waiter.ask(&format!("make {} 1 1", subject.key))?;
    let mut holder = holder(subject, &mut waiter)?;
    let first = end_of_long_wait(subject, &mut holder, &mut waiter)?;
    hold_against(&mut holder, &mut waiter)?;
    let other = end_of_long_wait(subject, &mut holder, &mut waiter)?;
    Ok(vec![("long-wait", first), ("long-wait-again", other)])
}

/// Lets it have the permit at last; the CPU time that its wait took.
fn end_of_long_wait(subject: &Subject<'_>, holder: &mut Worker, waiter: &mut Worker) -> Result<f64> {
    // the wait that is measured lasts so long
    thread::sleep(Duration::from_millis(subject.settings.pick(20, 250)));
    holder.ask("unhold")?;
    let cpu_time = waiter.answer()?[1];
    waiter.ask("unhold")?;
    Ok(cpu_time / 1e3)
}

/// A process that has the only permit, for which this one waits.
fn holder(subject: &Subject<'_>, waiter: &mut Worker) -> Result<Worker> {
    let mut holder = subject.worker(1)?;
    holder.ask(&format!("open {}", subject.key))?;
    hold_against(&mut holder, waiter)?;
    Ok(holder)
}

/// One has the permit, the other waits for it.
fn hold_against(holder: &mut Worker, waiter: &mut Worker) -> Result<()> {
    holder.ask("hold")?;
    waiter.tell_to_wait()?;
    waiter.wait_until_asleep()
}
