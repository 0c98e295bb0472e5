//! What every test works with.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use puppet::{Turn, wait_for};
use serde_json::Value;
use system_semaphore::{Observer, Snapshot, SystemSemaphore};
use tempfile::TempDir;

/// A key and a directory of the test's own.
pub(crate) struct Stage {
    pub(crate) key: String,
    directory: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new().prefix("syssem-test-").tempdir().expect("a directory");
        Self { key: format!("syssem-test-{}-{number}", std::process::id()), directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `syssem COMMAND KEY`, to be added to.
    pub(crate) fn syssem(&self, command: &str) -> Command {
        let mut syssem = syssem(command);
        syssem.arg(&self.key);
        syssem
    }

    /// `syssem run KEY ARGUMENTS -- sh -c SCRIPT`, in the test's directory. The script's standard input is closed.
    pub(crate) fn run(&self, arguments: &[&str], script: &str) -> Command {
        let mut run = self.syssem("run");
        run.args(arguments).args(["--", "sh", "-c", script]).current_dir(self.directory.path());
        run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run
    }

    pub(crate) fn look(&self) -> Option<Snapshot> {
        Observer::new(&self.key).ok()?.look().ok()
    }

    /// How many permits the living hold.
    pub(crate) fn held(&self) -> u32 {
        self.look()
            .and_then(|seen| seen.holders)
            .map_or(0, |all| all.iter().map(|holder| holder.permits).sum())
    }

    #[track_caller]
    pub(crate) fn wait_until_held(&self, permits: u32) {
        wait_for(format_args!("{permits} are held"), || self.held() == permits);
    }

    #[track_caller]
    pub(crate) fn wait_until_waiting(&self, waiting: u32) {
        wait_for(format_args!("{waiting} wait"), || {
            self.look().and_then(|seen| seen.waiting) == Some(waiting)
        });
    }

    /// Makes a pipe with a name, which a process can be kept at.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        let path = self.path(name);
        let made = Command::new("mkfifo").arg(&path).status().expect("there is mkfifo");
        assert!(made.success());
        Gate(fs::OpenOptions::new().read(true).write(true).open(path).expect("it was just made"))
    }

    /// Takes away what a command that has become another could not.
    pub(crate) fn remove(&self) {
        let _ = SystemSemaphore::remove(&self.key);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A user may have 128 inotify instances, one for each process that waits: who needs many or counts on one takes turns.
pub(crate) static INOTIFY: Turn = Turn::new();
/// `doctor --clean` removes all that is left on this machine: who counts on leftovers or removes them takes turns.
pub(crate) static CLEANING: Turn = Turn::new();

/// A pipe that a process reads a line of to go on.
pub(crate) struct Gate(fs::File);

impl Gate {
    pub(crate) fn let_pass(&mut self, processes: usize) {
        use std::io::Write;
        self.0.write_all("\n".repeat(processes).as_bytes()).expect("it is open");
    }
}

/// `syssem COMMAND`, to be added to.
pub(crate) fn syssem(command: &str) -> Command {
    let mut syssem = Command::new(env!("CARGO_BIN_EXE_syssem"));
    syssem.arg(command);
    syssem
}

/// The pid that a script has written into this file.
#[track_caller]
pub(crate) fn pid_in(stage: &Stage, file: &str) -> u32 {
    let mut pid = None;
    wait_for(format_args!("there is {file}"), || {
        // the shell makes the file before it writes
        pid = fs::read_to_string(stage.path(file)).ok().filter(|pid| pid.ends_with('\n'));
        pid.is_some()
    });
    pid.expect("it is there").trim().parse().expect("it is a pid")
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("it can be started")
}

/// The same for what must succeed; its standard output.
#[track_caller]
pub(crate) fn must(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {:?} {}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// The same as JSON.
#[track_caller]
pub(crate) fn json(command: &mut Command) -> Value {
    let text = must(command.arg("--json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A child that is killed when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("it can be started"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has ended by itself; its output.
    pub(crate) fn end(mut self) -> Output {
        wait_for(format_args!("process {} ends", self.id()), || {
            self.0.try_wait().expect("it can be waited for").is_some()
        });
        let mut output =
            Output { status: self.0.wait().expect("it has ended"), stdout: Vec::new(), stderr: Vec::new() };
        let read = |from: Option<&mut dyn std::io::Read>, to: &mut Vec<u8>| {
            if let Some(from) = from {
                from.read_to_end(to).expect("it can be read");
            }
        };
        read(self.0.stdout.as_mut().map(|out| out as _), &mut output.stdout);
        read(self.0.stderr.as_mut().map(|out| out as _), &mut output.stderr);
        output
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it lives");
        self.0.wait().expect("it can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
