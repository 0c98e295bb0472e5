//! Many semaphores, and many processes.

use std::thread;
use std::time::{Duration, Instant};

use super::several::now;
use super::{Series, Shape, Subject, Value, settle, those};
use crate::contestant::{Language, ROBUST, SEM_T, SEMOP_UNDO};
use crate::process::{self, Worker};
use crate::settings::Settings;
use crate::{Result, machine};

/// So many are needed to see the bytes of one.
const ENOUGH_FOR_BYTES: u64 = 1000;

pub(crate) const OPEN: Shape = Shape {
    name: "many-open",
    about: "One process has so many semaphores open: a pair on one after the other; opening and closing another that a second process has open; what \
            each takes of memory (files in memory, the kernel's and the process's own).",
    series: &[
        Series::new("many-pair", "A pair, round robin", "ns").over("semaphores open"),
        Series::new("many-open-close", "Open and close one more", "us").over("semaphores open"),
        Series::new("bytes", "Memory a semaphore", "bytes").over("semaphores open"),
    ],
    two_cores: false,
    contestants: || those(|contestant| contestant.language != Language::Python && !contestant.has_threads()),
    points: |settings| settings.pick(vec![1, 1000], vec![1, 100, 1000, 10_000]),
    sample: many_open,
};

pub(crate) const ATTACHED: Shape = Shape {
    name: "many-attached",
    about: "So many processes hold a permit of one semaphore: a pair by another, which nobody disturbs; opening and closing by yet another; \
            and one of them gets SIGKILL while another waits: \
            until that one has the permit.",
    series: &[
        Series::new("attached-pair", "A pair among other holders", "ns").over("holders"),
        Series::new("attached-open-close", "Open and close among other holders", "us").over("holders"),
        Series::new("attached-death", "SIGKILL of one of the holders to the waiter's permit", "us")
            .over("holders")
            .beside(SEMOP_UNDO),
    ],
    two_cores: false,
    contestants: native,
    points: up_to_a_thousand,
    sample: attached,
};

pub(crate) const WAITING: Shape = Shape {
    name: "many-waiting",
    about: "So many processes wait for one permit, whose holder gets SIGKILL: until one of them has it.",
    series: &[Series::new("waiting-death", "SIGKILL of the holder to a waiter's permit", "us")
        .over("waiters")
        .beside(SEMOP_UNDO)],
    two_cores: false,
    contestants: || those(|contestant| contestant.is_one_of(&[ROBUST, SEMOP_UNDO])),
    points: up_to_a_thousand,
    sample: waiting,
};

pub(crate) const IDLE: Shape = Shape {
    name: "idle",
    about: "A hundred processes wait for a permit that nobody gives: their CPU time together.",
    series: &[Series::new("idle", "CPU time of 100 idle waiters", "% of a processor").beside("")],
    two_cores: false,
    contestants: native,
    points: |_| vec![0],
    sample: idle,
};

fn native() -> Vec<&'static str> {
    those(|contestant| contestant.is_one_of(&[SEM_T, ROBUST, SEMOP_UNDO]))
}

fn up_to_a_thousand(settings: &Settings) -> Vec<u64> {
    settings.pick(vec![1, 20], vec![1, 10, 100, 1000])
}

fn many_open(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let Subject { key, x, .. } = subject;
    let milliseconds = subject.milliseconds();
    let mut maker = subject.worker(0)?;
    maker.ask(&format!("make {key}-other 1 1"))?;
    let mut worker = subject.worker(1)?;
    let before = machine::memory_in_use()?;
    worker.ask(&format!("make {key} {x} 1"))?;
    let bytes = (machine::memory_in_use()? - before) as f64 / *x as f64;
    let pair = worker.ask_number(&format!("pairs {milliseconds}"))?;
    let open_close = worker.ask_number(&format!("open-close {key}-other {milliseconds}"))?;
    let mut values = vec![("many-pair", pair), ("many-open-close", open_close / 1e3)];
    if *x >= ENOUGH_FOR_BYTES {
        values.push(("bytes", bytes));
    }
    Ok(values)
}

fn attached(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let mut maker = subject.worker(1)?;
    maker.ask(&format!("make {} 1 {}", subject.key, subject.x + 1))?;
    let mut holders = crowd(subject)?;
    for holder in &mut holders {
        holder.ask("hold")?;
    }
    let mut values = vec![("attached-pair", maker.ask_number(&format!("pairs {}", subject.milliseconds()))?)];
    let command = format!("open-close {} {}", subject.key, subject.milliseconds());
    values.push(("attached-open-close", subject.worker(0)?.ask_number(&command)? / 1e3));
    if subject.contestant().returns_on_death() {
        maker.ask("hold")?;
        values.push(("attached-death", one_death(subject, &mut holders)?));
        maker.ask("unhold")?;
    }
    process::end(holders);
    Ok(values)
}

/// Kills one of the holders while another process waits.
fn one_death(subject: &Subject<'_>, holders: &mut [Worker]) -> Result<f64> {
    let mut waiter = subject.worker(0)?;
    waiter.ask(&format!("open {}", subject.key))?;
    waiter.tell_to_wait()?;
    waiter.wait_until_asleep()?;
    settle();
    let killed = now();
    holders[subject.x as usize / 2].kill()?;
    Ok((waiter.answer()?[0] - killed as f64) / 1e3)
}

fn waiting(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let (_maker, mut holder, mut waiters) = waiting_crowd(subject)?;
    settle();
    let killed = now();
    holder.kill()?;
    let first = process::ready(&waiters.iter().collect::<Vec<_>>())?;
    let first = *first.first().ok_or("nobody got the permit")?;
    let value = (waiters[first].answer()?[0] - killed as f64) / 1e3;
    end_waiting(&mut waiters)?;
    Ok(vec![("waiting-death", value)])
}

fn idle(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let subject = &Subject { x: subject.settings.pick(10, 100), key: subject.key.clone(), ..*subject };
    let (_maker, holder, mut waiters) = waiting_crowd(subject)?;
    settle();
    let begin = (Instant::now(), cpu_time(&waiters)?);
    // the time in which they are watched
    thread::sleep(Duration::from_millis(subject.settings.pick(100, 2000)));
    let taken = (begin.0.elapsed(), cpu_time(&waiters)? - begin.1);
    end_waiting(&mut waiters)?;
    drop(holder);
    let percent = taken.1 as f64 / taken.0.as_nanos() as f64 * 100.0;
    Ok(vec![("idle", percent * 100.0 / subject.x as f64)])
}

fn cpu_time(workers: &[Worker]) -> Result<u64> {
    workers.iter().map(|worker| process::cpu_time(worker.pid())).sum()
}

/// So many processes that have the semaphore open, on both processors.
fn crowd(subject: &Subject<'_>) -> Result<Vec<Worker>> {
    let mut workers: Vec<Worker> =
        (0..subject.x).map(|number| subject.worker(number as usize % 2)).collect::<Result<_>>()?;
    for worker in &mut workers {
        worker.ask(&format!("open {}", subject.key))?;
    }
    Ok(workers)
}

/// A maker, a holder of the only permit, and so many that wait for it.
fn waiting_crowd(subject: &Subject<'_>) -> Result<(Worker, Worker, Vec<Worker>)> {
    let mut maker = subject.worker(1)?;
    maker.ask(&format!("make {} 1 1", subject.key))?;
    let mut holder = subject.worker(1)?;
    holder.ask(&format!("open {}", subject.key))?;
    holder.ask("hold")?;
    let mut waiters = crowd(subject)?;
    for waiter in &mut waiters {
        waiter.tell_to_wait()?;
    }
    for waiter in &waiters {
        waiter.wait_until_asleep()?;
    }
    Ok((maker, holder, waiters))
}

/// They wait for ever, and cannot be told to end.
fn end_waiting(waiters: &mut [Worker]) -> Result<()> {
    waiters.iter_mut().try_for_each(Worker::kill)
}
