//! The other processes of these tests: this test program again.
//!
//! An [`Actor`] does as it is told line by line; told to `halt STEP`, it says so when it next comes to that step, and waits there.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{env, fs, thread};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process};
use test_support::{PATIENCE, wait_for};

use super::super::failpoint::Step;
use super::super::process_id as people;
use super::{Stage, key};
use crate::sys::descriptor;
use crate::{AccessMode, ErrorKind, OwnedPermit, SystemSemaphore};

/// The variable that makes this program an actor.
const ROLE: &str = "SYSTEM_SEMAPHORE_UNIT_TEST_ACTOR";

/// At which step this process is to halt next.
static HALT: Mutex<Option<String>> = Mutex::new(None);

pub(crate) fn pass(step: Step) {
    let mut halt = HALT.lock().expect("nobody panics with it");
    if halt.as_deref() == Some(&*format!("{step:?}")) {
        *halt = None;
        drop(halt);
        say(&format!("at\t{step:?}"));
        let mut line = next_line().expect("it is told to go on");
        if let Some(name) = line.strip_prefix("lose\t") {
            lose_descriptors_of(name);
            line = next_line().expect("it is told to go on");
        }
        if let Some(next) = line.strip_prefix("go\t") {
            *HALT.lock().expect("nobody panics with it") = Some(next.to_owned());
        }
    }
}

/// Whether nothing but a wake-up is to end the sleep of this process's waiters. (Else they look for themselves once a
/// second, and would find in the end what nobody told them.)
static SLEEPS_WELL: AtomicBool = AtomicBool::new(false);

pub(crate) fn longest_sleep(sleep: Duration) -> Duration {
    if SLEEPS_WELL.load(Ordering::Relaxed) { PATIENCE * 10 } else { sleep }
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
            descriptor::lose(number, other.as_fd()).expect("it is open");
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
fn plays_a_part_when_told_to() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let mut semaphores = HashMap::new();
    let mut permits = Vec::new();
    while let Some(line) = next_line() {
        let fields: Vec<&str> = line.split('\t').collect();
        match obey(&fields, &mut semaphores, &mut permits) {
            Ok(()) => say("ok"),
            Err(error) => say(&format!("error\t{error}")),
        }
    }
    std::process::exit(0);
}

fn obey(
    fields: &[&str],
    semaphores: &mut HashMap<String, SystemSemaphore>,
    permits: &mut Vec<OwnedPermit>,
) -> crate::Result<()> {
    let count = fields.get(1).and_then(|count| count.parse().ok()).unwrap_or(0);
    let semaphore = semaphores.get("s");
    let semaphore = || semaphore.expect("it is open");
    match *fields {
        ["halt", step] => *HALT.lock().expect("nobody panics with it") = Some(step.to_owned()),
        ["open", name, count, mode] => {
            let mode = match mode {
                "Create" => AccessMode::Create,
                "OpenExisting" => AccessMode::OpenExisting,
                _ => AccessMode::Open,
            };
            let opened = SystemSemaphore::new(key(name), count.parse().expect("a number"), mode)?;
            semaphores.insert("s".to_owned(), opened);
        }
        ["reset", name, max] => {
            let builder = SystemSemaphore::builder(key(name)).mode(AccessMode::Create).initial_value(3);
            drop(builder.max_permits(max.parse().expect("a number")).build()?);
        }
        ["sleep well"] => SLEEPS_WELL.store(true, Ordering::Relaxed),
        ["remove", name] => SystemSemaphore::remove(key(name))?,
        ["close"] => drop(semaphores.remove("s")),
        ["acquire", _, ms] => {
            let timeout = Duration::from_millis(ms.parse().expect("a number"));
            permits.push(semaphore().acquire_many_timeout(count, timeout)?.into_owned());
        }
        ["acquire", _] => permits.push(semaphore().acquire_many(count)?.into_owned()),
        ["try", _] => permits.push(semaphore().try_acquire_many(count)?.into_owned()),
        ["drop"] => permits.pop().expect("there is one").release()?,
        ["hold"] => permits.pop().expect("there is one").hold(),
        ["forget"] => permits.pop().expect("there is one").forget()?,
        ["release", _] => semaphore().release(count)?,
        ["look"] => drop(semaphore().available_permits()?),
        ["fork in a wait"] => fork_in_a_wait(semaphore()),
        _ => panic!("no command: {fields:?}"),
    }
    Ok(())
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
        let ends = std::panic::catch_unwind(|| wait_for("the watching thread ends", is_alone));
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
pub(super) struct Actor {
    pub(super) child: Child,
    stdin: ChildStdin,
    pub(super) lines: Receiver<String>,
}

impl Actor {
    pub(super) fn start() -> Self {
        let mut child = Command::new(env::current_exe().expect("the program knows itself"))
            .args(["--exact", "backend::robust::tests::actor::plays_a_part_when_told_to", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            // the test harness has something to say, too
            let is_ours = |line: &String| ["ok", "error\t", "at\t"].iter().any(|word| line.starts_with(word));
            stdout.lines().map_while(Result::ok).filter(is_ours).try_for_each(|line| sender.send(line))
        });
        Self { child, stdin, lines }
    }

    /// One that has the semaphore open.
    pub(super) fn with(stage: &Stage) -> Self {
        let mut actor = Self::start();
        actor.must(&format!("open\t{}\t0\tOpenExisting", stage.name));
        actor
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(super) fn tell(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").expect("it listens");
    }

    #[track_caller]
    pub(super) fn hear(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it answers")
    }

    #[track_caller]
    pub(super) fn must(&mut self, command: &str) {
        self.tell(command);
        assert_eq!(self.hear(), "ok", "{command:?}");
    }

    /// Tells it to do something, in which it comes to a halt.
    #[track_caller]
    pub(super) fn halt_in(&mut self, command: &str, step: Step) {
        self.must(&format!("halt\t{step:?}"));
        self.tell(command);
        assert_eq!(self.hear(), format!("at\t{step:?}"), "{command:?}");
    }

    /// Tells it to do something that it has to wait in.
    #[track_caller]
    pub(super) fn block(&mut self, command: &str, stage: &Stage) {
        let before = stage.semaphore.waiting().expect("it is told");
        self.tell(command);
        wait_for("one more waits", || stage.semaphore.waiting().is_ok_and(|waiting| waiting == before + 1));
    }

    /// Tells it to do something that it has to wait in, and that nothing but a wake-up ends.
    #[track_caller]
    pub(super) fn fall_asleep(&mut self, command: &str, stage: &Stage) {
        self.must("sleep well");
        let tasks = format!("/proc/{}/task", self.child.id());
        let threads = || fs::read_dir(&tasks).expect("it lives").count();
        // the test harness's two, and an emulator's; then one for the deaths of others
        let before = threads();
        self.block(command, stage);
        wait_for("it has deaths watched", || threads() == before + 1);
        self.wait_until_asleep();
    }

    /// Waits until all its threads sleep.
    #[track_caller]
    pub(super) fn wait_until_asleep(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        wait_for("it sleeps", || {
            fs::read_dir(&tasks).expect("it lives").flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).expect("it lives");
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
            })
        });
    }

    pub(super) fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it lives");
        wait_for("it has stopped", || people::is_stopped(self.child.id()));
    }

    pub(super) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).expect("it lives");
    }

    pub(super) fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
