//! The run: which paths, where on them, in which ways; and what came of it.

mod clock;
mod kill_point;
mod paths;
mod stage;
mod trace;
mod waiter;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fmt, io, thread};

use system_semaphore::SystemSemaphore;
use test_support::ptrace::{Event, Resume, Tracee};
use test_support::robust_file::remove_files_with;

use self::kill_point::{Finding, KillVariant, Recoverers, Setup};
use self::paths::{PATHS, Path};
use self::trace::{FollowMode, Trace};

/// Why a kill has shown nothing, or something bad.
pub(crate) enum Error {
    /// The process went another way than the one before it: it was held up, so that a clock said something else.
    Diverged,
    Failure(String),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Diverged => write!(f, "it went another way each time"),
            Self::Failure(what) => write!(f, "{what}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Failure(format!("the system: {error}"))
    }
}

impl From<system_semaphore::Error> for Error {
    fn from(error: system_semaphore::Error) -> Self {
        Self::Failure(error.to_string())
    }
}

fn demand(is_so: bool, complaint: impl FnOnce() -> String) -> Result<()> {
    if is_so { Ok(()) } else { Err(Error::Failure(complaint())) }
}

/// The argument that makes this program another process.
const PLAY: &str = "--play";

/// Starts another process that plays a part, and waits until it comes to its first mark.
fn start(part: &str, name: &str) -> Result<Tracee> {
    let mut process = Tracee::start(&[PLAY, part, name])?;
    process.resume(Resume::Freely)?;
    match process.wait()? {
        Event::Marked => Ok(process),
        event => Err(Error::Failure(format!("{part:?} does not come to its mark: {event:?}"))),
    }
}

/// The other process's side.
fn play(part: &str, name: &str) -> ! {
    let done = match part {
        "waiter" => paths::wait(name),
        "holder" => paths::hold(name),
        path => (paths::find(path).expect("there is such a path").act)(name),
    };
    panic!("nobody has killed {part:?}: {done:?}");
}

/// How closely a path is looked at: up to this length after each instruction; on a longer one before and after each system
/// call, and at so many points spread evenly.
struct Measure {
    short: usize,
    points: usize,
}

const USUAL: Measure = Measure { short: 700, points: 100 };
const FULL: Measure = Measure { short: 5_000, points: 2_000 };

/// How a place is looked for, until it is found.
const TRIES: [FollowMode; 10] = {
    use FollowMode::{Exact, Literal, Loose};
    [Exact, Exact, Exact, Exact, Loose, Loose, Literal, Literal, Literal, Literal]
};

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [PLAY, part, name] = *words {
        play(part, name);
    }
    let measure = if words.contains(&"--full") { FULL } else { USUAL };
    let names: Vec<&str> = words.into_iter().filter(|word| *word != "--full").collect();
    if let Some(unknown) = names.iter().find(|name| paths::find(name).is_none()) {
        let all: Vec<&str> = PATHS.iter().map(|path| path.name).collect();
        eprintln!("{unknown:?} is no path; usage: stepping [--full] [PATH...], of {}", all.join(", "));
        return ExitCode::FAILURE;
    }
    let is_chosen = |path: &&Path| names.is_empty() || names.contains(&path.name);
    let (passed, failed) = match Run::new(measure).and_then(|mut run| run.all(PATHS.iter().filter(is_chosen)))
    {
        Ok(counts) => counts,
        Err(error) => {
            println!("it cannot be run: {error}");
            (0, 1)
        }
    };
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many kills there were.
static KILLS: AtomicU64 = AtomicU64::new(0);

/// Ends the run if nothing happens for a minute: somebody waits for ever.
fn watch(prefix: String) {
    thread::spawn(move || {
        let mut before = 0;
        loop {
            thread::sleep(Duration::from_secs(60));
            let now = KILLS.load(Ordering::Relaxed);
            if now == before {
                remove_files_with(&prefix);
                println!("nothing has happened for a minute, after {now} kills\n0 passed, 1 failed");
                std::process::exit(1);
            }
            before = now;
        }
    });
}

struct Run {
    measure: Measure,
    /// What the names of all semaphores begin with.
    prefix: String,
    /// Keeps the directory, so that no process makes or removes it while it is traced.
    _directory: SystemSemaphore,
    recoverers: Recoverers,
    /// Where recoverers were killed.
    recoveries: BTreeSet<(bool, usize)>,
}

/// What was found along a path.
struct Findings {
    instructions: usize,
    calls: usize,
    points: usize,
    /// After how many instructions it is done.
    turn: Option<usize>,
}

impl Run {
    fn new(measure: Measure) -> Result<Self> {
        let prefix = format!("stepping-{}-", std::process::id());
        watch(prefix.clone());
        let directory = SystemSemaphore::create(paths::key(&prefix), 0)?;
        let recoverers = Recoverers {
            by_looking: record("recovery", KillVariant::AtOnce, &prefix)?,
            by_opening: record("open-of-a-leftover", KillVariant::AtOnce, &prefix)?,
        };
        Ok(Self { measure, prefix, _directory: directory, recoverers, recoveries: BTreeSet::new() })
    }

    /// How many paths, in how many ways, have passed and failed.
    fn all<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) -> Result<(usize, usize)> {
        println!("{:63} killed at once / after another's operation / and its recoverer, too", "");
        println!(
            "{:28} {:>12} {:>12}   {:^20}   {:^20} {:>6}",
            "path", "instructions", "system calls", "kill points", "done after", "s"
        );
        let (mut passed, mut failed) = (0, 0);
        for path in paths {
            let begin = Instant::now();
            let mut found = Vec::new();
            for variant in KillVariant::ALL {
                match self.along(path, variant) {
                    Ok(findings) => found.push(findings),
                    Err(error) => println!("{} FAILED, {variant}: {error}", path.name),
                }
            }
            passed += found.len();
            failed += KillVariant::ALL.len() - found.len();
            print_line(path, &found, begin.elapsed());
        }
        println!(
            "{} kills; recoverers were killed at {} of their {} instructions",
            KILLS.load(Ordering::Relaxed),
            self.recoveries.len(),
            self.recoverers.by_looking.length() + self.recoverers.by_opening.length(),
        );
        Ok((passed, failed))
    }

    /// Kills at each of a path's points, and sees that it turns from not done to done once.
    fn along(&mut self, path: &Path, variant: KillVariant) -> Result<Findings> {
        let trace = record(path.name, variant, &self.prefix)?;
        let mut outcomes = BTreeMap::new();
        for (number, point) in self.points(&trace).into_iter().enumerate() {
            outcomes.insert(point, self.kill(path, variant, &trace, point, number)?);
        }
        while let Some((before, after)) =
            turns(&outcomes).first().filter(|(before, after)| after - before > 1)
        {
            let point = (before + after) / 2;
            outcomes.insert(point, self.kill(path, variant, &trace, point, point)?);
        }
        let turn = match *turns(&outcomes) {
            [] if !path.flips() => None,
            [(before, after)] if outcomes[&before] == Some(false) => Some(after),
            ref turns => return Err(Error::Failure(format!("not done, done, and not done: {turns:?}"))),
        };
        Ok(Findings { instructions: trace.length(), calls: trace.calls.len(), points: outcomes.len(), turn })
    }

    /// Where on a trace is killed.
    fn points(&self, trace: &Trace) -> BTreeSet<usize> {
        let length = trace.length();
        if length <= self.measure.short {
            return (0..=length).collect();
        }
        let last = self.measure.points - 1;
        let spread = (0..=last).map(|index| index * length / last);
        let calls = trace.calls.iter().flat_map(|call| [*call, call + 1]);
        spread.chain(calls).collect()
    }

    /// Kills a process after so many instructions; tells whether it was done.
    fn kill(
        &mut self,
        path: &Path,
        variant: KillVariant,
        trace: &Trace,
        point: usize,
        number: usize,
    ) -> Result<Option<bool>> {
        let mut finding = Err(Error::Diverged);
        for mode in TRIES {
            finding = self.try_to_kill(path, variant, trace, point, mode, number);
            if !matches!(finding, Err(Error::Diverged)) {
                break;
            }
        }
        let finding =
            finding.map_err(|error| Error::Failure(format!("killed after {point} instructions: {error}")))?;
        self.recoveries.extend(finding.recoverer.map(|point| (path.scene.is_deserted(), point)));
        Ok(finding.is_done)
    }

    fn try_to_kill(
        &self,
        path: &Path,
        variant: KillVariant,
        trace: &Trace,
        point: usize,
        mode: FollowMode,
        number: usize,
    ) -> Result<Finding> {
        KILLS.fetch_add(1, Ordering::Relaxed);
        let mut setup = Setup::assemble(path, variant, &format!("{}{}", self.prefix, path.name))?;
        setup.set_out(|subject, alarm| trace.walk(subject, point, mode, alarm))?;
        setup.kill(&self.recoverers, number)
    }
}

/// Walks along a path for the first time.
fn record(name: &str, variant: KillVariant, prefix: &str) -> Result<Trace> {
    let path = paths::find(name).expect("there is such a path");
    let mut trace = None;
    Setup::assemble(path, variant, &format!("{prefix}{name}"))?.set_out(|subject, alarm| {
        trace = Some(Trace::record(subject, path.scene.timed_sleeps(), alarm)?);
        Ok(())
    })?;
    Ok(trace.expect("it was recorded"))
}

/// Between which points the outcome changes.
fn turns(outcomes: &BTreeMap<usize, Option<bool>>) -> Vec<(usize, usize)> {
    let next = outcomes.iter().skip(1);
    let pairs = outcomes.iter().zip(next).filter(|(before, after)| before.1 != after.1);
    pairs.map(|(before, after)| (*before.0, *after.0)).collect()
}

fn print_line(path: &Path, found: &[Findings], time: Duration) {
    let Some(first) = found.first() else { return };
    let join = |figure: fn(&Findings) -> String| {
        let figures: Vec<String> = found.iter().map(figure).collect();
        figures.join(" / ")
    };
    let points = join(|findings| findings.points.to_string());
    let turns = join(|findings| findings.turn.map_or("-".to_owned(), |turn| turn.to_string()));
    let (instructions, calls, seconds) = (first.instructions, first.calls, time.as_secs_f32());
    println!("{:28} {instructions:>12} {calls:>12}   {points:^20}   {turns:^20} {seconds:6.1}", path.name);
}
