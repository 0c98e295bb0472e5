//! The side that pulls the strings.

#[cfg_attr(unix, path = "driver/unix.rs")]
#[cfg_attr(windows, path = "driver/windows.rs")]
mod system;

#[cfg(unix)]
pub use system::own_sleep_count;

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for something that must happen. Far more than it ever takes.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind, as the other side names it.
    pub kind: String,
    /// Its text.
    pub message: String,
}

/// What Wine says now and then on a busy machine when it is to start a process (`ERROR_INTERNAL_ERROR`).
const INTERNAL_ERROR: i32 = 1359;

/// Tries again what fails by Wine's internal error, which says nothing of what is tested, and says so each time.
fn persist<T>(
    mut attempt: impl FnMut() -> io::Result<T>,
    is_internal: impl Fn(&io::Result<T>) -> bool,
) -> io::Result<T> {
    for _ in 0..5 {
        let outcome = attempt();
        if !cfg!(windows) || !is_internal(&outcome) {
            return outcome;
        }
        // past the capture of a test's output
        let _ = writeln!(io::stderr(), "Wine's internal error: the process is started once more");
    }
    attempt()
}

fn is_internal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(INTERNAL_ERROR)
}

/// Starts a process, under Wine with some patience.
pub fn start(command: &mut Command) -> io::Result<Child> {
    persist(|| command.spawn(), |outcome| outcome.as_ref().is_err_and(is_internal))
}

/// Runs a process to its end. Under Wine it runs again if it, or what it was to start, could not be started.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let told = format!("os error {INTERNAL_ERROR}");
    persist(
        || command.output(),
        |outcome| match outcome {
            Ok(output) => String::from_utf8_lossy(&output.stderr).contains(&told),
            Err(error) => is_internal(error),
        },
    )
}

/// A process that does as it is told. It is killed when dropped.
pub struct Puppet {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
}

impl Puppet {
    /// Starts the command, which must speak the protocol.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_heard(command, |_| true)
    }

    /// Starts a unit test of this program, with this variable set. The test must speak the protocol then; what its harness
    /// says besides is passed over.
    pub fn of_unit_test(test: &str, role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the program knows itself"));
        let is_answer = |line: &str| {
            matches!(line, "ok" | "began") || line.starts_with("ok\t") || line.starts_with("error\t")
        };
        Self::spawn_heard(command.args(["--exact", test, "--nocapture"]).env(role, "1"), is_answer)
    }

    fn spawn_heard(command: &mut Command, is_heard: fn(&str) -> bool) -> Self {
        let mut child = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok).filter(|line| is_heard(line)) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, stdin, answers }
    }

    /// Starts this very program as a puppet: its `main` must call [`serve`](super::serve) first of all.
    pub fn of_this_program() -> Self {
        Self::spawn(&mut Self::this_program())
    }

    /// The command that [`of_this_program`](Self::of_this_program) starts.
    pub fn this_program() -> Command {
        Self::program(std::env::current_exe().expect("the program knows itself"))
    }

    /// The same for another program, which must call [`serve`](super::serve), or start one that does.
    pub fn program(program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(super::serve::ROLE, "puppet");
        command
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it what to do, without waiting for the answer.
    pub fn send(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap_or_else(|error| panic!("cannot tell {command:?}: {error}"));
    }

    /// The answer to what it was told. `began` is passed over.
    pub fn answer(&mut self) -> Result<String, Failure> {
        loop {
            let line = self.line();
            if line != "began" {
                return parse(&line);
            }
        }
    }

    /// The answer, if it has given one. `began` is passed over.
    pub fn try_answer(&mut self) -> Option<Result<String, Failure>> {
        let line = self.answers.try_iter().find(|line| line != "began");
        line.map(|line| parse(&line))
    }

    /// Tells it what to do, and waits for the answer.
    pub fn ask(&mut self, command: &str) -> Result<String, Failure> {
        self.send(command);
        self.answer()
    }

    /// The same for what must succeed.
    #[track_caller]
    pub fn must(&mut self, command: &str) -> String {
        self.ask(command).unwrap_or_else(|failure| panic!("{command:?}: {failure:?}"))
    }

    /// Tells it to do something that has to wait, and returns when it waits.
    #[track_caller]
    pub fn block(&mut self, command: &str) {
        self.send(command);
        let line = self.line();
        assert_eq!(line, "began", "{command:?} was to say when it begins");
        self.see_it_block(command);
        assert!(self.answers.try_recv().is_err(), "{command:?} was to block, but it has answered");
    }

    /// Kills it with SIGKILL (on Windows by `TerminateProcess`) and waits until it is gone.
    pub fn kill(mut self) {
        self.kill_and_wait();
    }

    /// The same, but processes that it has started stay until this is dropped.
    pub fn kill_and_wait(&mut self) {
        self.start_kill();
        self.child.wait().expect("it can be waited for");
    }

    /// Kills it with SIGKILL and does not wait.
    pub fn start_kill(&mut self) {
        self.child.kill().expect("it is ours to kill");
    }

    /// Panics if it has answered to what it was told last, which is to keep it busy until its end.
    #[track_caller]
    pub fn assert_busy(&self) {
        let answers: Vec<String> = self.answers.try_iter().filter(|line| line != "began").collect();
        assert!(answers.is_empty(), "process {} has ended its work: {answers:?}", self.pid());
    }

    /// Lets it end by itself and waits until it is gone.
    pub fn exit(mut self) -> ExitStatus {
        self.send("exit");
        self.end()
    }

    /// Waits until it has ended by itself.
    pub fn end(mut self) -> ExitStatus {
        let mut status = None;
        wait_until(format_args!("process {} ends", self.pid()), || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }

    fn line(&mut self) -> String {
        match self.answers.recv_timeout(TEST_TIMEOUT) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("process {} does not answer", self.pid()),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("process {} is gone: {:?}", self.pid(), self.child.wait())
            }
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        // it may be gone already, by `kill` or `exit`
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Result<String, Failure> {
    let mut parts = line.splitn(3, '\t');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("ok"), value, None) => Ok(value.unwrap_or("").to_owned()),
        (Some("error"), Some(kind), Some(message)) => {
            Err(Failure { kind: kind.to_owned(), message: message.to_owned() })
        }
        _ => panic!("no answer of the protocol: {line:?}"),
    }
}

/// Tests of one program that are in each other's way take turns.
pub struct TestLock(Mutex<()>);

impl TestLock {
    /// Nobody's turn.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self(Mutex::new(()))
    }

    /// Waits for one's turn, which lasts until this is dropped, also by a panic.
    pub fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the condition holds; panics if it never does.
#[track_caller]
pub fn wait_until(what: impl Display, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}
