//! Tests `watch`, with and without a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use system_semaphore::SystemSemaphore;
use test_support::{process, wait_until};

use crate::harness::{Fixture, INOTIFY, Process, text};

/// A pseudo-terminal that records all output.
struct Terminal {
    master: File,
    slave: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal is available");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("this process owns the terminal");
        let name = ptsname(&master, Vec::new()).expect("the terminal has a name");
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().expect("the name is UTF-8"))
            .expect("the terminal exists");
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("the descriptor is a terminal");
        let (master, written) = (File::from(master), Arc::<Mutex<Vec<u8>>>::default());
        let (mut reader, all) =
            (master.try_clone().expect("a descriptor is available"), Arc::clone(&written));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails after the last process has closed the other end.
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                let mut all: std::sync::MutexGuard<'_, Vec<u8>> =
                    all.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend_from_slice(&buffer[..read]);
            }
        });
        Self { master, slave: slave.into(), written }
    }

    fn start(&self, command: &mut Command) -> Process {
        let end = || Stdio::from(self.slave.try_clone().expect("a descriptor is available"));
        Process::start(command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm"))
    }

    fn text(&self) -> String {
        text(&self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[track_caller]
    fn wait_until(&self, what: &str) {
        wait_until(format_args!("the screen shows {what:?}: {}", self.text()), || self.text().contains(what));
    }

    fn settings(&self) -> String {
        format!("{:?}", modes(&tcgetattr(&self.slave).expect("the descriptor is a terminal")))
    }
}

fn modes(termios: &Termios) -> (u64, u64, u64, u64) {
    let flags = (termios.input_modes.bits(), termios.output_modes.bits());
    (flags.0.into(), flags.1.into(), termios.control_modes.bits().into(), termios.local_modes.bits().into())
}

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

#[test]
fn watch_shows_changes_and_restores_the_terminal() {
    for end in ["q", "\u{3}", "TERM", "HUP", "INT"] {
        let fixture = Fixture::new();
        let mut terminal = Terminal::new();
        let before = terminal.settings();
        let semaphore = SystemSemaphore::create(&fixture.key, 3).expect("it can be created");
        let watch = terminal.start(&mut fixture.syssem("watch"));
        terminal.wait_until("3 of 3 free");
        let permit = semaphore.acquire_many(2).expect("three permits are free");
        terminal.wait_until("1 of 3 free");
        terminal.wait_until(&format!("held by {}", std::process::id()));
        terminal.wait_until("██░");
        assert_ne!(terminal.settings(), before, "the terminal is in raw mode");
        drop(permit);
        assert!(terminal.text().contains(ENTER) && !terminal.text().contains(LEAVE));
        match end {
            "TERM" | "HUP" | "INT" => {
                let signal = match end {
                    "TERM" => Signal::TERM,
                    "HUP" => Signal::HUP,
                    _ => Signal::INT,
                };
                kill_process(Pid::from_child(&watch.0), signal).expect("the process is alive");
            }
            key => terminal.master.write_all(key.as_bytes()).expect("watch has the other end open"),
        }
        let output = watch.wait_with_output();
        assert!(output.status.success(), "{end:?}");
        terminal.wait_until(LEAVE);
        assert!(terminal.text().contains("\u{1b}[?25h"), "the cursor is visible");
        assert_eq!(terminal.settings(), before, "{end:?}");
    }
}

#[test]
fn watch_follows_a_missing_semaphore() {
    let fixture = Fixture::new();
    let mut terminal = Terminal::new();
    let watch = terminal.start(&mut fixture.syssem("watch"));
    terminal.wait_until("there is no such semaphore");
    let semaphore = SystemSemaphore::create(&fixture.key, 2).expect("it can be created");
    terminal.wait_until("2 of 2 free");
    drop(semaphore);
    let semaphore = SystemSemaphore::create(&fixture.key, 5).expect("it can be created");
    terminal.wait_until("5 of 5 free");
    drop(semaphore);
    terminal.master.write_all(b"q").expect("watch has the other end open");
    assert!(watch.wait_with_output().status.success());
}

#[test]
fn watch_without_keys_follows_all_semaphores() {
    // A watch without keys opens and closes all semaphores, which wakes waiters that another test
    // counts.
    let _lock = INOTIFY.lock();
    let fixture = Fixture::new();
    let semaphore = SystemSemaphore::create(&fixture.key, 2).expect("it can be created");
    // The semaphores of concurrent tests may not fit the screen, so this test reads JSON.
    let mut watch = crate::harness::syssem("watch");
    let mut watch = Process::start(watch.arg("--json").stdout(Stdio::piped()));
    let mut lines = BufReader::new(watch.0.stdout.take().expect("standard output is a pipe")).lines();
    let key = format!("robust:{}", fixture.key);
    let mut read_sample = || -> Option<Value> {
        let line = lines.next().expect("watch runs on").expect("the output is UTF-8");
        let samples: Vec<Value> = serde_json::from_str(&line).expect("it is JSON");
        samples.into_iter().find(|sample| sample["key"] == *key)
    };
    while read_sample().is_none() {}
    drop(semaphore);
    while let Some(sample) = read_sample() {
        assert_eq!(sample["error"], Value::Null, "a removed semaphore is not reported");
    }
}

#[test]
fn watch_without_terminal_prints_changes() {
    for arguments in [&[][..], &["--json"]] {
        let fixture = Fixture::new();
        let semaphore = SystemSemaphore::create(&fixture.key, 3).expect("it can be created");
        let mut watch = Process::start(fixture.syssem("watch").args(arguments).stdout(Stdio::piped()));
        let mut lines = BufReader::new(watch.0.stdout.take().expect("standard output is a pipe"))
            .lines()
            .map_while(Result::ok);
        let available = |line: &str| -> String {
            match arguments {
                [] => line
                    .rsplit_once(": ")
                    .and_then(|(_, state)| state.split_once(" free"))
                    .expect("the line has a state")
                    .0
                    .to_owned(),
                _ => serde_json::from_str::<Value>(line).expect("it is JSON")[0]["state"]["available"]
                    .to_string(),
            }
        };
        let mut read_until =
            |number| lines.by_ref().find(|line| available(line) == number).expect("watch runs on");
        read_until("3");
        // A line may show the new count with the old holders, since a snapshot is not atomic.
        let _permit = semaphore.acquire().expect("three permits are free");
        read_until("2");
        semaphore.add_permits(4).expect("the maximum is larger");
        read_until("6");
        watch.kill();
    }
}

#[test]
fn watch_does_not_wake_waiters() {
    let _lock = INOTIFY.lock();
    let fixture = Fixture::new();
    let terminal = Terminal::new();
    let semaphore = SystemSemaphore::create(&fixture.key, 0).expect("it can be created");
    let waiter = Process::start(&mut fixture.run(&["-w", "1000"], "exit 0"));
    fixture.wait_until_waiting(1);
    let _watch = terminal.start(&mut fixture.syssem("watch"));
    terminal.wait_until(&format!("waits:  {}", waiter.id()));
    wait_until("the waiter watches for deaths", || process::threads(waiter.id()) > 1);
    // If each sample woke the waiter, no two samples would pass without a sleep of the waiter. (They are 100 ms apart.)
    // It wakes by itself about once a second, up to ten times after its start, and eight times if another process of this
    // machine lists all semaphores.
    let drawn = || terminal.text().matches("waits: ").count();
    let naps = || process::sleep_count_of_all_threads(waiter.id());
    wait_until("two samples pass without a sleep of the waiter", || {
        let (first, before) = (drawn(), naps());
        wait_until("watch has drawn two more samples", || drawn() >= first + 3);
        naps() == before
    });
    drop(semaphore);
}
