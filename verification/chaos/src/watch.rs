//! What ends a run before its time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io, process, thread};

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use test_support::robust_file::path_of;

use crate::processes::signal;
use crate::scene;
use crate::shared_state::{SEMAPHORES, SharedState};

pub(crate) type Outcome<T = ()> = Result<T, End>;

/// Why a run ends.
#[derive(Debug)]
pub(crate) enum End {
    Wrong(String),
    Interrupted,
}

pub(crate) fn wrong<T>(what: impl Into<String>) -> Outcome<T> {
    Err(End::Wrong(what.into()))
}

/// If the driver itself does not go on for so long, that is a failure.
const LONGEST_STEP: Duration = Duration::from_secs(120);

/// Looks after the driver.
pub(crate) struct Watch {
    shared_state: &'static SharedState,
    interrupted: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    steps: AtomicU64,
    step: Mutex<String>,
}

impl Watch {
    pub(crate) fn start(shared_state: &'static SharedState) -> io::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || watch(shared_state, &of_thread));
        Ok(Self { shared_state, interrupted, shared })
    }

    /// Says what comes next.
    pub(crate) fn next(&self, step: String) {
        *self.shared.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// Fails if something is wrong already, or if somebody wants the run to end.
    pub(crate) fn check(&self) -> Outcome {
        self.shared.steps.fetch_add(1, SeqCst);
        if self.interrupted.load(SeqCst) {
            return Err(End::Interrupted);
        }
        self.shared_state.complaint().map_or(Ok(()), wrong)
    }
}

fn watch(shared_state: &SharedState, shared: &Shared) {
    let mut before = u64::MAX;
    loop {
        thread::sleep(LONGEST_STEP);
        let now = shared.steps.load(SeqCst);
        if now == before {
            let step = shared.step.lock().unwrap_or_else(PoisonError::into_inner);
            println!("the driver itself hangs: {step}\n0 passed, 1 failed");
            shared_state.seats.iter().map(|seat| seat.pid.load(SeqCst)).filter(|pid| *pid != 0).for_each(
                |pid| {
                    signal(pid, Signal::KILL);
                },
            );
            (0..SEMAPHORES).for_each(|number| {
                let _ = fs::remove_file(path_of(&scene::name(process::id(), number)));
            });
            process::exit(1);
        }
        before = now;
    }
}
