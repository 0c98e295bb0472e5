//! The command line, and from it the choice of who is killed when.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use crate::breakpoint::{BREAKPOINTS, Breakpoint, Step};
use crate::ring::{Job, Role};
use crate::{MAX_SLOTS, Outcome};

pub(crate) const USAGE: &str = "\
Usage: ring_buffer [OPTIONS] FILE

Streams FILE from producers to consumers, which are processes, through a ring buffer in shared memory guarded by
three semaphores; kills one of them half way, and shows that nothing is lost.

Options:
  --slots N      slots of the ring (64)
  --chunk BYTES  bytes of an item (a thousandth of the file, from 64 to 16384)
  --producers N  how many producers (2)
  --consumers N  how many consumers (2)
  --kills N      kill N times, at random (once, half way)
  --seed N       make the random choices of --kills the same again
  --kill-at ROLE:STEP:ITEM
                 kill whoever comes to this place; may be given several times.
                 ROLE is producer or consumer, STEP one of
                 before-journal after-journal after-forget middle-of-copy after-commit
                 after-add after-clean repair-before-add repair-after-add";

const LOST: &str = "what a dead process held stays lost with the semaphores of this platform, and the others would wait \
                    for ever: leave out --kills and --kill-at";

pub(crate) struct Arguments {
    pub(crate) file: PathBuf,
    pub(crate) slots: u32,
    chunk: Option<u32>,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    kills: Option<u32>,
    seed: Option<u64>,
    kill_at: Vec<Breakpoint>,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Outcome<Self> {
        let mut parsed = Self {
            file: PathBuf::new(),
            slots: 64,
            chunk: None,
            producers: 2,
            consumers: 2,
            kills: None,
            seed: None,
            kill_at: Vec::new(),
        };
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            match argument.to_str() {
                Some("--slots") => parsed.slots = value(&argument, rest.next())?,
                Some("--chunk") => parsed.chunk = Some(value(&argument, rest.next())?),
                Some("--producers") => parsed.producers = value(&argument, rest.next())?,
                Some("--consumers") => parsed.consumers = value(&argument, rest.next())?,
                Some("--kills") => parsed.kills = Some(value(&argument, rest.next())?),
                Some("--seed") => parsed.seed = Some(value(&argument, rest.next())?),
                Some("--kill-at") => parsed.kill_at.push(value(&argument, rest.next())?),
                Some(option) if option.starts_with('-') => {
                    return Err(format!("there is no option {option}\n\n{USAGE}").into());
                }
                _ if parsed.file.as_os_str().is_empty() => parsed.file = argument.into(),
                _ => return Err(format!("one file only\n\n{USAGE}").into()),
            }
        }
        parsed.check()
    }

    fn check(self) -> Outcome<Self> {
        if self.file.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        if self.slots == 0 || self.chunk == Some(0) || self.producers == 0 || self.consumers == 0 {
            return Err("slots, bytes, producers and consumers: at least one of each".into());
        }
        if self.slots > MAX_SLOTS {
            return Err(format!("at most {MAX_SLOTS} slots: a semaphore counts them").into());
        }
        Ok(self)
    }

    /// How many bytes make an item of a file of this size.
    pub(crate) fn chunk(&self, size: u64) -> u64 {
        self.chunk.map_or_else(|| (size / 1000).clamp(64, 16 * 1024), u64::from)
    }

    /// Who is to be killed when, if the file makes so many items and what the dead held comes back.
    pub(crate) fn plan(&self, items: u64, returns_on_death: bool) -> Outcome<Vec<Kill>> {
        if !returns_on_death {
            let is_asked_for = self.kills.unwrap_or(0) > 0 || !self.kill_at.is_empty();
            return if is_asked_for { Err(LOST.into()) } else { Ok(Vec::new()) };
        }
        let mut plan: Vec<_> = self.kill_at.iter().copied().map(Kill::At).collect();
        if items > 0 {
            match self.kills {
                Some(kills) => {
                    let mut random = self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
                    plan.extend((0..kills).flat_map(|_| random_kills(&mut random, items)));
                }
                None if plan.is_empty() => plan.push(half_way(items)),
                None => {}
            }
        }
        if plan.iter().filter(|kill| matches!(kill, Kill::At(_))).count() > BREAKPOINTS {
            return Err("that is too many kills".into());
        }
        Ok(plan)
    }
}

fn value<T: FromStr<Err: std::fmt::Display>>(option: &OsString, value: Option<OsString>) -> Outcome<T> {
    let option = option.display();
    let value = value.ok_or_else(|| format!("{option} needs a value"))?;
    let text = value.to_str().ok_or_else(|| format!("{option}: the value is not text"))?;
    text.parse().map_err(|error| format!("{option} {text}: {error}").into())
}

/// One death to come.
#[derive(Clone, Copy)]
pub(crate) enum Kill {
    /// Whoever comes to this place.
    At(Breakpoint),
    /// Anybody, wherever it is, as soon as so many items are consumed. `pick` chooses among those who live then.
    AnyMoment { consumed: u64, pick: usize },
}

/// A consumer that has written half of the item in the middle: it has the mutex, and a permit is forgotten.
fn half_way(items: u64) -> Kill {
    let job = Job { role: Role::Consumer, item: items / 2 };
    Kill::At(Breakpoint { job, step: Step::MiddleOfCopy })
}

/// One random kill. To be killed in a repair somebody must have been killed before.
fn random_kills(random: &mut fastrand::Rng, items: u64) -> Vec<Kill> {
    if random.bool() {
        return vec![Kill::AnyMoment { consumed: random.u64(..items), pick: random.usize(..) }];
    }
    let role = if random.bool() { Role::Producer } else { Role::Consumer };
    let job = Job { role, item: random.u64(..items) };
    let at = |step| Kill::At(Breakpoint { job, step });
    let step = Step::ALL[random.usize(..Step::ALL.len())];
    if step.is_in_repair() {
        let before = Step::LOSING_A_PERMIT[random.usize(..Step::LOSING_A_PERMIT.len())];
        vec![at(before), at(step)]
    } else {
        vec![at(step)]
    }
}

impl Kill {
    pub(crate) fn breakpoint(self) -> Option<Breakpoint> {
        match self {
            Self::At(breakpoint) => Some(breakpoint),
            Self::AnyMoment { .. } => None,
        }
    }

    pub(crate) fn moment(self) -> Option<(u64, usize)> {
        match self {
            Self::At(_) => None,
            Self::AnyMoment { consumed, pick } => Some((consumed, pick)),
        }
    }
}
