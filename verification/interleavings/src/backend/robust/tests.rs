//! The explored scenes.

use std::cell::Cell;
use std::env;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use loom::model::Builder;
use loom::thread::{self, JoinHandle};

use super::algorithm::fairness;
use super::algorithm::fast_path::FastPath;
use super::algorithm::layout::{INITIAL, Layout};
use super::algorithm::mapped_file::MappedFile;
use super::algorithm::operation::{Operation, Outcome, WaitersFlag, forget};
use super::algorithm::participant::Participant;
use super::algorithm::recovery::{ScanScope, recover};
use super::algorithm::reset::reset;
use super::algorithm::slot_lock::SlotLock;
use super::algorithm::state::State;
use super::algorithm::wait::DeathWatch;
use super::failpoint::Failpoint;
use super::platform::{SharedFile, lock_own_slot, release_all_of};
use crate::backend::api::{WaitLimit, WaitOptions};
use crate::sys::shared_memory::Mapping;
use crate::sys::thread as threads;
use crate::types::Epoch;

loom::thread_local! {
    /// The slot of this process.
    static ME: Cell<u16> = Cell::new(u16::MAX);
    /// The failpoint at which this process dies.
    static DEATH: Cell<Option<Death>> = Cell::new(None);
}

/// The death of a process: the failpoint, and the number of times that the process passes it
/// before.
#[derive(Clone, Copy)]
struct Death(Failpoint, u32);

/// The panic of a dying process.
struct Died;

pub(crate) fn me() -> u16 {
    ME.with(Cell::get)
}

pub(crate) fn hit(step: Failpoint) {
    DEATH.with(|death| match death.get() {
        Some(Death(at, 0)) if at == step => resume_unwind(Box::new(Died)),
        Some(Death(at, times)) if at == step => death.set(Some(Death(at, times - 1))),
        _ => {}
    });
}

pub(crate) fn longest_sleep(sleep: Duration) -> Duration {
    sleep
}

pub(crate) fn is_expired() -> bool {
    false
}

/// A death watch that never polls: a sleep ends only by a wake.
struct WatchHandle;

impl DeathWatch for WatchHandle {
    fn join(_: &Arc<MappedFile>) -> Option<Self> {
        Some(Self)
    }

    fn start(_: &Arc<MappedFile>) -> Self {
        Self
    }

    fn retry_setup(&self) -> bool {
        false
    }

    fn longest_sleep(&self) -> Duration {
        Duration::MAX
    }

    fn is_watcher(&self) -> bool {
        true
    }
}

const MAX_PERMITS: u32 = 10;
/// The slot of the main thread, which checks what the others leave.
const MAIN: u16 = 0;

/// Explores a scene with this many permits. In the end all must be free, after a recovery of the
/// dead.
fn explore(preemptions: usize, permits: u32, scene: impl Fn(&Arc<Layout>) + Send + Sync + 'static) {
    explore_until(preemptions, permits, permits, scene);
}

/// Explores a scene in whose end this many permits must be free.
fn explore_until(
    preemptions: usize,
    permits: u32,
    in_the_end: u32,
    scene: impl Fn(&Arc<Layout>) + Send + Sync + 'static,
) {
    let mut builder = Builder::new();
    let more =
        env::var("MORE_PREEMPTIONS").map_or(0, |more| more.parse().expect("MORE_PREEMPTIONS is a number"));
    builder.preemption_bound = Some(preemptions + more);
    builder.max_branches = 100_000;
    let executions = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&executions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        threads::forget_all();
        let layout = Arc::new(Layout::default());
        layout.prepare_epoch(0, permits, MAX_PERMITS);
        layout.state.word.store(State::new(INITIAL, 0, false, permits).0, Ordering::Relaxed);
        scene(&layout);
        let main = Process::of(&layout, MAIN);
        main.recover();
        assert_eq!(layout.state().count(), in_the_end, "free in the end");
        let epoch = main.participant.mapped.resolve_epoch();
        assert!(layout.slots.iter().all(|slot| slot.held(epoch) == 0), "nobody holds anything");
    });
    println!("{} executions", executions.load(Ordering::Relaxed));
}

/// A process that has the semaphore open.
struct Process {
    participant: Participant,
    fast_path: FastPath,
}

impl Process {
    fn of(layout: &Arc<Layout>, number: u16) -> Self {
        ME.with(|me| me.set(number));
        let mapped = MappedFile::new(SharedFile::of(Mapping(Arc::clone(layout), Arc::default())));
        mapped.set_own_slot(number);
        let participant = Participant::new(Arc::new(mapped)).expect("it has a slot");
        let fast_path = participant.fast_path();
        Self { participant, fast_path }
    }

    /// Starts a process that does this, and that may die.
    fn start(
        layout: &Arc<Layout>,
        number: u16,
        death: Option<Death>,
        deeds: impl FnOnce(&Self) + 'static,
    ) -> JoinHandle<()> {
        lock_own_slot(number);
        layout.set_used(number, true);
        let layout = Arc::clone(layout);
        thread::spawn(move || {
            let process = Self::of(&layout, number);
            DEATH.with(|at| at.set(death));
            match catch_unwind(AssertUnwindSafe(|| deeds(&process))) {
                Ok(()) => {}
                Err(cause) if cause.is::<Died>() => release_all_of(number),
                Err(cause) => resume_unwind(cause),
            }
        })
    }

    /// Acquires as the library does.
    fn try_acquire(&self, count: u32, queues: bool) -> Result<Epoch, State> {
        if let Some(epoch) = self.fast_path.acquire_single_threaded(count) {
            return Ok(epoch);
        }
        match self.participant.operate(&Operation::acquire(count, queues, WaitersFlag::Keep)) {
            Ok(Outcome::Done { epoch, .. }) => Ok(epoch),
            Ok(Outcome::Insufficient(state)) => Err(state),
            other => panic!("{other:?}"),
        }
    }

    fn acquire(&self, count: u32) -> Epoch {
        self.try_acquire(count, true).unwrap_or_else(|state| {
            let mut wait = WaitOptions { limit: WaitLimit::Forever, interrupted: PhantomData };
            self.participant.wait::<WatchHandle>(count, state, &mut wait).expect("it can wait")
        })
    }

    fn give_back(&self, count: u32, epoch: Epoch) {
        if !self.fast_path.release_single_threaded(count, epoch) {
            self.participant
                .release_and_wake(&Operation::release(count, epoch, WaitersFlag::Clear))
                .expect("it can");
        }
    }

    fn visit(&self, count: u32) {
        let epoch = self.acquire(count);
        self.give_back(count, epoch);
    }

    fn try_to_visit(&self, count: u32) {
        if let Ok(epoch) = self.try_acquire(count, false) {
            self.give_back(count, epoch);
        }
    }

    fn recover(&self) {
        recover(&self.participant.mapped, ScanScope::All).expect("it can");
    }
}

fn join<const N: usize>(processes: [JoinHandle<()>; N]) {
    for process in processes {
        process.join().expect("it does not fail");
    }
}

/// Each process dies before it commits its acquire. The others may have overtaken it by then.
#[test]
fn operations_of_three_processes_that_die() {
    explore(2, 2, |layout| {
        let death = Some(Death(Failpoint::AfterSwap, 0));
        join(
            [1, 2, 3].map(|number| Process::start(layout, number, death, |process| process.try_to_visit(1))),
        );
    });
}

#[test]
fn operations_of_two_processes_that_help_each_other() {
    explore(2, 2, |layout| {
        join([1, 2].map(|number| {
            Process::start(layout, number, None, |process| {
                process.try_to_visit(1);
                process.try_to_visit(2);
            })
        }));
    });
}

/// The dead process is overtaken or not, helped or not.
#[test]
fn a_death_among_operations() {
    for step in [Failpoint::BeforeSwap, Failpoint::AfterSwap] {
        for operation in 0..4 {
            explore(2, 3, move |layout| {
                let dying = |process: &Process| {
                    process.try_to_visit(1);
                    process.try_to_visit(1);
                };
                join([
                    Process::start(layout, 1, Some(Death(step, operation)), dying),
                    Process::start(layout, 2, None, |process| process.try_to_visit(1)),
                ]);
            });
        }
    }
}

#[test]
fn a_recovery_among_operations() {
    for step in [Failpoint::BeforeSwap, Failpoint::AfterSwap] {
        explore(2, 3, move |layout| {
            let dead = Process::start(layout, 1, Some(Death(step, 0)), |process| process.visit(1));
            join([
                Process::start(layout, 2, None, Process::recover),
                Process::start(layout, 3, None, |process| process.try_to_visit(1)),
                dead,
            ]);
        });
    }
}

/// The first recoverer dies as well, at every step.
#[test]
fn recoverers_of_one_dead_process() {
    let steps = [
        Failpoint::RecoveryBegins,
        Failpoint::RecoveryResolved,
        Failpoint::BeforeSwap,
        Failpoint::AfterSwap,
        Failpoint::RecoveryReleased,
        Failpoint::BeforeWake,
        Failpoint::RecoveryWoke,
    ];
    for step in steps {
        explore(2, 2, move |layout| {
            let dying =
                Process::start(layout, 1, Some(Death(Failpoint::AfterSwap, 0)), |process| process.visit(1));
            join([dying]);
            join([
                Process::start(layout, 2, Some(Death(step, 0)), Process::recover),
                Process::start(layout, 3, None, Process::recover),
            ]);
        });
    }
}

/// Two processes wait, and the main thread releases the permits that they wait for.
fn explore_waiting(permits: u32, first: (u32, Option<Death>), second: u32) {
    explore(2, permits, move |layout| {
        let holder = Process::of(layout, MAIN);
        let epoch = holder.acquire(permits);
        let (count, death) = first;
        let one = Process::start(layout, 1, death, move |process| process.visit(count));
        let other = Process::start(layout, 2, None, move |process| process.visit(second));
        holder.give_back(permits, epoch);
        // The first process never needs a recovery to finish. The second one does if the first has
        // died with the permit that it waits for.
        join([one]);
        holder.recover();
        join([other]);
    });
}

#[test]
fn waiters_for_one_permit() {
    explore_waiting(1, (1, None), 1);
}

#[test]
fn waiters_for_two_permits() {
    explore_waiting(2, (1, None), 1);
}

/// The first release clears WAITERS. The second one therefore wakes no process: the process that
/// the first one has woken must.
#[test]
fn the_baton_goes_on() {
    explore_until(2, 2, 0, |layout| {
        let holder = Process::of(layout, MAIN);
        let epoch = holder.acquire(2);
        let waiters = [1, 2].map(|number| {
            Process::start(layout, number, None, |process| {
                // never released, so that no release wakes a waiter
                let epoch = process.acquire(1);
                forget(process.participant.slot(), 1, epoch);
            })
        });
        holder.give_back(1, epoch);
        holder.give_back(1, epoch);
        join(waiters);
    });
}

#[test]
fn a_waiter_for_several() {
    explore_waiting(2, (2, None), 1);
}

/// The permit is free, the process that was woken for it is dead, and another one sleeps.
#[test]
fn a_death_between_waking_up_and_taking() {
    explore_waiting(1, (1, Some(Death(Failpoint::Woken, 0))), 1);
}

#[test]
fn a_death_between_release_and_wake() {
    for step in [Failpoint::AfterSwap, Failpoint::BeforeWake] {
        let passes = u32::from(step == Failpoint::AfterSwap);
        explore(1, 1, move |layout| {
            let dying = Process::start(layout, 1, Some(Death(step, passes)), |process| process.visit(1));
            let waiter = Process::start(layout, 2, None, |process| process.visit(1));
            join([dying]);
            Process::of(layout, MAIN).recover();
            join([waiter]);
        });
    }
}

/// A reset voids the permits of before, and waiters get the new ones.
#[test]
fn a_reset_among_operations() {
    explore_until(1, 1, 2, |layout| {
        join([
            Process::start(layout, 1, None, |process| process.visit(1)),
            Process::start(layout, 2, None, |process| process.visit(1)),
            Process::start(layout, 3, None, |process| reset(&process.participant.mapped, 2, MAX_PERMITS)),
        ]);
    });
}

#[test]
fn a_reset_and_a_death() {
    for step in [Failpoint::BeforeSwap, Failpoint::AfterSwap] {
        explore_until(2, 1, 2, move |layout| {
            join([
                Process::start(layout, 1, Some(Death(step, 0)), |process| process.try_to_visit(1)),
                Process::start(layout, 2, None, |process| reset(&process.participant.mapped, 2, MAX_PERMITS)),
            ]);
        });
    }
}

/// If the resetter dies, another process completes the reset.
#[test]
fn the_resetter_dies() {
    explore_until(2, 1, 2, |layout| {
        join([
            Process::start(layout, 1, None, |process| process.try_to_visit(1)),
            Process::start(layout, 2, Some(Death(Failpoint::ResetSwapped, 0)), |process| {
                reset(&process.participant.mapped, 2, MAX_PERMITS);
            }),
        ]);
    });
}

#[test]
fn two_threads_of_one_process() {
    threads::set_single(false);
    explore(2, 2, |layout| {
        let process = Arc::new(Process::of(layout, 1));
        let [one, other] = [(); 2].map(|()| {
            let process = Arc::clone(&process);
            thread::spawn(move || {
                let epoch = process.fast_path.acquire(1).unwrap_or_else(|| process.acquire(1));
                if !process.fast_path.release(1, epoch) {
                    process.give_back(1, epoch);
                }
            })
        });
        join([one, other]);
    });
}

/// Each thread locks often enough to get the bias.
#[test]
fn two_threads_exclude_each_other() {
    threads::set_single(false);
    explore(3, 1, |_| {
        let (slot_lock, inside) =
            (Arc::new(SlotLock::new()), Arc::new(loom::sync::atomic::AtomicU32::new(0)));
        let [one, other] = [2, 3].map(|times| {
            let (slot_lock, inside) = (Arc::clone(&slot_lock), Arc::clone(&inside));
            thread::spawn(move || {
                for _ in 0..times {
                    let _guard = slot_lock.lock().expect("no signal handler is there");
                    assert_eq!(inside.swap(1, Ordering::Relaxed), 0, "somebody else has the turn");
                    inside.store(0, Ordering::Relaxed);
                }
            })
        });
        join([one, other]);
    });
}

/// A waiter has asked for fairness: a process that has not slept yet lets it go first.
#[test]
fn waiters_while_the_rule_is_fair() {
    explore(2, 1, |layout| {
        fairness::begin(layout);
        let holder = Process::of(layout, MAIN);
        let epoch = holder.acquire(1);
        let waiters = [1, 2].map(|number| Process::start(layout, number, None, |process| process.visit(1)));
        holder.give_back(1, epoch);
        join(waiters);
    });
}
