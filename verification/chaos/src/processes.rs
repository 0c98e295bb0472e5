//! The processes of a run: starting, stopping, killing, burying them.
//!
//! A pid is signalled only while its process is a child that nobody has waited for, so it can be nobody else's: workers
//! wait for none of their children, which become the driver's when their parent is dead.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process, set_child_subreaper, wait, waitpid,
};

use crate::engine_inspection::EngineView;
use crate::shared_state::{Seat, SharedState, Stage, WORKERS};
use crate::statistics::{Situation, Statistics};
use crate::unsafe_calls;
use crate::watch::{Outcome, Watch, wrong};

/// What is waited for comes within this time, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Processes {
    pub(crate) shared_state: &'static SharedState,
    file: OwnedFd,
    pub(crate) watch: Watch,
    pub(crate) statistics: Statistics,
    /// The seats of the workers, by pid.
    living: BTreeMap<u32, usize>,
    stopped: Vec<u32>,
    /// What operations would have added that somebody was killed in.
    pub(crate) doubts: Vec<i32>,
    pub(crate) engine_views: Vec<EngineView>,
    /// Whether workers may leave by themselves.
    pub(crate) may_leave: bool,
}

impl Processes {
    pub(crate) fn new() -> std::io::Result<Self> {
        // not closed by exec: workers find the shared state by its number
        let file = memfd_create("chaos", MemfdFlags::empty())?;
        ftruncate(&file, size_of::<SharedState>() as u64)?;
        let shared_state = unsafe_calls::map_shared_state(file.as_raw_fd())?;
        shared_state.driver.store(std::process::id(), SeqCst);
        // the first process of a PID namespace has the orphans anyway (qemu cannot make it so)
        if std::process::id() != 1 {
            set_child_subreaper(Some(rustix::process::getpid()))?;
        }
        Ok(Self {
            shared_state,
            file,
            watch: Watch::start(shared_state)?,
            statistics: Statistics::default(),
            living: BTreeMap::new(),
            stopped: Vec::new(),
            doubts: Vec::new(),
            engine_views: Vec::new(),
            may_leave: false,
        })
    }

    /// Starts a worker in a free seat; its pid.
    pub(crate) fn start(&mut self, number: usize, threads: u32, doom: u32, seed: u64) -> Outcome<u32> {
        let seat = &self.shared_state.seats[number];
        seat.threads.store(if seat.amount.load(SeqCst) > 0 { 1 } else { threads }, SeqCst);
        seat.doom.store(doom, SeqCst);
        seat.seed.store(seed, SeqCst);
        seat.hands[0].set_stage(Stage::Starting);
        let mut program = Command::new("/proc/self/exe");
        program.args(["play", &self.file.as_raw_fd().to_string(), &number.to_string()]);
        match program.spawn() {
            Ok(child) => {
                seat.pid.store(child.id(), SeqCst);
                self.living.insert(child.id(), number);
                Ok(child.id())
            }
            Err(error) => wrong(format!("a process cannot be started: {error}")),
        }
    }

    pub(crate) fn is_taken(&self, number: usize) -> bool {
        self.living.values().any(|taken| *taken == number)
    }

    pub(crate) fn is_worker(&self, pid: u32) -> bool {
        self.living.contains_key(&pid)
    }

    /// The workers, with their seats.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (u32, &'static Seat)> {
        let shared_state = self.shared_state;
        self.living.iter().map(move |(pid, number)| (*pid, &shared_state.seats[*number]))
    }

    /// The workers that have opened something.
    pub(crate) fn ready(&self) -> Vec<u32> {
        self.workers().filter(|(_, seat)| seat.is_ready()).map(|(pid, _)| pid).collect()
    }

    /// The children of workers, of which some may be dead.
    pub(crate) fn children(&self) -> Vec<u32> {
        self.shared_state
            .children()
            .iter()
            .map(|seat| seat.pid.load(SeqCst))
            .filter(|pid| *pid != 0)
            .collect()
    }

    /// Kills all these at once, and buries those that are workers.
    pub(crate) fn kill(&mut self, pids: &[u32]) -> Outcome {
        pids.iter().for_each(|pid| signal(*pid, Signal::KILL));
        self.reap(pids)
    }

    pub(crate) fn reap(&mut self, pids: &[u32]) -> Outcome {
        for pid in pids {
            // one may be in there twice
            if self.is_worker(*pid)
                && let Some((pid, status)) = wait_for_one(*pid, WaitOptions::empty())?
            {
                self.note(pid, status)?;
            }
        }
        Ok(())
    }

    /// Stops all these, and waits until they are.
    pub(crate) fn stop(&mut self, pids: &[u32]) -> Outcome {
        pids.iter().for_each(|pid| signal(*pid, Signal::STOP));
        pids.iter().try_for_each(|pid| self.until_stopped(*pid))
    }

    fn until_stopped(&mut self, pid: u32) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match wait_for_one(pid, WaitOptions::UNTRACED | WaitOptions::NOHANG)? {
                Some((pid, status)) if status.stopped() => {
                    self.stopped.push(pid);
                    return Ok(());
                }
                Some((pid, status)) => return self.note(pid, status),
                None => {}
            }
            self.watch.check()?;
            thread::sleep(Duration::from_micros(50));
            // the kernel loses it if a thread becomes another program just then
            signal(pid, Signal::STOP);
        }
        wrong(format!("process {pid} cannot be stopped"))
    }

    /// Lets all go on that are stopped.
    pub(crate) fn let_go_on(&mut self) {
        self.stopped.drain(..).for_each(|pid| signal(pid, Signal::CONT));
    }

    /// Those that are stopped.
    pub(crate) fn stopped(&self) -> Vec<(u32, &'static Seat)> {
        self.workers().filter(|(pid, _)| self.stopped.contains(pid)).collect()
    }

    /// Buries whoever has died meanwhile; tells whether anybody is left.
    pub(crate) fn reap_dead(&mut self) -> Outcome<bool> {
        loop {
            match retry_on_intr(|| wait(WaitOptions::NOHANG)) {
                Ok(Some((pid, status))) => self.note(number(pid), status)?,
                Ok(None) => return Ok(true),
                Err(Errno::CHILD) => return Ok(false),
                Err(errno) => return wrong(format!("wait: {errno}")),
            }
        }
    }

    /// Waits until nobody is left; `kills` those children that it sees.
    pub(crate) fn until_nobody_is_left(&mut self, kills: bool) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while self.reap_dead()? {
            self.watch.check()?;
            if kills {
                self.children().into_iter().for_each(|pid| signal(pid, Signal::KILL));
            }
            if Instant::now() > deadline {
                return wrong(format!("these did not get through in {PATIENCE:?}:\n{}", self.describe()));
            }
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// Waits for something that the workers do.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.watch.check()?;
            self.reap_dead()?;
            if Instant::now() > deadline {
                return wrong(format!("in {PATIENCE:?} it did not happen that {what}:\n{}", self.describe()));
            }
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// Notes that somebody has ended, and how.
    fn note(&mut self, pid: u32, status: WaitStatus) -> Outcome {
        self.stopped.retain(|stopped| *stopped != pid);
        let worker = self.living.remove(&pid);
        let child = || self.shared_state.children().iter().position(|seat| seat.pid.load(SeqCst) == pid);
        // a child that died before it took a seat
        let Some(number) = worker.or_else(|| child().map(|child| WORKERS + child)) else { return Ok(()) };
        let seat = &self.shared_state.seats[number];
        let text = seat.to_string();
        if status.terminating_signal() == Some(Signal::KILL.as_raw()) {
            self.count(pid, seat, worker.is_none());
        }
        self.settle(seat);
        seat.clear();
        match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) if signal == Signal::KILL.as_raw() => Ok(()),
            (_, Some(0)) if self.may_leave || worker.is_none() => Ok(()),
            _ => {
                self.watch.check()?;
                wrong(format!("a process ended by itself ({status:?}): {text}"))
            }
        }
    }

    fn count(&mut self, pid: u32, seat: &Seat, is_child: bool) {
        let was_recovering =
            self.engine_views.iter().any(|inside| inside.recoverers().any(|recoverer| recoverer == pid));
        let situation = if was_recovering { Situation::Recovering } else { Situation::At(seat.stage()) };
        self.statistics.count(situation);
        self.statistics.held_permits += u64::from(seat.hands.iter().any(|hand| hand.holds() > 0));
        self.statistics.children += u64::from(is_child);
    }

    /// Who was killed while it created or forgot permits has done so or not. Its successor does nothing of the kind, so that
    /// there are few such doubts before a quiet point.
    fn settle(&mut self, seat: &Seat) {
        let (balance, under_way) = seat.ledger.read();
        if under_way != 0 {
            self.doubts.push(under_way);
            seat.ledger.write(balance, 0);
            seat.amount.store(0, SeqCst);
        }
    }

    /// Who is there.
    pub(crate) fn describe(&self) -> String {
        let seats = self.shared_state.seats.iter().filter(|seat| seat.stage() != Stage::Absent);
        seats.map(|seat| format!("  {seat}\n")).collect()
    }

    /// Ends everybody, whatever has happened.
    pub(crate) fn end_all(&mut self) {
        self.shared_state.over.store(1, SeqCst);
        self.may_leave = true;
        self.living.keys().for_each(|pid| signal(*pid, Signal::KILL));
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.children().into_iter().for_each(|pid| signal(pid, Signal::KILL));
            // what is wrong now is no news
            if let Ok(false) = self.reap_dead() {
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("it is a pid");
    // it fails only for one that is dead
    let _ = kill_process(pid, signal);
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get() as u32
}

fn wait_for_one(pid: u32, options: WaitOptions) -> Outcome<Option<(u32, WaitStatus)>> {
    match retry_on_intr(|| waitpid(Pid::from_raw(pid as i32), options)) {
        Ok(found) => Ok(found.map(|(pid, status)| (number(pid), status))),
        Err(errno) => wrong(format!("waitpid {pid}: {errno}")),
    }
}
