//! The parent's part while the workers work: it starts them, kills them, replaces the dead and tells them when
//! they may go home.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::Outcome;
use crate::arguments::Kill;
use crate::breakpoint::{self, Breakpoint};
use crate::ring::{Counter, Ring, Role};
use crate::semaphores::{self, Semaphores};

/// How often the parent looks.
const TICK: Duration = Duration::from_millis(1);
/// If nothing at all happens for so long, the run has failed.
const STALL: Duration = Duration::from_secs(30);
/// More deaths than this that nobody ordered, and something is wrong with the workers.
const MAX_UNEXPECTED_DEATHS: u32 = 20;

pub(crate) struct Supervisor<'a> {
    ring: &'a Ring,
    semaphores: &'a Semaphores,
    start: Box<dyn Fn(Role) -> io::Result<Child> + 'a>,
    /// Those that were started and not yet buried.
    workers: Vec<Worker>,
    hired: [u32; 2],
    /// The kills to come at a moment, and those to come at a breakpoint, in the order of the ring's.
    any_moment: Vec<(u64, usize)>,
    breakpoints: Vec<Option<Breakpoint>>,
    pub(crate) deaths: u32,
    unexpected_deaths: u32,
    closed: bool,
    bar: ProgressBar,
}

struct Worker {
    role: Role,
    number: u32,
    process: Child,
    /// How it was killed, if it was.
    killed: Option<String>,
}

impl Worker {
    fn name(&self) -> String {
        format!("{} {} (process {})", self.role, self.number, self.process.id())
    }

    fn kill(&mut self, how: String) -> io::Result<()> {
        self.killed = Some(how);
        self.process.kill()
    }
}

impl<'a> Supervisor<'a> {
    /// `start` starts the process of a worker.
    pub(crate) fn new(
        ring: &'a Ring,
        semaphores: &'a Semaphores,
        plan: &[Kill],
        start: impl Fn(Role) -> io::Result<Child> + 'a,
    ) -> Self {
        let breakpoints: Vec<_> = plan.iter().filter_map(|kill| kill.breakpoint()).collect();
        ring.set_breakpoints(breakpoints.iter().copied());
        Self {
            ring,
            semaphores,
            start: Box::new(start),
            workers: Vec::new(),
            hired: [0; 2],
            any_moment: plan.iter().filter_map(|kill| kill.moment()).collect(),
            breakpoints: breakpoints.into_iter().map(Some).collect(),
            deaths: 0,
            unexpected_deaths: 0,
            closed: false,
            bar: progress_bar(ring.geometry.items()),
        }
    }

    /// Has the whole file streamed. All workers are gone when it returns.
    pub(crate) fn run(&mut self, producers: usize, consumers: usize) -> Outcome<()> {
        for (role, count) in [(Role::Producer, producers), (Role::Consumer, consumers)] {
            for _ in 0..count {
                let name = self.hire(role)?;
                self.say(&format!("Started {name}."));
            }
        }
        let (mut last, mut since) = (self.signs_of_life(), Instant::now());
        while !self.workers.is_empty() {
            self.kill_who_stopped()?;
            self.kill_at_any_moment()?;
            self.reap_and_replace()?;
            self.close_if_finished()?;
            self.bar.set_position(self.ring.consumed());
            let now = self.signs_of_life();
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > STALL {
                return Err(self.stall_report().into());
            }
            thread::sleep(TICK);
        }
        self.bar.finish_and_clear();
        self.tell_who_was_spared();
        self.take_closing_permit_out()?;
        self.take_surplus_out()
    }

    fn hire(&mut self, role: Role) -> Outcome<String> {
        let process = (self.start)(role).map_err(|error| format!("cannot start a {role}: {error}"))?;
        let hired = &mut self.hired[role as usize];
        *hired += 1;
        let worker = Worker { role, number: *hired, process, killed: None };
        let name = worker.name();
        self.workers.push(worker);
        Ok(name)
    }

    /// Kills those who wait for it at a breakpoint.
    fn kill_who_stopped(&mut self) -> Outcome<()> {
        for (breakpoint, word) in self.breakpoints.iter_mut().zip(self.ring.breakpoints()) {
            let (Some(place), Some(process)) = (*breakpoint, breakpoint::stopped_process(word)) else {
                continue;
            };
            *breakpoint = None;
            let stopped = self.workers.iter_mut().find(|worker| worker.process.id() == process);
            // it may have been killed while it waited
            if let Some(worker) = stopped.filter(|worker| worker.killed.is_none()) {
                let progress = progress(self.ring);
                worker.kill(format!("at {place}, with {progress}; it had the mutex"))?;
            }
        }
        Ok(())
    }

    /// Kills whoever was chosen for this moment.
    fn kill_at_any_moment(&mut self) -> Outcome<()> {
        let consumed = self.ring.consumed();
        let due: Vec<_> = self.any_moment.extract_if(.., |(moment, _)| *moment <= consumed).collect();
        for (_, pick) in due {
            let mut alive: Vec<_> =
                self.workers.iter_mut().filter(|worker| worker.killed.is_none()).collect();
            if alive.is_empty() {
                continue;
            }
            let chosen = pick % alive.len();
            alive[chosen].kill(format!("at a random moment, with {}", progress(self.ring)))?;
        }
        Ok(())
    }

    /// Sees who has ended, and starts another for each that was killed.
    fn reap_and_replace(&mut self) -> Outcome<()> {
        let mut index = 0;
        while index < self.workers.len() {
            match self.workers[index].process.try_wait()? {
                None => index += 1,
                Some(status) => {
                    let worker = self.workers.swap_remove(index);
                    self.reap(&worker, status)?;
                }
            }
        }
        Ok(())
    }

    fn reap(&mut self, worker: &Worker, status: ExitStatus) -> Outcome<()> {
        let name = worker.name();
        match &worker.killed {
            Some(_) if status.success() => {
                self.say(&format!("The kill came too late: {name} had just finished."));
                return Ok(());
            }
            None if status.success() => return Ok(()),
            Some(how) => self.say(&format!("Killed {name} {how}.")),
            // somebody else's kill -9 is as good as ours
            None if status.code().is_none() => {
                self.unexpected_deaths += 1;
                if self.unexpected_deaths > MAX_UNEXPECTED_DEATHS {
                    return Err(format!("too many workers die; the last was {name}: {status}").into());
                }
                self.say(&format!("Somebody else killed {name}: {status}."));
            }
            None => return Err(format!("{name} failed: {status}").into()),
        }
        self.deaths += 1;
        let successor = self.hire(worker.role)?;
        self.say(&format!("Started {successor} in its place."));
        Ok(())
    }

    /// When the last item is consumed, consumers may be waiting for another. One permit more wakes them all, as
    /// each gives it back. Producers need none: every slot is free.
    ///
    /// It needs no mutex: with the last item consumed, a consumer's turn takes nothing of `used` any more, and no
    /// repair counts it, as only `free` can still be one short.
    fn close_if_finished(&mut self) -> Outcome<()> {
        if !self.closed && self.ring.is_finished(Role::Consumer) {
            self.semaphores.of(Role::Consumer.takes()).add_permits(1)?;
            self.closed = true;
        }
        Ok(())
    }

    /// Everybody is gone, and the permit that woke them is nobody's.
    fn take_closing_permit_out(&mut self) -> Outcome<()> {
        if self.closed {
            self.semaphores.of(Role::Consumer.takes()).try_acquire()?.forget()?;
            self.closed = false;
        }
        Ok(())
    }

    /// A repair may have taken a very slow process for a dead one when nobody was to find the ring empty or full any more.
    fn take_surplus_out(&self) -> Outcome<()> {
        for counter in [Counter::Free, Counter::Used] {
            let semaphore = self.semaphores.of(counter);
            while u64::from(semaphores::count(semaphore)?) > self.ring.permits_due(counter) {
                semaphore.try_acquire()?.forget()?;
                self.ring.count_surplus();
            }
        }
        Ok(())
    }

    /// What changes as long as anything happens.
    fn signs_of_life(&self) -> (u64, u64, u32, usize) {
        (self.ring.produced(), self.ring.consumed(), self.deaths, self.workers.len())
    }

    fn stall_report(&self) -> String {
        let (produced, consumed, items) =
            (self.ring.produced(), self.ring.consumed(), self.ring.geometry.items());
        let workers: Vec<_> = self.workers.iter().map(Worker::name).collect();
        format!(
            "nothing has happened for {} s: {produced} of {items} items are produced, {consumed} consumed, and {} \
             are still there",
            STALL.as_secs(),
            workers.join(", "),
        )
    }

    fn tell_who_was_spared(&self) {
        for place in self.breakpoints.iter().flatten() {
            self.say(&format!("Nobody was killed at {place}: nobody came there."));
        }
        for (moment, _) in &self.any_moment {
            self.say(&format!("Nobody was killed when {moment} items were consumed: all had finished."));
        }
    }

    /// Prints a line without disturbing the progress bar.
    fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }
}

impl Drop for Supervisor<'_> {
    /// Whatever went wrong, no worker stays behind.
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // it may have ended by itself; nothing more could be done about any other error
            let _ = worker.process.kill();
            let _ = worker.process.wait();
        }
        self.bar.finish_and_clear();
    }
}

fn progress(ring: &Ring) -> String {
    format!("{} of {} items consumed", ring.consumed(), ring.geometry.items())
}

/// Starts this program again, as a worker.
pub(crate) fn start_worker(role: Role, scratch: &Path, prefix: &str, input: &Path) -> io::Result<Child> {
    Command::new(env::current_exe()?)
        .args(["worker", &role.to_string()])
        .arg(scratch)
        .arg(prefix)
        .arg(input)
        .stdin(Stdio::piped())
        .spawn()
}

/// Seen on a terminal only.
fn progress_bar(items: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} items, {per_sec}, {eta} left");
    ProgressBar::new(items).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
