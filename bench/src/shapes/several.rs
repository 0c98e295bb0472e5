//! Some processes that use one semaphore at the same time.

use rustix::time::{ClockId, clock_gettime};

use super::{Series, Shape, Subject, Value, once, those};
use crate::Result;
use crate::contestant::{Contestant, ROBUST, SEM_T, SEMOP_UNDO};
use crate::process::Worker;
use crate::settings::Settings;

/// From when they are told to start until they do.
const RUN_UP: u64 = 5_000_000;
const SECOND: u64 = 1_000_000_000;

pub(crate) const PING_PONG: Shape = Shape {
    name: "ping-pong",
    about: "Two processes on a processor each, two semaphores: each gives the other a permit and waits for its own.",
    series: &[Series::new("ping-pong", "There and back, a processor each", "us")],
    two_cores: true,
    contestants: || those(can_ping_pong),
    points: once,
    sample: |subject| ping_pong(subject, "ping-pong", 1),
};

pub(crate) const PING_PONG_ON_ONE: Shape = Shape {
    name: "ping-pong-on-one",
    about: "The same, both on one processor.",
    series: &[Series::new("ping-pong-on-one", "There and back, both on one processor", "us")],
    two_cores: false,
    contestants: || those(can_ping_pong),
    points: once,
    sample: |subject| ping_pong(subject, "ping-pong-on-one", 0),
};

pub(crate) const CONTENDED: Shape = Shape {
    name: "contended",
    about: "Four processes on two processors take and give back a permit as fast as they can, for a second (with two permits, a \
            quarter of one). What each of them has done makes the share of the slowest.",
    series: &[
        Series::new("contended", "Pairs a second, 4 processes", "million/s").over("permits"),
        Series::new("fairness", "Pairs of the slowest process, beside the fastest", "")
            .over("permits")
            .beside(""),
    ],
    two_cores: true,
    contestants: || those(|contestant| contestant.is_object() && !contestant.has_threads()),
    points: |_| vec![1, 2],
    sample: contended,
};

pub(crate) const LONGEST_WAIT: Shape = Shape {
    name: "longest-wait",
    about: "The same with one permit, each wait timed: the longest. (With `--long`, of a minute in all.)",
    series: &[
        Series::new("longest-wait", "The longest single wait, 4 processes, 1 permit", "ms").with_worst()
    ],
    two_cores: false,
    contestants: || those(|contestant| contestant.is_one_of(&[SEM_T, ROBUST, SEMOP_UNDO])),
    points: once,
    sample: longest_wait,
};

pub(crate) const RING: Shape = Shape {
    name: "ring",
    about: "A producer and a consumer, on a processor each, with a semaphore of 1024 free places and one of items. \
            Only the semaphores: there is no data.",
    series: &[Series::new("ring", "Items through a ring of 1024", "million/s")],
    two_cores: true,
    contestants: || those(can_ping_pong),
    points: once,
    sample: ring,
};

fn can_ping_pong(contestant: &Contestant) -> bool {
    contestant.counts() && !contestant.has_threads()
}

fn ping_pong(subject: &Subject<'_>, series: &'static str, other_core: usize) -> Result<Vec<Value>> {
    let times = subject.settings.pick(200, 2000);
    let mut one = subject.worker(0)?;
    one.ask(&format!("make {} 2 0", subject.key))?;
    let mut other = subject.worker(other_core)?;
    other.ask(&format!("open-many {} 2", subject.key))?;
    let mut value = 0.0;
    // the first time to warm up
    for times in [100, times] {
        other.tell(&format!("pong {times}"))?;
        value = one.ask_number(&format!("ping {times}"))?;
        other.answer()?;
    }
    Ok(vec![(series, value / 1e3)])
}

fn contended(subject: &Subject<'_>) -> Result<Vec<Value>> {
    if !subject.contestant().counts() && subject.x > 1 {
        return Ok(Vec::new());
    }
    let duration = subject.settings.pick(SECOND / 20, if subject.x == 1 { SECOND } else { SECOND / 4 });
    let pairs = all_at_once(subject, subject.x, "contend", duration)?;
    let (least, most) =
        (pairs.iter().copied().fold(f64::MAX, f64::min), pairs.iter().copied().fold(0.0, f64::max));
    let sum: f64 = pairs.iter().sum();
    Ok(vec![("contended", sum / (duration as f64 / 1e3)), ("fairness", least / most)])
}

fn longest_wait(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let duration = duration_of_waits(subject.settings);
    let waits = all_at_once(subject, 1, "contend-timed", duration)?;
    Ok(vec![("longest-wait", waits.iter().copied().fold(0.0, f64::max) / 1e6)])
}

fn duration_of_waits(settings: &Settings) -> u64 {
    if settings.long { 60 * SECOND / settings.rounds as u64 } else { settings.pick(SECOND / 20, SECOND) }
}

/// What each of four workers answers to the command.
fn all_at_once(subject: &Subject<'_>, permits: u64, command: &str, duration: u64) -> Result<Vec<f64>> {
    let mut workers: Vec<Worker> = (0..4).map(|number| subject.worker(number % 2)).collect::<Result<_>>()?;
    workers[0].ask(&format!("make {} 1 {permits}", subject.key))?;
    for worker in &mut workers[1..] {
        worker.ask(&format!("open {}", subject.key))?;
    }
    let start = now() + RUN_UP;
    for worker in &mut workers {
        worker.tell(&format!("{command} {start} {duration}"))?;
    }
    let mut answers = Vec::new();
    for worker in &mut workers {
        answers.extend(worker.answer()?);
    }
    Ok(answers)
}

fn ring(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let items = subject.settings.pick(5_000, 100_000).min(subject.contestant().most_items);
    let key = &subject.key;
    let mut producer = subject.worker(0)?;
    producer.ask(&format!("make {key} 1 1024"))?;
    producer.ask(&format!("make {key}-1 1 0"))?;
    let mut consumer = subject.worker(1)?;
    consumer.ask(&format!("open-many {key} 2"))?;
    let start = now() + RUN_UP;
    producer.tell(&format!("produce {start} {items}"))?;
    let end = consumer.ask_number(&format!("consume {start} {items}"))?;
    producer.answer()?;
    Ok(vec![("ring", items as f64 * 1e3 / (end - start as f64))])
}

/// As the workers see the time.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}
