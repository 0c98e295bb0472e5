//! The built program on Windows, from outside. Commands are the system's own `cmd`. (What Ctrl+C does needs a console, and is
//! tried by `platforms/ctrl_c.py`.)
#![cfg(windows)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use puppet::{PATIENCE, wait_for};
use system_semaphore::{AccessMode, SystemSemaphore};

/// A name of this test's own.
fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("syssem-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn syssem(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syssem"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    puppet::output(&mut syssem(arguments)).expect("syssem can be started")
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `syssem run` of a command that says when it is there, and stays until it is let go.
struct Job {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Job {
    /// Starts it; the command itself may have to wait.
    fn start(options: &[&str]) -> Self {
        let mut command = syssem(&["run"]);
        command.args(options).args(["--", "cmd", "/c", "set /p answer=there"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = puppet::start(&mut command).expect("syssem can be started");
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, said }
    }

    /// Waits until the command is there.
    fn wait_until_there(&mut self) {
        let mut said = [0; 5];
        self.said.read_exact(&mut said).expect("the command is there");
        assert_eq!(&said, b"there");
    }

    /// Lets the command end, and waits for syssem.
    fn let_go(mut self) -> ExitStatus {
        let mut stdin = self.child.stdin.take().expect("it is piped");
        stdin.write_all(b"go\r\n").expect("the command reads");
        drop(stdin);
        self.end()
    }

    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the job ends", || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_exit_status_is_the_command_s() {
    let name = name();
    for code in ["0", "7", "300"] {
        let output = output(&["run", &name, "--", "cmd", "/c", &format!("exit {code}")]);
        assert_code(&output, code.parse().expect("a number"));
    }
    let missing = output(&["run", &name, "--", "no-such-command"]);
    assert_code(&missing, 127);
    assert!(error(&missing).contains("no-such-command"), "{}", error(&missing));
    assert_code(&output(&["run", &name]), 125);
}

#[test]
fn who_has_to_wait_does_or_says_that_it_will_not() {
    let name = name();
    let mut first = Job::start(&[&name]);
    first.wait_until_there();
    for (options, code) in [(vec!["-n"], 1), (vec!["-w", "0.05"], 1), (vec!["-n", "-E", "9"], 9)] {
        let mut arguments = vec!["run", &*name];
        arguments.extend(options);
        arguments.extend(["--", "cmd", "/c", "exit 3"]);
        assert_code(&output(&arguments), code);
    }
    let mut second = Job::start(&[&name, "-w", &PATIENCE.as_secs().to_string()]);
    assert!(first.let_go().success());
    second.wait_until_there();
    assert!(second.let_go().success());
}

#[test]
fn no_more_than_two_are_there_at_once() {
    let name = name();
    let semaphore = SystemSemaphore::open(&*name, 2).expect("it can be made");
    let mut jobs: Vec<Job> = (0..2).map(|_| Job::start(&[&name, "-p", "2"])).collect();
    jobs.iter_mut().for_each(Job::wait_until_there);
    assert!(semaphore.try_acquire().is_err(), "two have both permits");
    let mut third = Job::start(&[&name, "-p", "2"]);
    assert!(third.child.try_wait().expect("it can be asked").is_none(), "it waits");
    assert!(jobs.pop().expect("there are two").let_go().success());
    third.wait_until_there();
    assert!(semaphore.try_acquire().is_err(), "two have both permits");
    assert!(jobs.pop().expect("there is one").let_go().success());
    assert!(third.let_go().success());
    assert_eq!(puppet::free(&semaphore).expect("they can be counted"), 2);
}

#[test]
fn a_killed_syssem_keeps_its_permit_until_all_have_left() {
    let name = name();
    let semaphore = SystemSemaphore::open(&*name, 1).expect("it can be made");
    let mut job = Job::start(&[&name]);
    job.wait_until_there();
    job.child.kill().expect("it is ours");
    job.child.wait().expect("it can be waited for");
    assert!(semaphore.try_acquire().is_err(), "Windows takes nothing back");
    drop(semaphore);
    let anew = SystemSemaphore::new(&*name, 1, AccessMode::CreateNew).expect("its last user has gone");
    let _ = anew.try_acquire().expect("it starts afresh");
}

#[test]
fn permits_are_taken_and_created_while_somebody_has_it_open() {
    let name = name();
    let semaphore = SystemSemaphore::open(&*name, 3).expect("it can be made");
    let count = || puppet::free(&semaphore).expect("they can be counted");
    for (arguments, left) in [(["take", &name, "1"], 2), (["release", &name, "4"], 6)] {
        assert_code(&output(&arguments), 0);
        assert_eq!(count(), left);
    }
    let told = output(&["--json", "release", &name]);
    assert_code(&told, 0);
    assert!(String::from_utf8_lossy(&told.stdout).contains("\"available\":null"), "it cannot be told");
    drop(semaphore);
    assert_code(&output(&["take", &name]), 125);
}

#[test]
fn what_windows_cannot_do_is_said() {
    let name = name();
    let semaphore = SystemSemaphore::open(&*name, 1).expect("it can be made");
    for (arguments, reason) in [
        (vec!["create", "another"], "cannot outlive its last user"),
        (vec!["show", &name], "cannot be looked at"),
        (vec!["list"], "does not tell which semaphores there are"),
        (vec!["reset", &name, "5"], "nobody can set the count"),
        (vec!["remove", &name], "is gone when the last process"),
        (vec!["run", &name, "--count", "2", "--", "cmd"], "several permits at once"),
        (vec!["run", &name, "-t", "robust", "--", "cmd"], "no robust semaphores"),
    ] {
        let output = output(&arguments);
        assert_code(&output, 125);
        assert!(error(&output).contains(reason), "{arguments:?}: {}", error(&output));
    }
    assert_eq!(puppet::free(&semaphore).expect("they can be counted"), 1);
}

#[test]
fn what_a_name_becomes_is_told() {
    let lines = |output: Output| -> Vec<String> {
        BufReader::new(&*output.stdout).lines().map(|line| line.expect("it is text")).collect()
    };
    let keys = lines(output(&["key", "market"]));
    assert!(
        keys.iter().any(|line| line.starts_with("windows (default)") && line.ends_with("windows:sem_market"))
    );
    let report = lines(output(&["doctor"]));
    assert!(report.iter().any(|line| line.split_whitespace().take(2).eq(["windows", "yes"])), "{report:?}");
}
