//! A round: some processes, some twenty kills, and then a quiet point at which the books are checked.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;
use system_semaphore::{AccessMode, SystemSemaphore};
use test_support::robust_file::path_of;

use crate::engine_inspection::EngineView;
use crate::processes::{Processes, signal};
use crate::scene::{Scene, key, name};
use crate::shared_state::{Seat, Stage, WORKERS};
use crate::watch::{Outcome, wrong};

/// How many kills there are between two quiet points, or a few more.
const KILLS: u64 = 20;
/// What two of the workers create and forget at once. Others take at most three, so one permit too many or too few cannot be
/// taken for one of these operations that has happened or not.
const AMOUNTS: [u32; 2] = [4, 9];
/// How many die at once with many permits each, and how many die while they give those back.
const HOLDERS: u32 = 8;
const HEIRS: usize = 12;
/// The longest that is waited for a situation to kill somebody in.
const MOMENT: Duration = Duration::from_millis(1);

pub(crate) struct Round<'a> {
    pub(crate) processes: &'a mut Processes,
    pub(crate) scene: Scene,
    /// The semaphores have no user but the workers.
    away: bool,
    pub(crate) permits: u32,
    pub(crate) semaphores: usize,
    workers: usize,
    pub(crate) handles: Vec<SystemSemaphore>,
    random: Rng,
    seed: u64,
    attacks: u64,
    /// What was done last.
    history: VecDeque<String>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(processes: &'a mut Processes, seed: u64, round: u64, workers: usize) -> Self {
        let seed = Rng::with_seed(seed ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15)).u64(..);
        let mut random = Rng::with_seed(seed);
        let scene = match random.u8(..20) {
            0..9 => Scene::Crowd,
            9..11 => Scene::Resets,
            11..14 => Scene::Visitors,
            14..17 => Scene::Graves,
            _ => Scene::Queue,
        };
        let is_crowd = scene == Scene::Crowd;
        let permits = match scene {
            Scene::Visitors => [1, 1, 3][random.usize(..3)],
            Scene::Graves => HOLDERS * random.u32(16..25),
            Scene::Queue => random.u32(1..=workers as u32),
            _ => random.u32(1..6),
        };
        Self {
            processes,
            scene,
            away: is_crowd && random.u8(..4) == 0,
            permits,
            semaphores: if matches!(scene, Scene::Crowd | Scene::Resets) { random.usize(1..3) } else { 1 },
            workers,
            handles: Vec::new(),
            random,
            seed,
            attacks: 0,
            history: VecDeque::new(),
        }
    }

    /// Plays it. An error says what was wrong, and all that is known.
    pub(crate) fn play(&mut self) -> Outcome {
        self.processes.watch.next(format!("{:?}", self.scene));
        self.begin()?;
        let outcome = match self.scene {
            Scene::Queue => self.queue(),
            Scene::Graves => self.reap_many(),
            _ => self.shake(),
        };
        outcome.and_then(|()| self.end())
    }

    /// What to know of a round in which something was wrong.
    pub(crate) fn describe(&self) -> String {
        let Self { scene, permits, semaphores, away, .. } = self;
        let history: Vec<&str> = self.history.iter().map(String::as_str).collect();
        format!(
            "{scene:?}: {semaphores} semaphores of {permits} permits at first{}; the last attacks: {}\n{}",
            if *away { ", of which the driver is no user" } else { "" },
            history.join("; "),
            self.describe_permits()
        )
    }

    fn begin(&mut self) -> Outcome {
        let shared_state = self.processes.shared_state;
        shared_state.scene.store(self.scene as u32, SeqCst);
        shared_state.semaphores.store(self.semaphores as u32, SeqCst);
        shared_state.permits.store(self.permits, SeqCst);
        let families = self.scene == Scene::Crowd && self.random.u8(..3) > 0;
        shared_state.families.store(families.into(), SeqCst);
        shared_state.over.store(0, SeqCst);
        shared_state.is_time.store(0, SeqCst);
        shared_state.through.store(0, SeqCst);
        shared_state.late.store(0, SeqCst);
        shared_state.together.store(self.random.bool().into(), SeqCst);
        self.processes.may_leave = false;
        self.processes.doubts.clear();
        for seat in &shared_state.seats {
            seat.ledger.write(0, 0);
            seat.amount.store(0, SeqCst);
        }
        if self.scene == Scene::Visitors {
            return Ok(());
        }
        for semaphore in 0..self.semaphores {
            let builder = SystemSemaphore::builder(key(shared_state, semaphore)).initial_value(self.permits);
            let opened = builder.mode(AccessMode::CreateNew).persistent(self.away).build();
            let handle = opened.or_else(|error| wrong(format!("a new one cannot be made: {error:?}")))?;
            let inside = EngineView::open(&name(std::process::id(), semaphore), &handle);
            self.processes.engine_views.push(inside.or_else(wrong)?);
            self.handles.push(handle);
        }
        if self.away {
            self.handles.clear();
        }
        if self.scene == Scene::Crowd && self.random.bool() {
            for (seat, amount) in shared_state.seats.iter().zip(AMOUNTS) {
                seat.amount.store(amount, SeqCst);
            }
        }
        Ok(())
    }

    /// Kills and stops, until it is enough.
    fn shake(&mut self) -> Outcome {
        let enough = self.processes.statistics.kills + KILLS;
        self.fill()?;
        while self.processes.statistics.kills < enough {
            self.attacks += 1;
            // what is decided must not depend on how often something was decided before
            self.random = Rng::with_seed(self.seed.wrapping_add(self.attacks));
            self.attack()?;
            self.processes.reap_dead()?;
            self.processes.watch.check()?;
            if self.random.u8(..4) > 0 || self.processes.ready().len() < 2 {
                self.fill()?;
            }
        }
        self.finish()
    }

    /// Puts new workers in the places of the dead.
    fn fill(&mut self) -> Outcome {
        for number in 0..self.workers {
            if !self.processes.is_taken(number) {
                // an open takes microseconds, or milliseconds if it must wait for a processor
                let doom = if self.random.u8(..16) == 0 { self.power_of_two(5..14) } else { 0 };
                let (threads, seed) = ([1, 1, 2, 3][self.random.usize(..4)], self.random.u64(..));
                self.processes.start(number, threads, doom, seed)?;
            }
        }
        Ok(())
    }

    fn power_of_two(&mut self, exponents: std::ops::Range<u32>) -> u32 {
        1 << self.random.u32(exponents)
    }

    fn attack(&mut self) -> Outcome {
        let kind = self.random.u8(..20);
        let attack = match kind {
            0..7 => self.kill_anybody()?,
            7..12 => self.kill_in_a_situation()?,
            12..14 => self.kill_several()?,
            14..16 => self.freeze()?,
            16..18 => self.ambush()?,
            _ => self.stop_some()?,
        };
        self.history.push_back(attack);
        if self.history.len() > 12 {
            self.history.pop_front();
        }
        Ok(())
    }

    fn pause(&mut self) {
        match self.random.u8(..4) {
            0 => {}
            1 => (0..self.random.u32(..5000)).for_each(|_| std::hint::spin_loop()),
            2 => thread::sleep(Duration::from_micros(self.random.u64(..500))),
            _ => thread::sleep(Duration::from_micros(self.random.u64(..3000))),
        }
    }

    /// Some of these, in any order.
    fn some(&mut self, mut pids: Vec<u32>, most: usize) -> Vec<u32> {
        self.random.shuffle(&mut pids);
        pids.truncate(1 + self.random.usize(..most));
        pids
    }

    fn kill_anybody(&mut self) -> Outcome<String> {
        self.pause();
        let children = self.processes.children();
        let pids =
            if !children.is_empty() && self.random.u8(..4) == 0 { children } else { self.processes.ready() };
        let pids = self.some(pids, 1);
        self.processes.kill(&pids)?;
        Ok(format!("killed {pids:?}"))
    }

    /// Kills the first that comes into a situation.
    fn kill_in_a_situation(&mut self) -> Outcome<String> {
        let wanted = [
            Stage::Acquiring,
            Stage::Asleep,
            Stage::Holding,
            Stage::GivingBack,
            Stage::Becoming,
            Stage::Closing,
            Stage::Opening,
            Stage::Minting,
            Stage::Resetting,
        ][self.random.usize(..9)];
        let deadline = Instant::now() + MOMENT;
        while Instant::now() < deadline {
            let found = self.processes.workers().find(|(_, seat)| seat.stage() == wanted);
            if let Some((pid, _)) = found {
                (0..self.random.u32(..300)).for_each(|_| std::hint::spin_loop());
                self.processes.kill(&[pid])?;
                return Ok(format!("killed {pid} when it was {wanted:?}"));
            }
        }
        Ok(format!("saw nobody {wanted:?}"))
    }

    /// Kills several, one right after the other.
    fn kill_several(&mut self) -> Outcome<String> {
        let ready = self.processes.ready();
        let all = ready.len().max(1);
        let most = [2, 3, all][self.random.usize(..3)];
        let pids = self.some(ready, most);
        for pid in &pids {
            signal(*pid, Signal::KILL);
            (0..[0, self.random.u32(..1000)][self.random.usize(..2)]).for_each(|_| std::hint::spin_loop());
        }
        self.processes.reap(&pids)?;
        Ok(format!("killed {pids:?} at once"))
    }

    /// Stops everybody wherever they are, adds up what they hold, and kills some.
    fn freeze(&mut self) -> Outcome<String> {
        let pids: Vec<u32> = self.processes.workers().map(|(pid, _)| pid).collect();
        self.processes.stop(&pids)?;
        self.check_frozen()?;
        let stopped: Vec<u32> = self.processes.stopped().iter().map(|(pid, _)| *pid).collect();
        let kills = if self.random.bool() { self.some(stopped, 3) } else { Vec::new() };
        kills.iter().for_each(|pid| signal(*pid, Signal::KILL));
        if self.random.bool() {
            self.processes.let_go_on();
        }
        self.processes.statistics.stopped += kills.len() as u64;
        self.processes.reap(&kills)?;
        self.processes.let_go_on();
        Ok(format!("stopped all, of which it killed {kills:?}"))
    }

    /// Kills who holds, and then who gives back what those held, and who does so after that.
    fn ambush(&mut self) -> Outcome<String> {
        let mut holders = Vec::new();
        let deadline = Instant::now() + MOMENT;
        while holders.is_empty() && Instant::now() < deadline {
            let holding =
                self.processes.workers().filter(|(_, seat)| (0..2).any(|number| seat.holds_of(number) > 0));
            holders = holding.map(|(pid, _)| pid).collect();
        }
        if holders.is_empty() {
            return Ok("saw no holder".to_owned());
        }
        let most = [2, self.workers][self.random.usize(..2)];
        let holders = self.some(holders, most);
        holders.iter().for_each(|pid| signal(*pid, Signal::KILL));
        // who comes next recovers all of them
        if self.random.bool() {
            self.processes.reap(&holders)?;
            self.fill()?;
        }
        let caught = self.kill_recoverers(2)?;
        self.processes.reap(&holders)?;
        Ok(format!("killed {holders:?} and their recoverers {caught:?}"))
    }

    /// Kills who is just giving back what dead processes held. (Where only one was dead, it has mostly done so before it is hit.)
    fn kill_recoverers(&mut self, most: usize) -> Outcome<Vec<u32>> {
        let mut caught = Vec::new();
        let deadline = Instant::now() + 4 * MOMENT;
        while caught.len() < most && Instant::now() < deadline {
            let recoverers = self.processes.engine_views.iter().flat_map(EngineView::recoverers);
            let prey: Vec<u32> = recoverers.filter(|pid| self.processes.is_worker(*pid)).collect();
            self.processes.kill(&prey)?;
            caught.extend(prey);
        }
        Ok(caught)
    }

    /// Stops some for a while, in which the others go on, or not.
    fn stop_some(&mut self) -> Outcome<String> {
        let ready = self.processes.ready();
        let pids = self.some(ready, 3);
        self.processes.stop(&pids)?;
        self.processes.statistics.stops += pids.len() as u64;
        self.pause();
        let ready = self.processes.ready();
        let kills = self.some(ready, 1);
        self.processes.kill(&kills)?;
        self.pause();
        self.processes.let_go_on();
        Ok(format!("stopped {pids:?} and meanwhile killed {kills:?}"))
    }

    /// Ends the round for all: killed, or when they have finished what they do, so everybody who waits has to get through.
    fn finish(&mut self) -> Outcome {
        let ready = self.processes.ready();
        let kills = match self.random.u8(..3) {
            0 => ready,
            1 => Vec::new(),
            _ => self.some(ready, self.workers),
        };
        let is_end_of_all = kills.len() == self.workers;
        self.processes.may_leave = true;
        kills.iter().for_each(|pid| signal(*pid, Signal::KILL));
        self.processes.shared_state.over.store(1, SeqCst);
        self.processes.reap(&kills)?;
        self.history.push_back(format!("killed {kills:?} and told the others to finish"));
        self.processes.until_nobody_is_left(is_end_of_all)
    }

    /// Some hold all there is, the others are asleep; then the first are killed, with some of the others, and everybody else
    /// has to get through.
    fn queue(&mut self) -> Outcome {
        let shared_state = self.processes.shared_state;
        let most = self.workers.div_ceil(3).min(self.permits as usize);
        let holders = if self.random.bool() { 1 } else { self.random.usize(1..=most) };
        for (number, seat) in shared_state.seats[..holders].iter().enumerate() {
            let share = if number == 0 { self.permits - (holders as u32 - 1) } else { 1 };
            seat.amount.store(share, SeqCst);
            self.processes.start(number, 1, 0, 0)?;
        }
        self.until_all_hold()?;
        let first: Vec<u32> = self.processes.workers().map(|(pid, _)| pid).collect();
        // from here on, who gets through may leave
        self.processes.may_leave = true;
        for number in holders..self.workers {
            let (threads, seed) = ([1, 1, 1, 3][self.random.usize(..4)], self.random.u64(..));
            self.processes.start(number, threads, 0, seed)?;
        }
        self.processes.until("all others are asleep", |processes| {
            let is_asleep = |seat: &Seat| {
                let threads = seat.threads.load(SeqCst) as usize;
                seat.hands[..threads].iter().all(|hand| hand.naps.load(SeqCst) >= 2)
            };
            processes.workers().all(|(pid, seat)| first.contains(&pid) || is_asleep(seat))
        })?;
        let waiters: Vec<u32> =
            self.processes.ready().into_iter().filter(|pid| !first.contains(pid)).collect();
        let most = waiters.len().max(2) / 2;
        let mut kills = if self.random.bool() { self.some(waiters, most) } else { Vec::new() };
        if shared_state.together.load(SeqCst) > 0 {
            let lives =
                self.processes.workers().filter(|(pid, _)| !first.contains(pid) && !kills.contains(pid));
            let threads: u32 = lives.map(|(_, seat)| seat.threads.load(SeqCst)).sum();
            shared_state.together.store(threads.min(self.permits).into(), SeqCst);
        }
        kills.extend(first);
        self.random.shuffle(&mut kills);
        for pid in &kills {
            signal(*pid, Signal::KILL);
            (0..self.random.u32(..500)).for_each(|_| std::hint::spin_loop());
        }
        self.history.push_back(format!("killed the holders and some waiters {kills:?}"));
        self.processes.until_nobody_is_left(false)?;
        self.check_punctuality()
    }

    /// Many die at once with permits, and those who come next and recover them die in that, again and again.
    fn reap_many(&mut self) -> Outcome {
        let shared_state = self.processes.shared_state;
        let holders = HOLDERS as usize;
        for (number, seat) in shared_state.seats[..holders].iter().enumerate() {
            seat.amount.store(self.permits / HOLDERS, SeqCst);
            self.processes.start(number, 1, 0, 0)?;
        }
        self.until_all_hold()?;
        let dead = self.processes.ready();
        let mut heirs = Vec::new();
        for number in holders..holders + HEIRS {
            let doom = self.power_of_two(5..10);
            heirs.push(self.processes.start(number, 1, doom, self.random.u64(..))?);
        }
        self.processes.until("the heirs are ready", |processes| {
            processes.workers().all(|(_, seat)| matches!(seat.stage(), Stage::Holding | Stage::Idle))
        })?;
        self.processes.kill(&dead)?;
        shared_state.is_time.store(1, SeqCst);
        self.processes.reap(&heirs)?;
        self.history.push_back(format!("killed {holders} holders, then {HEIRS} of their heirs"));
        shared_state.seats.iter().for_each(|seat| seat.amount.store(0, SeqCst));
        self.fill()?;
        self.finish()
    }

    fn until_all_hold(&mut self) -> Outcome {
        self.processes.until("some hold all", |processes| {
            processes.workers().all(|(_, seat)| seat.stage() == Stage::Holding)
        })
    }

    fn end(&mut self) -> Outcome {
        self.check_permits()?;
        let shared_state = self.processes.shared_state;
        self.processes.engine_views.clear();
        self.handles.clear();
        for semaphore in 0..self.semaphores {
            if self.away {
                SystemSemaphore::remove(key(shared_state, semaphore))
                    .or_else(|error| wrong(format!("it cannot be removed: {error:?}")))?;
            }
            let path = path_of(&name(std::process::id(), semaphore));
            if path.exists() {
                return wrong(format!("{} is left though its last user has closed it", path.display()));
            }
        }
        let scene = format!("{:?}{}", self.scene, if self.away { " without the driver" } else { "" });
        *self.processes.statistics.rounds.entry(scene).or_default() += 1;
        self.processes.statistics.quiet += 1;
        self.processes.statistics.quiet_with_doubt += u64::from(!self.processes.doubts.is_empty());
        Ok(())
    }
}

const _: () = assert!(HOLDERS as usize + HEIRS <= WORKERS);
