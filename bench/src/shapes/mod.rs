//! What is measured: each shape of use, for each contestant that it fits.

mod commands;
mod death;
mod many;
mod several;
mod single;

pub(crate) use commands::RUN;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contestant::{self, Contestant, SEM_T};
use crate::machine::{self, Distance};
use crate::samples::Run;
use crate::settings::Settings;
use crate::{Result, process};

/// How often a sample is taken again because the distance of the processors changed meanwhile.
const ATTEMPTS: u32 = 10;

/// A way in which semaphores are used.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// What is done, for the documents.
    pub(crate) about: &'static str,
    pub(crate) series: &'static [Series],
    /// Whether the distance between the two processors counts.
    two_cores: bool,
    pub(crate) contestants: fn() -> Vec<&'static str>,
    /// How many of what the shape is about.
    points: fn(&Settings) -> Vec<u64>,
    sample: fn(&Subject<'_>) -> Result<Vec<Value>>,
}

/// One figure of a shape.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// What the points are: "semaphores open". Empty where they are nothing.
    pub(crate) points: &'static str,
    /// What the others are compared with. Empty where that means nothing.
    pub(crate) reference: &'static str,
    /// Whether the largest value is of interest, too.
    pub(crate) worst: bool,
}

impl Series {
    const fn new(name: &'static str, title: &'static str, unit: &'static str) -> Self {
        Self { name, title, unit, points: "", reference: SEM_T, worst: false }
    }

    const fn over(self, points: &'static str) -> Self {
        Self { points, ..self }
    }

    const fn beside(self, reference: &'static str) -> Self {
        Self { reference, ..self }
    }

    const fn with_worst(self) -> Self {
        Self { worst: true, ..self }
    }
}

/// What a sample is taken of.
struct Subject<'a> {
    settings: &'a Settings,
    name: &'static str,
    x: u64,
    key: String,
}

impl Subject<'_> {
    fn contestant(&self) -> &'static Contestant {
        contestant::ALL.iter().find(|contestant| contestant.name == self.name).expect("it is one of them")
    }

    /// A worker of it on this processor.
    fn worker(&self, core: usize) -> Result<process::Worker> {
        process::Worker::start(self.contestant(), core)
    }

    /// How long to measure, in milliseconds.
    fn milliseconds(&self) -> u64 {
        self.settings.pick(1, 20)
    }
}

/// Of the series with this name.
type Value = (&'static str, f64);

pub(crate) const ALL: [Shape; 16] = [
    single::PAIR,
    single::OPEN_CLOSE,
    single::CREATE_REMOVE,
    several::PING_PONG,
    several::PING_PONG_ON_ONE,
    several::CONTENDED,
    several::LONGEST_WAIT,
    several::RING,
    death::DEATH,
    death::LONG_WAIT,
    many::OPEN,
    many::ATTACHED,
    many::WAITING,
    many::IDLE,
    commands::START,
    commands::HERD,
];

/// How many samples could be taken, and how many not.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

/// All samples, round by round, so that what changes on the machine changes for all.
pub(crate) fn run(settings: &Settings) -> Result<(Run, Count)> {
    let mut run = Run::new(machine::description()?, settings.rounds, settings.long);
    let mut count = Count::default();
    for round in 1..=settings.rounds {
        for shape in ALL.iter().filter(|shape| settings.wants(shape.name)) {
            let begin = Instant::now();
            for x in (shape.points)(settings) {
                for name in (shape.contestants)().into_iter().filter(|name| settings.wants_of(name)) {
                    match shape.sample_into(&mut run, settings, name, x) {
                        Ok(()) => count.passed += 1,
                        Err(error) => {
                            eprintln!("FAILED: {} of {name}, {x}: {error}", shape.name);
                            count.failed += 1;
                        }
                    }
                }
            }
            eprintln!(
                "round {round} of {}: {}, {:.1} s",
                settings.rounds,
                shape.name,
                begin.elapsed().as_secs_f64()
            );
        }
    }
    Ok((run, count))
}

impl Shape {
    fn sample_into(&self, run: &mut Run, settings: &Settings, name: &'static str, x: u64) -> Result<()> {
        let (values, distance) = self.sample_at_one_distance(settings, name, x)?;
        for (series, value) in values {
            run.add(series, x, name, distance, value);
        }
        Ok(())
    }

    /// A sample during which the distance of the processors did not change.
    fn sample_at_one_distance(
        &self,
        settings: &Settings,
        name: &'static str,
        x: u64,
    ) -> Result<(Vec<Value>, Distance)> {
        for _ in 0..ATTEMPTS {
            let subject = Subject { settings, name, x, key: new_key() };
            let before = self.distance();
            let values = (self.sample)(&subject)?;
            if before == self.distance() {
                return Ok((values, before));
            }
        }
        Err("the distance of the processors changed each time".into())
    }

    fn distance(&self) -> Distance {
        if self.two_cores { machine::distance() } else { Distance::None }
    }
}

/// A key that nobody has.
fn new_key() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("syssem-bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The names of the contestants for which this is true.
fn those(is_one: impl Fn(&Contestant) -> bool) -> Vec<&'static str> {
    contestant::ALL.iter().filter(|contestant| is_one(contestant)).map(|contestant| contestant.name).collect()
}

/// Gives those who have begun to wait the time for what they do in their first moments (they look for a while, start threads), so
/// that it is not measured. It is no condition that anything relies on, and none could be waited for: some wake from time to
/// time as long as they wait. Who needs longer is measured with what is left of it.
fn settle() {
    thread::sleep(Duration::from_millis(500));
}

/// No points.
fn once(_settings: &Settings) -> Vec<u64> {
    vec![0]
}
