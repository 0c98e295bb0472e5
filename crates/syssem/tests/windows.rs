//! Tests the built program from outside, on Windows. The commands are the system's own `cmd`.
//!
//! Ctrl+C needs a console, so `platforms/ctrl_c.py` tests it.
#![cfg(windows)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use system_semaphore::{AccessMode, SystemSemaphore};
use test_support::{TEST_TIMEOUT, wait_until};

/// Returns a name that no other test uses.
fn unique_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("syssem-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn syssem(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syssem"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    test_support::output(&mut syssem(arguments)).expect("syssem can be started")
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `syssem run` of a command that prints a word when it starts, and ends after it has read a line.
struct Job {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Job {
    /// Starts syssem. The command starts when syssem has acquired its permits.
    fn start(options: &[&str]) -> Self {
        let mut command = syssem(&["run"]);
        command.args(options).args(["--", "cmd", "/c", "set /p answer=started"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = test_support::start(&mut command).expect("syssem can be started");
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        Self { child, stdout }
    }

    /// Waits until the command has started.
    fn wait_until_started(&mut self) {
        let mut word = [0; 7];
        self.stdout.read_exact(&mut word).expect("the command prints a word");
        assert_eq!(&word, b"started");
    }

    /// Makes the command end, and waits for syssem.
    fn finish(mut self) -> ExitStatus {
        let mut stdin = self.child.stdin.take().expect("standard input is a pipe");
        stdin.write_all(b"go\r\n").expect("the command reads");
        drop(stdin);
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the job ends", || {
            status = self.child.try_wait().expect("it is a child");
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
fn run_returns_the_exit_status_of_the_command() {
    let name = unique_name();
    for code in ["0", "7", "300"] {
        let output = output(&["run", &name, "--", "cmd", "/c", &format!("exit {code}")]);
        assert_code(&output, code.parse().expect("a number"));
    }
    let missing = output(&["run", &name, "--", "no-such-command"]);
    assert_code(&missing, 127);
    assert!(stderr(&missing).contains("no-such-command"), "{}", stderr(&missing));
    assert_code(&output(&["run", &name]), 125);
}

#[test]
fn run_waits_or_fails_as_its_options_say() {
    let name = unique_name();
    let mut first = Job::start(&[&name]);
    first.wait_until_started();
    for (options, code) in [(vec!["-n"], 1), (vec!["-w", "0.05"], 1), (vec!["-n", "-E", "9"], 9)] {
        let mut arguments = vec!["run", &*name];
        arguments.extend(options);
        arguments.extend(["--", "cmd", "/c", "exit 3"]);
        assert_code(&output(&arguments), code);
    }
    let mut second = Job::start(&[&name, "-w", &TEST_TIMEOUT.as_secs().to_string()]);
    assert!(first.finish().success());
    second.wait_until_started();
    assert!(second.finish().success());
}

#[test]
fn two_permits_admit_two_commands() {
    let name = unique_name();
    let semaphore = SystemSemaphore::open(&*name, 2).expect("it can be created");
    let mut jobs: Vec<Job> = (0..2).map(|_| Job::start(&[&name, "-p", "2"])).collect();
    jobs.iter_mut().for_each(Job::wait_until_started);
    assert!(semaphore.try_acquire().is_err(), "the two commands hold both permits");
    let mut third = Job::start(&[&name, "-p", "2"]);
    assert!(third.child.try_wait().expect("it is a child").is_none(), "the third command waits");
    assert!(jobs.pop().expect("two jobs run").finish().success());
    third.wait_until_started();
    assert!(semaphore.try_acquire().is_err(), "the two commands hold both permits");
    assert!(jobs.pop().expect("one job runs").finish().success());
    assert!(third.finish().success());
    assert_eq!(test_support::free(&semaphore).expect("they can be counted"), 2);
}

#[test]
fn permit_of_killed_syssem_is_lost_until_the_last_close() {
    let name = unique_name();
    let semaphore = SystemSemaphore::open(&*name, 1).expect("it can be created");
    let mut job = Job::start(&[&name]);
    job.wait_until_started();
    job.child.kill().expect("it is a child");
    job.child.wait().expect("it is a child");
    assert!(semaphore.try_acquire().is_err(), "Windows returns no permit of a dead process");
    drop(semaphore);
    let new = SystemSemaphore::new(&*name, 1, AccessMode::CreateNew).expect("the last user has closed it");
    let _ = new.try_acquire().expect("the new semaphore has a free permit");
}

#[test]
fn take_and_release_need_an_open_semaphore() {
    let name = unique_name();
    let semaphore = SystemSemaphore::open(&*name, 3).expect("it can be created");
    let count = || test_support::free(&semaphore).expect("they can be counted");
    for (arguments, left) in [(["take", &name, "1"], 2), (["release", &name, "4"], 6)] {
        assert_code(&output(&arguments), 0);
        assert_eq!(count(), left);
    }
    let result = output(&["--json", "release", &name]);
    assert_code(&result, 0);
    let stdout = String::from_utf8_lossy(&result.stdout);
    assert!(stdout.contains("\"available\":null"), "Windows cannot read a count: {stdout}");
    drop(semaphore);
    assert_code(&output(&["take", &name]), 125);
}

#[test]
fn unsupported_commands_fail_with_a_reason() {
    let name = unique_name();
    let semaphore = SystemSemaphore::open(&*name, 1).expect("it can be created");
    for (arguments, reason) in [
        (vec!["create", "another"], "cannot outlive its last user"),
        (vec!["show", &name], "cannot be observed"),
        (vec!["list"], "does not tell which semaphores there are"),
        (vec!["reset", &name, "5"], "nobody can set the count"),
        (vec!["remove", &name], "is gone when the last process"),
        (vec!["run", &name, "--count", "2", "--", "cmd"], "several permits at once"),
        (vec!["run", &name, "-t", "robust", "--", "cmd"], "no robust semaphores"),
    ] {
        let output = output(&arguments);
        assert_code(&output, 125);
        assert!(stderr(&output).contains(reason), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(test_support::free(&semaphore).expect("they can be counted"), 1);
}

#[test]
fn key_and_doctor_print_the_windows_type() {
    let lines = |output: Output| -> Vec<String> {
        BufReader::new(&*output.stdout).lines().map(|line| line.expect("the output is UTF-8")).collect()
    };
    let keys = lines(output(&["key", "market"]));
    assert!(
        keys.iter().any(|line| line.starts_with("windows (default)") && line.ends_with("windows:sem_market"))
    );
    let report = lines(output(&["doctor"]));
    assert!(report.iter().any(|line| line.split_whitespace().take(2).eq(["windows", "yes"])), "{report:?}");
}
