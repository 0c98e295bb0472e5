//! Starts the program in a directory and with a key of each test's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use system_semaphore::{Observer, Snapshot, SystemSemaphore};
use tempfile::TempDir;
use test_support::{TestLock, wait_until};

/// A key and a directory that no other test uses.
pub(crate) struct Fixture {
    pub(crate) key: String,
    directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new().prefix("syssem-test-").tempdir().expect("a directory");
        Self { key: format!("syssem-test-{}-{number}", std::process::id()), directory }
    }

    /// Returns the path of a file in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns `syssem COMMAND KEY`, to which a test adds arguments.
    pub(crate) fn syssem(&self, command: &str) -> Command {
        let mut syssem = syssem(command);
        syssem.arg(&self.key);
        syssem
    }

    /// Returns `syssem run KEY ARGUMENTS -- sh -c SCRIPT`, in the directory and with an empty
    /// standard input.
    pub(crate) fn run(&self, arguments: &[&str], script: &str) -> Command {
        let mut run = self.syssem("run");
        run.args(arguments).args(["--", "sh", "-c", script]).current_dir(self.directory.path());
        run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run
    }

    /// Returns the semaphore's state, or `None` if it does not exist.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        Observer::new(&self.key).ok()?.snapshot().ok()
    }

    /// Returns how many permits living processes hold.
    pub(crate) fn held(&self) -> u32 {
        self.snapshot()
            .and_then(|snapshot| snapshot.holders)
            .map_or(0, |holders| holders.iter().map(|holder| holder.permits).sum())
    }

    #[track_caller]
    pub(crate) fn wait_until_held(&self, permits: u32) {
        wait_until(format_args!("{permits} permits are held"), || self.held() == permits);
    }

    #[track_caller]
    pub(crate) fn wait_until_waiting(&self, threads: u32) {
        wait_until(format_args!("{threads} threads wait"), || {
            self.snapshot().and_then(|snapshot| snapshot.waiting) == Some(threads)
        });
    }

    /// Creates a named pipe in the directory.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        let path = self.path(name);
        let status = Command::new("mkfifo").arg(&path).status().expect("mkfifo can be started");
        assert!(status.success());
        Gate(fs::OpenOptions::new().read(true).write(true).open(path).expect("the pipe was just created"))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // If a command replaced `run` and was the last user, the semaphore's file still exists.
        let _ = SystemSemaphore::remove(&self.key);
    }
}

/// Serialises the tests that need many inotify instances, or count what their waiters do.
///
/// A user may have 128 instances, and each waiting process needs one.
pub(crate) static INOTIFY: TestLock = TestLock::new();
/// Serialises the tests that create stale semaphores, since `doctor --clean` removes all of this
/// user's.
pub(crate) static CLEANING: TestLock = TestLock::new();

/// A named pipe at which scripts block until the test admits them. Each reads one line.
pub(crate) struct Gate(fs::File);

impl Gate {
    pub(crate) fn admit(&mut self, processes: usize) {
        use std::io::Write;
        self.0.write_all("\n".repeat(processes).as_bytes()).expect("the pipe is open");
    }
}

/// Returns `syssem COMMAND`, to which a test adds arguments.
pub(crate) fn syssem(command: &str) -> Command {
    let mut syssem = Command::new(env!("CARGO_BIN_EXE_syssem"));
    syssem.arg(command);
    syssem
}

/// Waits until a script has written its pid into this file, and returns the pid.
#[track_caller]
pub(crate) fn read_pid(fixture: &Fixture, file: &str) -> u32 {
    let mut pid = None;
    wait_until(format_args!("{file} exists"), || {
        // The shell creates the file before it writes the line.
        pid = fs::read_to_string(fixture.path(file)).ok().filter(|pid| pid.ends_with('\n'));
        pid.is_some()
    });
    pid.expect("the wait has read it").trim().parse().expect("the script writes its pid")
}

/// Runs the command to its end.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("the command can be started")
}

/// Runs a command that must succeed, and returns its standard output.
#[track_caller]
pub(crate) fn stdout(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {:?} {}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that must succeed with `--json`, and returns what it prints.
#[track_caller]
pub(crate) fn json(command: &mut Command) -> Value {
    let text = stdout(command.arg("--json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A child that is killed when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the command can be started"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until the child ends without being killed, and returns its output.
    pub(crate) fn wait_with_output(mut self) -> Output {
        wait_until(format_args!("process {} ends", self.id()), || {
            self.0.try_wait().expect("it is a child").is_some()
        });
        let mut output =
            Output { status: self.0.wait().expect("it has ended"), stdout: Vec::new(), stderr: Vec::new() };
        let read = |from: Option<&mut dyn std::io::Read>, to: &mut Vec<u8>| {
            if let Some(from) = from {
                from.read_to_end(to).expect("the pipe can be read");
            }
        };
        read(self.0.stdout.as_mut().map(|out| out as _), &mut output.stdout);
        read(self.0.stderr.as_mut().map(|out| out as _), &mut output.stderr);
        output
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it is a child");
        self.0.wait().expect("it is a child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
