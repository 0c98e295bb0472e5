//! The other processes of these tests: this test program again, driven as a [`Puppet`].
//!
//! An [`Actor`] does as it is told line by line, in the words of the puppets' protocol; told to `halt STEP`, it says so when it
//! next comes to that step, and waits there.

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs};

use rustix::fs::{MemfdFlags, memfd_create};
use test_support::{Puppet, TEST_TIMEOUT, process, wait_until};

use super::super::failpoint::Failpoint;
use super::TestSemaphore;
use crate::sys::private_fd;
use crate::{AccessMode, ErrorKind, NativeIpcKey, OwnedPermit, SystemSemaphore};

/// The variable that makes this program an actor.
const ROLE: &str = "SYSTEM_SEMAPHORE_UNIT_TEST_ACTOR";

/// At which step this process is to halt next.
static HALT: Mutex<Option<String>> = Mutex::new(None);

pub(crate) fn hit(step: Failpoint) {
    let mut halt = HALT.lock().expect("nobody panics with it");
    if halt.as_deref() == Some(&*format!("{step:?}")) {
        *halt = None;
        drop(halt);
        say(&format!("ok\t{}", halted(step)));
        let mut line = next_line().expect("it is told to go on");
        if let Some(name) = line.strip_prefix("lose\t") {
            lose_descriptors_of(name);
            line = next_line().expect("it is told to go on");
        }
        if line == "expire" {
            IS_EXPIRED.store(true, Ordering::Relaxed);
            line = next_line().expect("it is told to go on");
        }
        if let Some(next) = line.strip_prefix("go\t") {
            *HALT.lock().expect("nobody panics with it") = Some(next.to_owned());
        }
    }
}

/// What an actor says when it halts.
fn halted(step: Failpoint) -> String {
    format!("halted at {step:?}")
}

/// Whether nothing but a wake-up is to end the sleep of this process's waiters. (Else they look for themselves once a
/// second, and would find in the end what nobody told them.)
static SLEEPS_UNTIL_WOKEN: AtomicBool = AtomicBool::new(false);

pub(crate) fn longest_sleep(sleep: Duration) -> Duration {
    // A user has a limited number of inotify instances (128). If other processes have them all, this waiter must go on to
    // try, or it would sleep for ever without a watch.
    let is_for_good = SLEEPS_UNTIL_WOKEN.load(Ordering::Relaxed) && process::has_inotify(std::process::id());
    if is_for_good { TEST_TIMEOUT * 10 } else { sleep }
}

/// Whether the time of each timed wait of this process is over, whatever its deadline.
static IS_EXPIRED: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_expired() -> bool {
    IS_EXPIRED.load(Ordering::Relaxed)
}

fn say(line: &str) {
    let mut out = io::stdout();
    // a parent that has gone does not listen any more
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// As other code of the process may do that closes what is not its own, and opens something.
fn lose_descriptors_of(name: &str) {
    let other = memfd_create("other", MemfdFlags::CLOEXEC).expect("it can be made");
    for entry in fs::read_dir("/proc/self/fd").expect("it is there").flatten() {
        if fs::read_link(entry.path()).is_ok_and(|path| path.ends_with(name)) {
            let number = entry.file_name().to_string_lossy().parse().expect("a number");
            private_fd::steal_fd(number, other.as_fd()).expect("it is open");
        }
    }
}

/// The next line from the parent.
fn next_line() -> Option<String> {
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line).expect("lines are UTF-8");
    (read > 0).then(|| line.trim_end().to_owned())
}

/// The actor's side. In an ordinary run nobody has told this program to be one.
#[test]
fn serves_as_actor_if_started_as_one() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    // what the harness has said without ending its line
    say("");
    let mut state = State::default();
    while let Some(line) = next_line() {
        let fields: Vec<&str> = line.split('\t').collect();
        match state.obey(&fields) {
            Ok(()) => say("ok"),
            Err(error) => say(&format!("error\t{:?}\t{error}", error.kind())),
        }
    }
    std::process::exit(0);
}

/// What an actor has.
#[derive(Default)]
struct State {
    semaphores: HashMap<String, SystemSemaphore>,
    permits: Vec<OwnedPermit>,
}

impl State {
    fn obey(&mut self, fields: &[&str]) -> crate::Result<()> {
        match *fields {
            ["halt", step] => *HALT.lock().expect("nobody panics with it") = Some(step.to_owned()),
            ["open", handle, key, initial, mode] => {
                let mode = match mode {
                    "Create" => AccessMode::Create,
                    "OpenExisting" => AccessMode::OpenExisting,
                    _ => AccessMode::Open,
                };
                let opened = SystemSemaphore::new(parse_key(key), number(initial), mode)?;
                self.semaphores.insert(handle.to_owned(), opened);
            }
            ["reset", key, max] => {
                let builder = SystemSemaphore::builder(parse_key(key)).mode(AccessMode::Create);
                drop(builder.initial_value(3).max_permits(number(max)).build()?);
            }
            ["sleep-until-woken"] => SLEEPS_UNTIL_WOKEN.store(true, Ordering::Relaxed),
            ["remove", key] => SystemSemaphore::remove(parse_key(key))?,
            ["close", handle] => drop(self.semaphores.remove(handle)),
            [command, handle, ref arguments @ ..] => self.operate(command, handle, arguments)?,
            _ => panic!("no command: {fields:?}"),
        }
        Ok(())
    }

    fn operate(&mut self, command: &str, handle: &str, arguments: &[&str]) -> crate::Result<()> {
        let semaphore = &self.semaphores[handle];
        match (command, arguments) {
            ("acquire", [count, ms]) => {
                let timeout = Duration::from_millis(number(ms).into());
                self.permits.push(semaphore.acquire_many_timeout(number(count), timeout)?.into_owned());
            }
            ("acquire", [count]) => self.permits.push(semaphore.acquire_many(number(count))?.into_owned()),
            ("try", [count]) => self.permits.push(semaphore.try_acquire_many(number(count))?.into_owned()),
            ("drop", []) => self.permits.pop().expect("there is one").release()?,
            ("hold", []) => self.permits.pop().expect("there is one").detach(),
            ("forget", []) => self.permits.pop().expect("there is one").forget()?,
            ("release", [count]) => semaphore.release(number(count))?,
            ("available", []) => drop(semaphore.available_permits()?),
            ("fork-in-wait", []) => fork_in_a_wait(semaphore),
            _ => panic!("no command: {command:?} {arguments:?}"),
        }
        Ok(())
    }
}

fn number(text: &str) -> u32 {
    text.parse().expect("a number")
}

fn parse_key(text: &str) -> NativeIpcKey {
    text.parse().expect("the text of a native key")
}

/// Forks in the hook of a wait that has had deaths watched; fails unless the wait in the child is interrupted, and the thread
/// ends there that another wait of the child's own needs.
fn fork_in_a_wait(semaphore: &SystemSemaphore) {
    let (mut questions, mut is_child, mut child) = (0, false, 0);
    let mut hook = || {
        questions += 1;
        // the third sleep is one with a watch
        if questions < 4 || child != 0 {
            return child != 0;
        }
        #[allow(unsafe_code)]
        // SAFETY: the child does nothing that another thread could have kept it from
        let pid = unsafe { libc::fork() };
        is_child = pid == 0;
        child = pid;
        !is_child
    };
    let wait = || semaphore.acquire_interruptible(1, None, &mut hook).map(drop).map_err(|error| error.kind());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait));
    if is_child {
        let _ = semaphore.acquire_timeout(Duration::from_millis(200));
        let is_alone = || fs::read_dir("/proc/self/task").expect("it is there").count() == 1;
        let ends = std::panic::catch_unwind(|| wait_until("the watching thread ends", is_alone));
        let code = match outcome {
            Ok(Err(ErrorKind::Interrupted)) => i32::from(ends.is_err()),
            Ok(_) => 2,
            Err(_) => 3,
        };
        #[allow(unsafe_code)]
        // SAFETY: it ends the process
        unsafe {
            libc::_exit(code)
        };
    }
    let mut status = 0;
    #[allow(unsafe_code)]
    // SAFETY: the status is live
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!((waited, libc::WEXITSTATUS(status)), (child, 0), "1: a thread is left; 3: it has panicked");
}

/// Another process.
pub(super) struct Actor(Puppet);

impl Deref for Actor {
    type Target = Puppet;

    fn deref(&self) -> &Puppet {
        &self.0
    }
}

impl DerefMut for Actor {
    fn deref_mut(&mut self) -> &mut Puppet {
        &mut self.0
    }
}

impl Actor {
    pub(super) fn start() -> Self {
        let (_, module) = module_path!().split_once("::").expect("it begins with the crate");
        Self(Puppet::of_unit_test(&format!("{module}::serves_as_actor_if_started_as_one"), ROLE))
    }

    /// One that has the semaphore open.
    pub(super) fn with(test: &TestSemaphore) -> Self {
        let mut actor = Self::start();
        actor.must(&test.opening(0, "OpenExisting"));
        actor
    }

    /// Tells it to do something, in which it comes to a halt.
    #[track_caller]
    pub(super) fn halt_in(&mut self, command: &str, step: Failpoint) {
        self.must(&format!("halt\t{step:?}"));
        self.send(command);
        assert_eq!(self.answer(), Ok(halted(step)), "{command:?}");
    }

    /// Tells it to do something, in which it is killed.
    #[track_caller]
    pub(super) fn die_in(mut self, command: &str, step: Failpoint) {
        self.halt_in(command, step);
        self.kill();
    }

    /// Waits until it has come to the step at which it is to halt.
    #[track_caller]
    pub(super) fn assert_halts(&mut self, step: Failpoint) {
        assert_eq!(self.answer(), Ok(halted(step)));
    }

    /// Tells it to do something that it has to wait in.
    #[track_caller]
    pub(super) fn block_on(&mut self, command: &str, test: &TestSemaphore) {
        let before = test.semaphore.waiting().expect("it is told");
        self.send(command);
        wait_until("one more waits", || test.semaphore.waiting().is_ok_and(|waiting| waiting == before + 1));
    }

    /// Tells it to do something that it has to wait in, and that nothing but a wake-up ends.
    #[track_caller]
    pub(super) fn fall_asleep(&mut self, command: &str, test: &TestSemaphore) {
        self.must("sleep-until-woken");
        // the test harness's two, and an emulator's; then one for the deaths of others
        let before = process::threads(self.pid());
        self.block_on(command, test);
        wait_until("it has deaths watched", || process::threads(self.pid()) == before + 1);
        self.wait_until_asleep();
    }

    /// Waits until all its threads sleep.
    #[track_caller]
    pub(super) fn wait_until_asleep(&self) {
        wait_until("it sleeps", || process::is_all_asleep(self.pid()));
    }

    pub(super) fn kill(self) {
        self.0.kill();
    }
}
