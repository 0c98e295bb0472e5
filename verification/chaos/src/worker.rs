//! What the processes do that are to be killed.
//!
//! Nobody holds a permit while it waits without a bound, so everybody gets through in the end.

use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use system_semaphore::{
    AccessMode, Error, ErrorKind, InheritablePermit, OwnedPermit, Permit, SystemSemaphore,
};

use crate::board::{Board, Hand, Seat, Stage, WORKERS};
use crate::room;
use crate::scene::{Scene, key};

type Step<T = ()> = Result<T, Error>;

/// The longest wait of who holds something.
const BOUND: Duration = Duration::from_millis(3);
/// No sleep of a waiter is longer, whatever wakes it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// The most steps that a child makes.
const LIFE: u32 = 40;

/// Permits that came with the program, of the first semaphore.
pub(crate) struct Inherited {
    pub(crate) descriptor: RawFd,
    pub(crate) count: u32,
}

/// Plays the worker of a seat, or a child that has become this program.
pub(crate) fn play(file: RawFd, number: usize, inherited: Option<Inherited>) -> ! {
    let board = room::map_board(file).expect("the driver has made the board");
    let seat = &board.seats[number];
    let driver = board.driver.load(SeqCst);
    let is_child = number >= WORKERS;
    if !is_child {
        set_parent_process_death_signal(Some(Signal::KILL)).expect("a process may ask for that");
        if parent() != driver {
            room::exit_at_once(0);
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        board.complain(&panic.to_string());
        room::exit_at_once(1)
    }));
    let me = Myself { board, file, number, seat, driver, is_child };
    me.begin(inherited.as_ref());
    let threads = if is_child || inherited.is_some() { 1 } else { seat.threads.load(SeqCst) as usize };
    let mut inherited = inherited.map(|inherited| (room::adopt(inherited.descriptor), inherited.count));
    thread::scope(|scope| {
        for number in 1..threads {
            // the system may have no room for a moment
            while thread::Builder::new().spawn_scoped(scope, move || me.perform(number, None)).is_err() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        me.perform(0, inherited.take());
    });
    room::exit_at_once(0)
}

fn parent() -> u32 {
    getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32)
}

/// Which process this is.
#[derive(Clone, Copy)]
struct Myself {
    board: &'static Board,
    file: RawFd,
    number: usize,
    seat: &'static Seat,
    driver: u32,
    is_child: bool,
}

impl Myself {
    fn begin(self, inherited: Option<&Inherited>) {
        for hand in &self.seat.hands {
            hand.held.iter().for_each(|held| held.store(0, SeqCst));
            hand.set_stage(Stage::Absent);
        }
        let first = &self.seat.hands[0];
        first.set_stage(Stage::Starting);
        first.held[0].store(inherited.map_or(0, |inherited| inherited.count), SeqCst);
        self.seat.is_leaving.store(0, SeqCst);
    }

    fn perform(self, thread: usize, inherited: Option<(OwnedFd, u32)>) {
        let mut random = Rng::with_seed(self.seat.seed.load(SeqCst).wrapping_add(thread as u64));
        let is_hasty = random.u8(..4) == 0;
        let fuse = (random.bool() && !self.is_child).then(|| random.u32(..if is_hasty { 1500 } else { 30 }));
        let mut actor = Actor {
            me: self,
            hand: &self.seat.hands[thread],
            random,
            semaphores: Vec::new(),
            guards: Vec::new(),
            inherited,
            is_alone: self.is_child || self.seat.threads.load(SeqCst) == 1,
            is_hasty,
            fuse,
        };
        if let Err(error) = actor.play() {
            self.board.complain(&format!("{error:?} in {}", self.seat));
            room::exit_at_once(1);
        }
    }
}

/// A thread.
struct Actor {
    me: Myself,
    hand: &'static Hand,
    random: Rng,
    semaphores: Vec<SystemSemaphore>,
    /// With the number of the semaphore.
    guards: Vec<(usize, OwnedPermit)>,
    inherited: Option<(OwnedFd, u32)>,
    /// Whether the process has no other thread.
    is_alone: bool,
    /// Whether it never takes a rest, so that it is nearly always in the middle of something.
    is_hasty: bool,
    /// After so many steps it has the kernel kill it.
    fuse: Option<u32>,
}

impl Actor {
    fn play(&mut self) -> Step {
        let scene = Scene::of(self.me.board);
        let doom = self.me.seat.doom.swap(0, SeqCst);
        if doom > 0 && scene == Scene::Graves {
            return self.inherit_and_die(doom);
        }
        if doom > 0 {
            self.die_within(doom);
        }
        match scene {
            Scene::Visitors => self.visit_again_and_again(),
            Scene::Queue | Scene::Graves if self.me.seat.amount.load(SeqCst) > 0 => self.take_and_keep(),
            Scene::Queue => self.queue(),
            Scene::Graves | Scene::Crowd | Scene::Resets => self.work(),
        }
    }

    fn die_within(&mut self, microseconds: u32) {
        room::die_in(Duration::from_nanos(self.random.u64(..1000 * u64::from(microseconds))));
    }

    /// Counts down to where this process is killed, at a random moment of its last steps.
    fn burn(&mut self) -> Step {
        match self.fuse {
            Some(0) => {
                self.fuse = None;
                self.is_hasty = true;
                let most = [3, 30, 300][self.random.usize(..3)];
                self.die_within(most);
                if !self.semaphores.is_empty() && self.random.u8(..4) > 0 {
                    self.hammer()?;
                }
            }
            Some(steps) => self.fuse = Some(steps - 1),
            None => {}
        }
        Ok(())
    }

    /// Does nothing but operations until it is killed, so that it is killed in one.
    fn hammer(&mut self) -> Step {
        let semaphore = self.random.usize(..self.semaphores.len());
        let (handle, count) = (self.handle(semaphore), self.count());
        let holds = Scene::of(self.me.board) != Scene::Resets && self.random.bool();
        if self.mints() {
            loop {
                self.mint()?;
            }
        }
        self.hand.set_stage(Stage::Hammering);
        loop {
            match handle.try_acquire_many(count) {
                Ok(permit) if holds => {
                    permit.hold();
                    handle.release(count)?;
                }
                Ok(permit) => drop(permit),
                Err(error) if is_none(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn mints(&self) -> bool {
        !self.me.is_child && self.me.seat.amount.load(SeqCst) > 0
    }

    fn work(&mut self) -> Step {
        self.hand.set_stage(Stage::Opening);
        for semaphore in 0..self.me.board.semaphores.load(SeqCst) as usize {
            let key = key(self.me.board, semaphore);
            let opened = loop {
                match SystemSemaphore::new(&key, 0, AccessMode::OpenExisting) {
                    // one that is stopped is in the way
                    Err(error) if error.kind() == ErrorKind::TimedOut => {}
                    outcome => break outcome?,
                }
            };
            self.semaphores.push(opened);
        }
        let steps = if self.me.is_child { self.random.u32(..LIFE) } else { u32::MAX };
        self.steps(steps)?;
        self.give_all_back();
        self.hand.set_stage(Stage::Closing);
        self.semaphores.clear();
        Ok(())
    }

    fn steps(&mut self, steps: u32) -> Step {
        for _ in 0..steps {
            if self.is_over() {
                break;
            }
            self.step()?;
        }
        Ok(())
    }

    /// Whether it is time to leave. A child outlives its parent, but not the driver.
    fn is_over(&self) -> bool {
        self.me.board.is_over() || self.me.is_child && !self.is_looked_after()
    }

    fn is_looked_after(&self) -> bool {
        let workers = &self.me.board.seats[..WORKERS];
        let parent = parent();
        parent == self.me.driver || workers.iter().any(|seat| seat.pid.load(SeqCst) == parent)
    }

    fn step(&mut self) -> Step {
        self.burn()?;
        let semaphore = self.random.usize(..self.semaphores.len());
        let resets = Scene::of(self.me.board) == Scene::Resets;
        let mints = self.mints();
        match self.random.u32(..20) {
            0..=3 if mints => self.mint()?,
            0..=5 => self.visit(semaphore)?,
            6..=8 => self.try_it(semaphore)?,
            9 | 10 => self.keep(semaphore)?,
            11 => self.split_and_merge(semaphore)?,
            // what was voided by a reset would be created anew
            12 if !resets => self.hold_and_release(semaphore)?,
            13 => self.open_another(semaphore)?,
            14 => self.ask(semaphore)?,
            15 if resets => self.reset(semaphore)?,
            17 if !self.me.is_child && self.me.board.families.load(SeqCst) != 0 => self.found_family()?,
            _ => self.visit(semaphore)?,
        }
        if self.guards.len() > 1 || self.random.bool() {
            self.give_all_back();
        }
        if self.random.u8(..16) == 0 {
            self.inherited.take().into_iter().for_each(|(descriptor, count)| {
                self.holds_less(0, count);
                drop(descriptor);
            });
        }
        self.hand.set_stage(Stage::Idle);
        self.nap();
        Ok(())
    }

    /// Lets a moment pass, or not.
    fn nap(&mut self) {
        if self.is_hasty {
            return;
        }
        match self.random.u8(..8) {
            0..=3 => {}
            4 => (0..self.random.u32(..2000)).for_each(|_| std::hint::spin_loop()),
            5 => thread::yield_now(),
            6 => thread::sleep(Duration::from_micros(self.random.u64(..300))),
            _ => thread::sleep(Duration::from_micros(self.random.u64(..2000))),
        }
    }

    fn count(&mut self) -> u32 {
        let most = self.me.board.permits.load(SeqCst).min(3);
        if self.random.bool() { 1 } else { 1 + self.random.u32(..most) }
    }

    fn holds_more(&self, semaphore: usize, count: u32) {
        self.hand.held[semaphore].fetch_add(count, SeqCst);
    }

    fn holds_less(&self, semaphore: usize, count: u32) {
        self.hand.held[semaphore].fetch_sub(count, SeqCst);
    }

    /// A handle that does not borrow this.
    fn handle(&self, semaphore: usize) -> SystemSemaphore {
        self.semaphores[semaphore].clone()
    }

    /// Acquires in one of the ways that there are; without a bound only if nothing is held.
    fn acquire<'a>(
        &mut self,
        handle: &'a SystemSemaphore,
        semaphore: usize,
        count: u32,
    ) -> Step<Option<Permit<'a>>> {
        self.hand.set_stage(Stage::Acquiring);
        let may_wait_for_ever = self.guards.is_empty() && self.inherited.is_none() && !self.me.is_child;
        let bound = BOUND.mul_f32(self.random.f32());
        let gives_up = self.random.u8(..8) == 0;
        let hand = self.hand;
        let mut naps = 0;
        let mut asleep = || {
            hand.set_stage(Stage::Asleep);
            naps += 1;
            gives_up && naps > 1
        };
        let permit = match (self.random.u8(..3), may_wait_for_ever) {
            (0, true) if count == 1 => handle.acquire(),
            (0, true) => handle.acquire_many(count),
            (1, true) => handle.acquire_interruptible(count, None, &mut asleep),
            (2, _) => handle.acquire_interruptible(count, Some(Instant::now() + bound), &mut asleep),
            _ => handle.acquire_many_timeout(count, bound),
        };
        self.taken(semaphore, permit)
    }

    fn try_acquire<'a>(
        &mut self,
        handle: &'a SystemSemaphore,
        semaphore: usize,
        count: u32,
    ) -> Step<Option<Permit<'a>>> {
        self.hand.set_stage(Stage::Acquiring);
        self.taken(semaphore, handle.try_acquire_many(count))
    }

    fn taken<'a>(&self, semaphore: usize, outcome: Step<Permit<'a>>) -> Step<Option<Permit<'a>>> {
        match outcome {
            Ok(permit) => {
                self.holds_more(semaphore, permit.num_permits());
                self.hand.set_stage(Stage::Holding);
                Ok(Some(permit))
            }
            Err(error) if is_none(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn give_back(&mut self, semaphore: usize, permit: Permit<'_>) -> Step {
        self.hand.set_stage(Stage::GivingBack);
        self.holds_less(semaphore, permit.num_permits());
        if self.random.bool() {
            drop(permit);
            return Ok(());
        }
        permit.release()
    }

    fn give_all_back(&mut self) {
        for (semaphore, permit) in std::mem::take(&mut self.guards) {
            self.hand.set_stage(Stage::GivingBack);
            self.holds_less(semaphore, permit.num_permits());
            drop(permit);
        }
    }

    fn visit(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(permit) = self.acquire(&handle, semaphore, count)? {
            self.nap();
            self.give_back(semaphore, permit)?;
        }
        Ok(())
    }

    fn try_it(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(permit) = self.try_acquire(&handle, semaphore, count)? {
            self.give_back(semaphore, permit)?;
        }
        Ok(())
    }

    fn keep(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(permit) = self.acquire(&handle, semaphore, count)? {
            self.guards.push((semaphore, permit.into_owned()));
            self.nap();
        }
        Ok(())
    }

    fn split_and_merge(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(mut permit) = self.acquire(&handle, semaphore, count)? {
            let one = permit.split(1).expect("there is at least one");
            if permit.num_permits() == 0 || self.random.bool() {
                permit.merge(one).expect("they are of one acquire");
            } else {
                self.give_back(semaphore, one)?;
            }
            self.give_back(semaphore, permit)?;
        }
        Ok(())
    }

    fn hold_and_release(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(permit) = self.acquire(&handle, semaphore, count)? {
            permit.hold();
            self.nap();
            self.hand.set_stage(Stage::GivingBack);
            self.holds_less(semaphore, count);
            handle.release(count)?;
        }
        Ok(())
    }

    fn open_another(&mut self, semaphore: usize) -> Step {
        self.hand.set_stage(Stage::Opening);
        let opened = SystemSemaphore::new(key(self.me.board, semaphore), 0, AccessMode::OpenExisting);
        match opened {
            Ok(other) => {
                if let Some(permit) = self.try_acquire(&other, semaphore, 1)? {
                    self.give_back(semaphore, permit)?;
                }
                self.hand.set_stage(Stage::Closing);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn ask(&mut self, semaphore: usize) -> Step {
        self.hand.set_stage(Stage::Asking);
        let handle = &self.semaphores[semaphore];
        handle.available_permits()?;
        handle.holders()?;
        handle.waiting()?;
        handle.recoveries()?;
        Ok(())
    }

    fn reset(&mut self, semaphore: usize) -> Step {
        self.hand.set_stage(Stage::Resetting);
        let permits = self.me.board.permits.load(SeqCst);
        let builder = SystemSemaphore::builder(key(self.me.board, semaphore)).initial_value(permits);
        let opened = builder.mode(AccessMode::Create).max_permits(permits + self.random.u32(..4)).build();
        match opened {
            Err(error) if error.kind() != ErrorKind::TimedOut => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates permits of the first semaphore, or forgets as many as it has created, in one of the ways that there are.
    fn mint(&mut self) -> Step {
        let ledger = &self.me.seat.ledger;
        let (balance, _) = ledger.read();
        let amount = self.me.seat.amount.load(SeqCst);
        let handle = self.handle(0);
        if balance == 0 || balance < 4 * amount as i32 && self.random.bool() {
            let held = match self.random.bool() {
                true => self.try_acquire(&handle, 0, 1)?,
                false => None,
            };
            let count = held.map_or(0, |permit| {
                permit.hold();
                self.holds_less(0, 1);
                1
            });
            self.hand.set_stage(Stage::Minting);
            ledger.write(balance, amount as i32);
            if count > 0 {
                handle.release(count + amount)?;
            } else {
                handle.add_permits(amount)?;
            }
            ledger.write(balance + amount as i32, 0);
            return Ok(());
        }
        let permit = match self.is_hasty {
            true => self.try_acquire(&handle, 0, amount)?,
            false => self.acquire(&handle, 0, amount)?,
        };
        let Some(permit) = permit else { return Ok(()) };
        self.holds_less(0, amount);
        self.hand.set_stage(Stage::Minting);
        if self.random.bool() {
            ledger.write(balance, -(amount as i32));
            permit.forget()?;
        } else {
            permit.hold();
            ledger.write(balance, -(amount as i32));
            let forgotten = handle.forget_held(amount)?;
            assert_eq!(forgotten, amount, "what is held can be forgotten");
        }
        ledger.write(balance - amount as i32, 0);
        Ok(())
    }

    /// Forks, or becomes another program, with or without permits that follow.
    fn found_family(&mut self) -> Step {
        match self.random.u8(..16) {
            0..=3 => self.fork(None),
            4 => {
                let permit = self.inheritable()?;
                self.fork(permit)
            }
            5 if self.inherited.is_none() => {
                let permit = self.inheritable()?;
                self.become_another(permit)
            }
            _ => Ok(()),
        }
    }

    fn inheritable(&mut self) -> Step<Option<InheritablePermit>> {
        self.hand.set_stage(Stage::Acquiring);
        match self.semaphores[0].acquire_inheritable(1, Some(Instant::now() + BOUND)) {
            Ok(permit) => Ok(Some(permit)),
            Err(error) if is_none(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fork(&mut self, permit: Option<InheritablePermit>) -> Step {
        if self.me.board.children().iter().all(|seat| seat.pid.load(SeqCst) != 0) {
            return Ok(());
        }
        self.hand.set_stage(Stage::Forking);
        // if the system has no room there is no child
        if room::fork().unwrap_or(false) {
            self.live_as_child(permit);
        }
        drop(permit);
        Ok(())
    }

    fn become_another(&mut self, permit: Option<InheritablePermit>) -> Step {
        self.hand.set_stage(Stage::Becoming);
        self.me.seat.is_leaving.store(1, SeqCst);
        self.me.seat.seed.store(self.random.u64(..), SeqCst);
        let mut command = self.program();
        if let Some(permit) = &permit {
            use std::os::fd::{AsFd, AsRawFd};
            command.args([permit.as_fd().as_raw_fd().to_string(), permit.num_permits().to_string()]);
        }
        panic!("cannot become this program again: {}", command.exec());
    }

    fn program(&self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(["play", &self.me.file.to_string(), &self.me.number.to_string()]);
        command
    }

    /// What a forked child does with what it has inherited.
    fn live_as_child(&mut self, permit: Option<InheritablePermit>) -> ! {
        let pid = process::id();
        let is_free = |seat: &&Seat| seat.pid.compare_exchange(0, pid, SeqCst, SeqCst).is_ok();
        let children = self.me.board.children();
        let Some(number) = (0..children.len()).find(|number| is_free(&&children[*number])) else {
            room::exit_at_once(0)
        };
        let seat = &self.me.board.seats[WORKERS + number];
        seat.seed.store(self.random.u64(..), SeqCst);
        self.me = Myself { number: WORKERS + number, seat, is_child: true, ..self.me };
        self.hand = &seat.hands[0];
        self.me.begin(None);
        let outcome = self.live(permit);
        if let Err(error) = outcome {
            self.me.board.complain(&format!("{error:?} in the child {seat}"));
            room::exit_at_once(1);
        }
        room::exit_at_once(0)
    }

    fn live(&mut self, permit: Option<InheritablePermit>) -> Step {
        self.hand.set_stage(Stage::Idle);
        for (_, inherited) in std::mem::take(&mut self.guards) {
            if inherited.num_permits() != 0 {
                self.me.board.complain("a child has inherited permits");
            }
            if self.random.bool() {
                drop(inherited);
            } else {
                inherited.forget()?;
            }
        }
        // of its parent, which has it as well
        drop(self.inherited.take());
        if let Some(permit) = &permit {
            self.holds_more(0, permit.num_permits());
        }
        let steps = self.random.u32(..LIFE);
        self.steps(steps)?;
        if let Some(permit) = permit {
            self.holds_less(0, permit.num_permits());
            if self.random.bool() {
                drop(permit);
            } else {
                std::mem::forget(permit);
            }
        }
        self.me.seat.is_leaving.store(1, SeqCst);
        if self.random.u8(..3) == 0 && !self.is_over() {
            self.hand.set_stage(Stage::Becoming);
            panic!("cannot become this program again: {}", self.program().exec());
        }
        if self.random.bool() {
            self.guards.clear();
            self.semaphores.clear();
        }
        Ok(())
    }

    /// Opens, uses and closes, each time the first or the last or neither.
    fn visit_again_and_again(&mut self) -> Step {
        let permits = self.me.board.permits.load(SeqCst);
        while !self.is_over() {
            self.burn()?;
            self.hand.set_stage(Stage::Opening);
            let mode = if self.random.u8(..4) == 0 { AccessMode::OpenExisting } else { AccessMode::Open };
            match SystemSemaphore::new(key(self.me.board, 0), permits, mode) {
                Ok(opened) => self.semaphores.push(opened),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(error),
            }
            for _ in 0..self.random.u32(..4) {
                if permits == 1 { self.enter()? } else { self.visit(0)? }
            }
            self.hand.set_stage(Stage::Closing);
            self.semaphores.clear();
            self.hand.set_stage(Stage::Idle);
            self.nap();
        }
        Ok(())
    }

    /// Where there is one permit, whoever has it is alone.
    fn enter(&mut self) -> Step {
        let handle = self.handle(0);
        let Some(permit) = self.acquire(&handle, 0, 1)? else { return Ok(()) };
        // who was killed in there has left its mark
        let mark = self.random.u64(1..);
        self.me.board.inside.store(mark, SeqCst);
        self.nap();
        let found = self.me.board.inside.load(SeqCst);
        if found != mark {
            self.me.board.complain(&format!("two were inside with one permit: {}", self.me.seat));
        }
        self.give_back(0, permit)
    }

    /// Takes permits and keeps them until it is killed.
    fn take_and_keep(&mut self) -> Step {
        self.hand.set_stage(Stage::Opening);
        let handle = SystemSemaphore::new(key(self.me.board, 0), 0, AccessMode::OpenExisting)?;
        let share = self.me.seat.amount.load(SeqCst);
        let slots = if Scene::of(self.me.board) == Scene::Graves { share - 1 } else { 0 };
        let _permit = handle.acquire_many(share - slots)?;
        // each has a slot of its own
        let inheritable = (0..slots).map(|_| handle.acquire_inheritable(1, None));
        let _inheritable = inheritable.collect::<Result<Vec<_>, _>>()?;
        self.holds_more(0, share);
        self.hand.set_stage(Stage::Holding);
        loop {
            thread::park();
        }
    }

    /// Looks for the dead as soon as there are some, and is killed meanwhile.
    fn inherit_and_die(&mut self, microseconds: u32) -> Step {
        self.hand.set_stage(Stage::Opening);
        let handle = SystemSemaphore::new(key(self.me.board, 0), 0, AccessMode::OpenExisting)?;
        self.hand.set_stage(Stage::Idle);
        while self.me.board.is_time.load(SeqCst) == 0 {
            thread::sleep(Duration::from_micros(50));
        }
        self.hand.set_stage(Stage::Asking);
        self.die_within(microseconds);
        loop {
            handle.available_permits()?;
        }
    }

    /// Waits for a turn.
    fn queue(&mut self) -> Step {
        let permits = self.me.board.permits.load(SeqCst);
        self.hand.set_stage(Stage::Opening);
        let handle = SystemSemaphore::new(key(self.me.board, 0), 0, AccessMode::OpenExisting)?;
        let together = self.me.board.together.load(SeqCst) > 0;
        let count = if !together && self.random.u8(..4) == 0 { 1 + self.random.u32(..permits) } else { 1 };
        let hand = self.hand;
        let mut last_nap = Instant::now();
        let mut naps = || {
            hand.set_stage(Stage::Asleep);
            hand.naps.fetch_add(1, SeqCst);
            last_nap = Instant::now();
            false
        };
        let permit = handle.acquire_interruptible(count, None, &mut naps)?;
        self.holds_more(0, count);
        self.hand.set_stage(Stage::Holding);
        self.me.board.late.fetch_add((last_nap.elapsed() >= LONGEST_SLEEP).into(), SeqCst);
        self.me.board.through.fetch_add(1, SeqCst);
        while self.me.board.through.load(SeqCst) < self.me.board.together.load(SeqCst) {
            thread::sleep(Duration::from_micros(50));
        }
        self.nap();
        match self.random.u8(..3) {
            0 if self.is_alone => die(),
            1 if self.is_alone => room::exit_at_once(0),
            _ => self.give_back(0, permit)?,
        }
        self.hand.set_stage(Stage::Closing);
        Ok(())
    }
}

fn die() -> ! {
    let me: Pid = getpid();
    kill_process(me, Signal::KILL).expect("a process may kill itself");
    loop {
        thread::park();
    }
}

/// Whether the error only says that there was no permit to be had now, or that one who was stopped was in the way.
fn is_none(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::NoPermits | ErrorKind::Interrupted)
}
