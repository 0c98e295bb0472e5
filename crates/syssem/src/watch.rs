//! `watch`: semaphores live, ten times a second; which there are, once a second, since that opens and closes each of them.
//!
//! It looks by an [`Observer`], which takes and writes nothing. In a terminal it draws on the alternate screen, and however it
//! ends, but for SIGKILL, the terminal is as it was.

mod screen;

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use system_semaphore::{ErrorKind, NativeIpcKey, Observer, Owners, list};

use crate::answer::{Answer, Trouble};
use crate::arguments::{self, Watch};
use crate::sight::{Process, Sight, printable};
use screen::Screen;

const SAMPLE: Duration = Duration::from_millis(100);
const LISTING: Duration = Duration::from_secs(1);
const GONE: &str = "it is not there";

/// What is seen of a semaphore, as JSON.
#[derive(PartialEq, Serialize)]
struct Sample {
    key: String,
    /// Why there is nothing to be seen.
    error: Option<String>,
    sight: Option<Sight>,
}

pub(crate) fn watch(options: &Watch, answer: &Answer) -> Result<u8, Trouble> {
    let keys = options.keys.iter().map(|key| arguments::native(key, options.key_type));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let mut watched = Watched {
        follows_all: keys.is_empty(),
        listed: None,
        subjects: keys.into_iter().map(Subject::new).collect(),
    };
    if io::stdout().is_terminal() && !answer.is_json() {
        return watch_on(Screen::enter()?, &mut watched);
    }
    let mut before = None;
    loop {
        let samples = watched.samples()?;
        if before.as_ref() != Some(&samples) {
            answer.give(&samples, || samples.iter().map(line).collect())?;
            before = Some(samples);
        }
        thread::sleep(SAMPLE);
    }
}

fn watch_on(mut screen: Screen, watched: &mut Watched) -> Result<u8, Trouble> {
    loop {
        let samples = watched.samples()?;
        screen.draw(|width| samples.iter().flat_map(|sample| paragraph(sample, width)).collect())?;
        if screen.is_to_end(SAMPLE)? {
            return Ok(0);
        }
    }
}

/// What is watched.
struct Watched {
    /// Whether that is all there is of this user's.
    follows_all: bool,
    /// When it was last looked which there are.
    listed: Option<Instant>,
    subjects: Vec<Subject>,
}

impl Watched {
    fn samples(&mut self) -> Result<Vec<Sample>, Trouble> {
        if self.follows_all && self.listed.is_none_or(|at| at.elapsed() >= LISTING) {
            self.listed = Some(Instant::now());
            let mut keys: Vec<NativeIpcKey> =
                list(Owners::User)?.into_iter().filter_map(|one| one.native_key).collect();
            keys.sort_by_cached_key(ToString::to_string);
            self.subjects.retain(|subject| keys.contains(&subject.key));
            let is_new = |key: &NativeIpcKey| !self.subjects.iter().any(|subject| subject.key == *key);
            let new: Vec<NativeIpcKey> = keys.into_iter().filter(is_new).collect();
            self.subjects.extend(new.into_iter().map(Subject::new));
        }
        let mut samples: Vec<Sample> = self.subjects.iter_mut().map(Subject::sample).collect();
        // who asked for none by name need not hear of what is gone
        samples.retain(|sample| !self.follows_all || sample.error.as_deref() != Some(GONE));
        Ok(samples)
    }
}

/// A semaphore, which need not be there.
struct Subject {
    key: NativeIpcKey,
    observer: Option<Observer>,
}

impl Subject {
    fn new(key: NativeIpcKey) -> Self {
        Self { key, observer: None }
    }

    fn sample(&mut self) -> Sample {
        let seen = self.look();
        Sample { key: self.key.to_string(), error: seen.as_ref().err().cloned(), sight: seen.ok() }
    }

    fn look(&mut self) -> Result<Sight, String> {
        if let Some(Ok(seen)) = self.observer.as_ref().map(Observer::look) {
            return Ok(Sight::from(&seen));
        }
        // one that was removed and made anew is another one
        let again = Observer::new(&self.key).and_then(|observer| self.observer.insert(observer).look());
        again.map(|seen| Sight::from(&seen)).map_err(|error| {
            self.observer = None;
            if error.kind() == ErrorKind::NotFound { GONE.to_owned() } else { error.to_string() }
        })
    }
}

/// A line for who does not watch in a terminal.
fn line(sample: &Sample) -> String {
    let state = match (&sample.sight, &sample.error) {
        (Some(sight), _) => {
            let names = |processes: &Option<Vec<Process>>| {
                let names = processes.iter().flatten().map(Process::name).collect::<Vec<_>>();
                if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
            };
            let held = sight.held.map(|held| format!(", {held} held{}", names(&sight.holders)));
            let waiting =
                sight.waiting.map(|waiting| format!(", {waiting} waiting{}", names(&sight.waiters)));
            format!("{} free{}{}", sight.available, held.unwrap_or_default(), waiting.unwrap_or_default())
        }
        (None, error) => error.as_deref().map_or_else(String::new, printable),
    };
    format!("{}: {state}\n", printable(&sample.key))
}

/// A semaphore on the screen.
fn paragraph(sample: &Sample, width: usize) -> Vec<String> {
    let Some(sight) = &sample.sight else { return vec![line(sample).trim_end().to_owned(), String::new()] };
    let mut lines = vec![printable(&sample.key), format!("  {}", bar(sight, width.saturating_sub(2)))];
    let mut name = |title: &str, processes: &Option<Vec<Process>>| {
        for process in processes.iter().flatten() {
            let permits =
                process.permits.filter(|permits| *permits != 1).map(|permits| format!(", {permits} permits"));
            let age = process.age().map(|age| format!(", for {age}"));
            let (permits, age) = (permits.unwrap_or_default(), age.unwrap_or_default());
            lines.push(format!("  {title} {}{permits}{age}", process.name()));
        }
    };
    name("held by", &sight.holders);
    name("waits: ", &sight.waiters);
    if let (None, Some(waiting)) = (&sight.waiters, sight.waiting.filter(|waiting| *waiting > 0)) {
        lines.push(format!("  {waiting} waiting"));
    }
    lines.push(String::new());
    lines
}

/// Permits as a bar: a held one is full, a free one empty.
fn bar(sight: &Sight, width: usize) -> String {
    let held = sight.held.unwrap_or(0);
    let total = held + u64::from(sight.available);
    let text = match sight.held {
        Some(_) => format!(" {} of {total} free", sight.available),
        None => format!(" {} free", sight.available),
    };
    let room = width.saturating_sub(text.len()).min(40) as u64;
    // one column a permit, as long as there is room
    let (full, empty) =
        if total <= room { (held, total - held) } else { (held * room / total, room - held * room / total) };
    format!("{}{}{text}", "█".repeat(full as usize), "░".repeat(empty as usize))
}

/// Writes lines, each cut to the width.
fn write_lines(out: &mut impl Write, lines: &[String], width: usize, height: usize) -> io::Result<()> {
    for (row, line) in lines.iter().take(height).enumerate() {
        if row > 0 {
            write!(out, "\r\n")?;
        }
        let cut: String = line.chars().take(width).collect();
        write!(out, "{cut}")?;
    }
    Ok(())
}
