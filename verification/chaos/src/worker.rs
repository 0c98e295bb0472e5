//! What the processes do that are to be killed.
//!
//! Nobody holds a permit while it waits without a bound, so everybody gets through in the end.

mod calls;
mod family;
mod roles;

use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use system_semaphore::{AccessMode, Error, ErrorKind, OwnedPermit, SystemSemaphore};

use crate::scene::{Scene, key};
use crate::shared_state::{Hand, Seat, SharedState, Stage, WORKERS};
use crate::unsafe_calls;

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
    let shared_state = unsafe_calls::map_shared_state(file).expect("the driver has made the shared_state");
    let seat = &shared_state.seats[number];
    let driver = shared_state.driver.load(SeqCst);
    let is_child = number >= WORKERS;
    if !is_child {
        set_parent_process_death_signal(Some(Signal::KILL)).expect("a process may ask for that");
        if parent() != driver {
            unsafe_calls::exit_at_once(0);
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        shared_state.complain(&panic.to_string());
        unsafe_calls::exit_at_once(1)
    }));
    let me = Myself { shared_state, file, number, seat, driver, is_child };
    me.begin(inherited.as_ref());
    let threads = if is_child || inherited.is_some() { 1 } else { seat.threads.load(SeqCst) as usize };
    let mut inherited =
        inherited.map(|inherited| (unsafe_calls::adopt(inherited.descriptor), inherited.count));
    thread::scope(|scope| {
        for number in 1..threads {
            // the system may have no room for a moment
            while thread::Builder::new().spawn_scoped(scope, move || me.perform(number, None)).is_err() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        me.perform(0, inherited.take());
    });
    unsafe_calls::exit_at_once(0)
}

fn parent() -> u32 {
    getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32)
}

/// Which process this is.
#[derive(Clone, Copy)]
struct Myself {
    shared_state: &'static SharedState,
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
            self.shared_state.complain(&format!("{error:?} in {}", self.seat));
            unsafe_calls::exit_at_once(1);
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
        let scene = Scene::of(self.me.shared_state);
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
        unsafe_calls::die_in(Duration::from_nanos(self.random.u64(..1000 * u64::from(microseconds))));
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
        let holds = Scene::of(self.me.shared_state) != Scene::Resets && self.random.bool();
        if self.mints() {
            loop {
                self.mint()?;
            }
        }
        self.hand.set_stage(Stage::Hammering);
        loop {
            match handle.try_acquire_many(count) {
                Ok(permit) if holds => {
                    permit.detach();
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
        for semaphore in 0..self.me.shared_state.semaphores.load(SeqCst) as usize {
            let key = key(self.me.shared_state, semaphore);
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
        self.me.shared_state.is_over() || self.me.is_child && !self.is_attended()
    }

    fn is_attended(&self) -> bool {
        let workers = &self.me.shared_state.seats[..WORKERS];
        let parent = parent();
        parent == self.me.driver || workers.iter().any(|seat| seat.pid.load(SeqCst) == parent)
    }

    fn step(&mut self) -> Step {
        self.burn()?;
        let semaphore = self.random.usize(..self.semaphores.len());
        let resets = Scene::of(self.me.shared_state) == Scene::Resets;
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
            17 if !self.me.is_child && self.me.shared_state.families.load(SeqCst) != 0 => {
                self.found_family()?;
            }
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
}

/// Whether the error only says that there was no permit to be had now, or that one who was stopped was in the way.
fn is_none(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::NoPermits | ErrorKind::Interrupted)
}
