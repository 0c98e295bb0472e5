//! Plays the scenes, first without faults and then with each.

mod call;
mod report;
mod scenes;
mod stage;
mod tracer;

use std::collections::BTreeSet;
use std::fmt;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::call::Fault;
use self::report::Report;
use self::scenes::{SCENES, Scene};
use self::stage::{Played, Stage, enter_own_shared_memory};
use self::tracer::Plan;

/// So many are played at once: most of the time they sleep.
const AT_ONCE: usize = 16;
/// How often a scene is played to come to a call that it does not make each time.
const ATTEMPTS: usize = 20;

/// One call of a scene, and how it is made to fail.
struct Job {
    scene: &'static Scene,
    plan: Plan,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} = {}", self.scene.name, self.plan.call, self.plan.fault)
    }
}

/// What came of a job.
enum Outcome {
    /// The subject told of an error.
    Error,
    /// It went on without.
    Fallback,
    /// The scene did not come to this call again.
    Missed,
    Failed(String),
}

pub(crate) fn main() -> ExitCode {
    test_support::serve();
    match chosen_scenes().and_then(|scenes| check_rights().map(|()| scenes)) {
        Ok(scenes) => run(&scenes),
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn chosen_scenes() -> Result<Vec<&'static Scene>, String> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = names.iter().find(|name| SCENES.iter().all(|scene| scene.name != **name)) {
        let known: Vec<_> = SCENES.iter().map(|scene| scene.name).collect();
        return Err(format!("there is no scene {unknown:?}; the scenes are {}", known.join(", ")));
    }
    let is_chosen = |scene: &&Scene| names.is_empty() || names.iter().any(|name| name == scene.name);
    Ok(SCENES.iter().filter(is_chosen).collect())
}

fn check_rights() -> Result<(), String> {
    let entered = thread::spawn(enter_own_shared_memory).join().expect("it does not panic");
    entered.map_err(|errno| {
        format!("each run needs a /dev/shm of its own: be root, or use `unshare --map-root-user` ({errno})")
    })
}

fn run(scenes: &[&'static Scene]) -> ExitCode {
    let mut failures = Vec::new();
    let mut never = BTreeSet::new();
    let mut jobs = Vec::new();
    for (scene, trace) in scenes.iter().copied().zip(in_parallel(scenes, |scene| play(scene, None))) {
        let seen = match trace {
            Ok(played) => played.seen,
            Err(reason) => {
                failures.push(format!("{} without a fault: {reason}", scene.name));
                continue;
            }
        };
        for (call, faults) in seen.into_iter().filter(|(call, _)| (scene.is_about)(call)) {
            if faults.is_none() {
                failures.push(format!("{}: nobody knows how to let {call} fail", scene.name));
            }
            for fault in faults.into_iter().flatten() {
                match fault {
                    Fault::Never(reason) => drop(never.insert((call.name, reason))),
                    _ => jobs.push(Job { scene, plan: Plan { call: call.clone(), fault } }),
                }
            }
        }
    }
    let outcomes = in_parallel(&jobs, attempt);
    let done = jobs.into_iter().zip(outcomes).collect();
    Report { done, never, failures }.print()
}

/// Plays the scene until it comes to the call.
fn attempt(job: &Job) -> Outcome {
    for _ in 0..ATTEMPTS {
        match play(job.scene, Some(job)) {
            Err(reason) => return Outcome::Failed(reason),
            Ok(Played { hit: true, error: Some(_), .. }) => return Outcome::Error,
            Ok(Played { hit: true, .. }) if job.plan.must_show() => {
                return Outcome::Failed("nobody was told of it, though there is no way to go on".to_owned());
            }
            Ok(Played { hit: true, .. }) => return Outcome::Fallback,
            Ok(_) => {}
        }
    }
    Outcome::Missed
}

/// Plays a scene in a thread of its own, which has a `/dev/shm` of its own.
fn play(scene: &'static Scene, job: Option<&Job>) -> Result<Played, String> {
    let name = job.map_or_else(|| scene.name.to_owned(), Job::to_string);
    let plan = job.map(|job| job.plan.clone());
    let thread = thread::Builder::new().name(name).spawn(move || (scene.play)(Stage::new(scene.key, plan)));
    thread.expect("a thread can be had").join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
    })
}

/// Does something with each of these, several at once. The results are in their order.
fn in_parallel<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(index) else { break };
                    let result = work(one);
                    results.lock().expect("nobody panics with it").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("nobody has panicked with it");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
