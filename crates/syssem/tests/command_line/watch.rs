//! `watch`, in a terminal and out of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use puppet::{process, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use system_semaphore::SystemSemaphore;

use crate::harness::{INOTIFY, Process, Stage, text};

/// A terminal, and what was written on it.
struct Terminal {
    master: File,
    slave: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("there are terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().expect("it is text"))
            .expect("it is there");
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("it is a terminal");
        let (master, written) = (File::from(master), Arc::<Mutex<Vec<u8>>>::default());
        let (mut reader, all) = (master.try_clone().expect("it can be"), Arc::clone(&written));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // an error: nobody has the other end any more
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                let mut all: std::sync::MutexGuard<'_, Vec<u8>> =
                    all.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend_from_slice(&buffer[..read]);
            }
        });
        Self { master, slave: slave.into(), written }
    }

    fn start(&self, command: &mut Command) -> Process {
        let end = || Stdio::from(self.slave.try_clone().expect("it can be"));
        Process::start(command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm"))
    }

    fn text(&self) -> String {
        text(&self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[track_caller]
    fn wait_for(&self, what: &str) {
        wait_for(format_args!("{what:?} is on the screen: {}", self.text()), || self.text().contains(what));
    }

    fn settings(&self) -> String {
        format!("{:?}", modes(&tcgetattr(&self.slave).expect("it is a terminal")))
    }
}

fn modes(termios: &Termios) -> (u64, u64, u64, u64) {
    let flags = (termios.input_modes.bits(), termios.output_modes.bits());
    (flags.0.into(), flags.1.into(), termios.control_modes.bits().into(), termios.local_modes.bits().into())
}

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

#[test]
fn it_shows_what_happens_and_leaves_the_terminal_as_it_was() {
    for end in ["q", "\u{3}", "TERM", "HUP", "INT"] {
        let stage = Stage::new();
        let mut terminal = Terminal::new();
        let before = terminal.settings();
        let semaphore = SystemSemaphore::create(&stage.key, 3).expect("it can be made");
        let watch = terminal.start(&mut stage.syssem("watch"));
        terminal.wait_for("3 of 3 free");
        let permit = semaphore.acquire_many(2).expect("there are three");
        terminal.wait_for("1 of 3 free");
        terminal.wait_for(&format!("held by {}", std::process::id()));
        terminal.wait_for("██░");
        assert_ne!(terminal.settings(), before, "keys come at once");
        drop(permit);
        assert!(terminal.text().contains(ENTER) && !terminal.text().contains(LEAVE));
        match end {
            "TERM" | "HUP" | "INT" => {
                let signal = match end {
                    "TERM" => Signal::TERM,
                    "HUP" => Signal::HUP,
                    _ => Signal::INT,
                };
                kill_process(Pid::from_child(&watch.0), signal).expect("it lives");
            }
            key => terminal.master.write_all(key.as_bytes()).expect("somebody has the other end"),
        }
        let output = watch.end();
        assert!(output.status.success(), "{end:?}");
        terminal.wait_for(LEAVE);
        assert!(terminal.text().contains("\u{1b}[?25h"), "the cursor is back");
        assert_eq!(terminal.settings(), before, "{end:?}");
    }
}

#[test]
fn it_waits_for_what_is_not_there() {
    let stage = Stage::new();
    let mut terminal = Terminal::new();
    let watch = terminal.start(&mut stage.syssem("watch"));
    terminal.wait_for("it is not there");
    let semaphore = SystemSemaphore::create(&stage.key, 2).expect("it can be made");
    terminal.wait_for("2 of 2 free");
    drop(semaphore);
    let semaphore = SystemSemaphore::create(&stage.key, 5).expect("it can be made");
    terminal.wait_for("5 of 5 free");
    drop(semaphore);
    terminal.master.write_all(b"q").expect("somebody has the other end");
    assert!(watch.end().status.success());
}

#[test]
fn it_follows_all_there_are() {
    // it wakes watchers, whose naps somebody counts
    let _turn = INOTIFY.take();
    let stage = Stage::new();
    let terminal = Terminal::new();
    let semaphore = SystemSemaphore::create(&stage.key, 2).expect("it can be made");
    // others' tests make some, too, so that the screen may be too small: out of it, then
    let mut watch = crate::harness::syssem("watch");
    let mut watch = Process::start(watch.arg("--json").stdout(Stdio::piped()));
    let mut lines = BufReader::new(watch.0.stdout.take().expect("it is piped")).lines();
    let is_seen = |line: &str| line.contains(&format!("\"robust:{}\"", stage.key));
    assert!(lines.any(|line| is_seen(&line.expect("it is text"))));
    drop(semaphore);
    assert!(lines.any(|line| !is_seen(&line.expect("it is text"))));
    drop(terminal);
}

#[test]
fn out_of_a_terminal_it_prints_what_changes() {
    for arguments in [&[][..], &["--json"]] {
        let stage = Stage::new();
        let semaphore = SystemSemaphore::create(&stage.key, 3).expect("it can be made");
        let mut watch = Process::start(stage.syssem("watch").args(arguments).stdout(Stdio::piped()));
        let mut lines =
            BufReader::new(watch.0.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let available = |line: &str| -> String {
            match arguments {
                [] => line
                    .rsplit_once(": ")
                    .and_then(|(_, state)| state.split_once(" free"))
                    .expect("it tells")
                    .0
                    .to_owned(),
                _ => serde_json::from_str::<Value>(line).expect("it is JSON")[0]["sight"]["available"]
                    .to_string(),
            }
        };
        let mut until = |number| lines.by_ref().find(|line| available(line) == number).expect("it goes on");
        until("3");
        // a line may come between: what is free and who holds what is not looked at in one moment
        let _permit = semaphore.acquire().expect("there are three");
        until("2");
        semaphore.add_permits(4).expect("there is room");
        until("6");
        watch.kill();
    }
}

#[test]
fn it_disturbs_nobody() {
    let _turn = INOTIFY.take();
    let stage = Stage::new();
    let terminal = Terminal::new();
    let semaphore = SystemSemaphore::create(&stage.key, 0).expect("it can be made");
    let waiter = Process::start(&mut stage.run(&["-w", "1000"], "exit 0"));
    stage.wait_until_waiting(1);
    let _watch = terminal.start(&mut stage.syssem("watch"));
    terminal.wait_for(&format!("waits:  {}", waiter.id()));
    wait_for("it has deaths watched", || process::threads(waiter.id()) > 1);
    let begin = std::time::Instant::now();
    let before = process::naps_of_all_threads(waiter.id());
    let drawn = || terminal.text().matches("waits: ").count();
    let (first, samples) = (drawn(), 30);
    wait_for("it has looked thirty times", || drawn() >= first + samples);
    // by itself it looks about once a second, and some times in the first moments of its watch
    let of_its_own = 10 + 2 * begin.elapsed().as_secs();
    let naps = process::naps_of_all_threads(waiter.id()) - before;
    assert!(naps <= of_its_own, "{naps} naps in {samples} samples and {:?}", begin.elapsed());
    drop(semaphore);
}
