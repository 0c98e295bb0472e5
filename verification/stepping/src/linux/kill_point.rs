//! One kill: who is there, what happens while the process stands at its instruction, and what is left after it.

use std::{fmt, thread};

use super::paths::{Outcome, Path, Scene};
use super::stage::{LATER, Stage};
use super::trace::{Alarm, FollowMode, Trace};
use super::waiter::{Progress, Waiter};
use super::{Error, Result, demand, start};
use test_support::ptrace::Tracee;

/// What happens between the halt and the look at the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillVariant {
    /// It is killed at once.
    AtOnce,
    /// Another process completes an operation first.
    AfterAnother,
    /// The first who recovers it is killed, too.
    SecondRecoverer,
}

impl KillVariant {
    pub(crate) const ALL: [Self; 3] = [Self::AtOnce, Self::AfterAnother, Self::SecondRecoverer];
}

impl fmt::Display for KillVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtOnce => "killed at once",
            Self::AfterAnother => "killed after another's operation",
            Self::SecondRecoverer => "killed, and its recoverer, too",
        })
    }
}

/// The routes of those who find the dead one, and are killed in turn.
pub(crate) struct Recoverers {
    pub(crate) by_looking: Trace,
    pub(crate) by_opening: Trace,
}

/// What a kill has shown.
pub(crate) struct Finding {
    /// Whether the operation was done, if that makes a difference.
    pub(crate) is_done: Option<bool>,
    /// After how many instructions a recoverer was killed.
    pub(crate) recoverer: Option<usize>,
}

/// Everybody who is there when the process begins its path.
pub(crate) struct Setup<'a> {
    path: &'a Path,
    variant: KillVariant,
    stage: Stage,
    /// Who stands at the beginning of the path.
    pub(crate) subject: Tracee,
    halted: Option<Tracee>,
    recoverer: Option<Tracee>,
    waiter: Option<Waiter>,
}

impl<'a> Setup<'a> {
    pub(crate) fn assemble(path: &'a Path, variant: KillVariant, name: &str) -> Result<Self> {
        let mut stage = Stage::new(name);
        if !path.scene.is_deserted() {
            stage.open(path.initial)?;
        }
        let mut holder = match path.scene {
            Scene::Recovering | Scene::Leftover => Some(start("holder", name)?),
            Scene::Settling => Some(halt_after_the_swap(&stage)?),
            _ => None,
        };
        if path.scene == Scene::Leftover {
            holder = None;
        }
        let halted = if path.scene == Scene::Helping { Some(halt_after_the_swap(&stage)?) } else { None };
        let has_recoverer = variant == KillVariant::SecondRecoverer && !path.scene.is_deserted();
        let recoverer = if has_recoverer { Some(start("recovery", name)?) } else { None };
        stage.expect_the_subject()?;
        let subject = start(path.name, name)?;
        let waiter = if path.scene.begins_with_waiter() { Some(fall_asleep(name)?) } else { None };
        drop(holder);
        Ok(Self { path, variant, stage, subject, halted, recoverer, waiter })
    }

    /// Lets the subject go along its path, as `go` does it.
    pub(crate) fn set_out(&mut self, go: impl FnOnce(&mut Tracee, Alarm<'_>) -> Result<()>) -> Result<()> {
        let Self { subject, stage, waiter, .. } = self;
        go(subject, &mut || {
            // somebody queues behind it, and then there is something for one of them
            *waiter = Some(fall_asleep(&stage.name)?);
            stage.create_permit()
        })
    }

    /// Kills the subject where it stands, and looks at what is left.
    pub(crate) fn kill(mut self, recoverers: &Recoverers, number: usize) -> Result<Finding> {
        let view = self.stage.view()?;
        let is_shown = self.path.shows.map(|shows| shows(&view));
        let Self { path, variant, .. } = self;
        if path.scene.is_deserted() {
            return self.kill_the_last(is_shown, recoverers, number);
        }
        if variant == KillVariant::AfterAnother {
            if path.scene.has_waiter() { self.stage.create_permit()? } else { self.stage.operate()? }
        }
        drop(self.subject);
        drop(self.halted);
        let recoverer = match self.recoverer {
            Some(recoverer) => kill_on_the_way(recoverer, &recoverers.by_looking, number)?,
            None => None,
        };
        let (undone, done) = (path.undone, path.done);
        let books = if path.scene.has_waiter() {
            let free = if is_shown == Some(true) { done.free } else { undone.free };
            feed(&mut self.stage, self.waiter, free)?
        } else {
            if variant == KillVariant::AtOnce {
                // in the other ways the waiter itself finds the dead
                self.stage.recover_dead()?;
            }
            self.stage.books(undone.free.min(done.free))?
        };
        self.stage.check_the_living(0)?;
        self.stage.close()?;
        let is_done = judge(path, variant, is_shown, books)?;
        Ok(Finding { is_done, recoverer })
    }

    /// The same where nobody else has the semaphore open: who comes then makes it, or makes it anew.
    fn kill_the_last(
        mut self,
        is_shown: Option<bool>,
        recoverers: &Recoverers,
        number: usize,
    ) -> Result<Finding> {
        let mut recoverer = None;
        match self.variant {
            KillVariant::AtOnce => drop(self.subject),
            KillVariant::AfterAnother => open_before(&mut self.stage, self.subject)?,
            KillVariant::SecondRecoverer => {
                drop(self.subject);
                let second = start("open-of-a-leftover", &self.stage.name)?;
                recoverer = kill_on_the_way(second, &recoverers.by_opening, number)?;
            }
        }
        if self.variant != KillVariant::AfterAnother {
            self.stage.open(LATER)?;
        }
        let books = self.stage.books(self.path.undone.free.min(self.path.done.free))?;
        self.stage.check_the_living(0)?;
        self.stage.close()?;
        if self.variant == KillVariant::AfterAnother {
            // it came to the semaphore as it was, or made it anew
            let is_done = judge(self.path, self.variant, None, books)?;
            return Ok(Finding { is_done, recoverer });
        }
        demand(books == Outcome { free: LATER, recoveries: 0 }, || {
            format!("{books:?} of what was opened anew")
        })?;
        Ok(Finding { is_done: is_shown, recoverer })
    }
}

/// Starts a process that halts after its swap, and before it has written that down.
fn halt_after_the_swap(stage: &Stage) -> Result<Tracee> {
    let mut process = start("first-acquire", &stage.name)?;
    let before = stage.count()?;
    while stage.count()? == before {
        super::trace::step(&mut process)?;
    }
    Ok(process)
}

fn fall_asleep(name: &str) -> Result<Waiter> {
    let mut waiter = Waiter::start(name)?;
    match waiter.go_on()? {
        Progress::Sleeps => Ok(waiter),
        Progress::HasPermit => Err(Error::Failure("a waiter got what was not there".to_owned())),
    }
}

/// Kills a recoverer after so many instructions, which it tells, or where it has come to if it diverges from the trace.
fn kill_on_the_way(mut recoverer: Tracee, trace: &Trace, number: usize) -> Result<Option<usize>> {
    // by the golden ratio: however many kills there are, they are spread evenly
    let fraction = f64::fract(number as f64 * 0.618_033_988_75);
    let target = (fraction * (trace.length() + 1) as f64) as usize;
    match trace.walk(&mut recoverer, target, FollowMode::Exact, &mut || Ok(())) {
        Ok(()) => Ok(Some(target)),
        Err(Error::Diverged) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Sees that the waiter gets through, of so many permits that there are to be; tells what there were.
fn feed(stage: &mut Stage, waiter: Option<Waiter>, free: u32) -> Result<Outcome> {
    stage.recover_dead()?;
    let mut waiter = match waiter {
        Some(waiter) => waiter,
        None => Waiter::start(&stage.name)?,
    };
    let mut expected = free + stage.created;
    let mut progress = waiter.go_on()?;
    if expected == 0 {
        demand(progress == Progress::Sleeps, || "the waiter got what was not there".to_owned())?;
        stage.create_permit()?;
        expected = 1;
        progress = waiter.go_on()?;
    }
    demand(progress == Progress::HasPermit, || "nobody wakes the waiter".to_owned())?;
    stage.check_the_living(1)?;
    let recoveries = stage.books(0)?.recoveries;
    drop(waiter);
    // its permit comes back, too
    let books = stage.books(expected)?;
    demand(books.free == expected, || format!("{} permits, and {expected} were expected", books.free))?;
    Ok(Outcome { free, recoveries })
}

/// Opens the semaphore while the subject stands, and if that has to wait for it, kills it meanwhile.
fn open_before(stage: &mut Stage, subject: Tracee) -> Result<()> {
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let opener = scope.spawn(move || {
            let _ = sender.send(rustix::thread::gettid());
            stage.open(LATER)
        });
        let thread = receiver.recv().expect("it is sent");
        let stat = format!("/proc/self/task/{}/stat", thread.as_raw_pid());
        let is_asleep = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S "));
        while !opener.is_finished() && !is_asleep() {
            thread::yield_now();
        }
        drop(subject);
        opener.join().expect("it does not panic")
    })
}

/// Whether the path was done, by what was seen of it and by the books, which must agree.
fn judge(path: &Path, variant: KillVariant, is_shown: Option<bool>, books: Outcome) -> Result<Option<bool>> {
    let is_like = |expected: Outcome| {
        // a death may count twice if who gives back dies in the middle
        let may_be_more = variant == KillVariant::SecondRecoverer || path.scene.has_dead();
        let recoveries = match expected.recoveries {
            expected if expected > 0 && may_be_more => books.recoveries >= expected,
            expected => books.recoveries == expected,
        };
        books.free == expected.free && recoveries
    };
    let is_done = match is_shown {
        Some(is_done) => is_done,
        None => !is_like(path.undone),
    };
    let expected = if is_done { path.done } else { path.undone };
    demand(is_like(expected), || {
        let was = if is_done { "was" } else { "was not" };
        format!("it {was} done, and left {books:?} instead of {expected:?}")
    })?;
    Ok(path.flips().then_some(is_done))
}
