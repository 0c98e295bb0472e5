//! The processes that are measured, from outside.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::contestant::Contestant;
use crate::{Result, machine};

/// How long anything may take. Far more than it ever does.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks whether something has happened.
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);

/// A process that does as it is told.
pub(crate) struct Worker {
    child: Child,
    /// `None` when it has been told to end.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one, on this processor.
    pub(crate) fn start(contestant: &Contestant, core: usize) -> Result<Self> {
        Self::spawn(&mut contestant.command(), core)
    }

    fn spawn(command: &mut Command, core: usize) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        machine::pin(Some(pid_of(&child)), core)?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, stdin, stdout })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it what to do, without waiting for the answer.
    pub(crate) fn tell(&mut self, command: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("it was told to end")?;
        Ok(writeln!(stdin, "{command}")?)
    }

    /// The numbers that it answers.
    pub(crate) fn answer(&mut self) -> Result<Vec<f64>> {
        let line = self.line()?;
        let numbers = line.strip_prefix("ok").ok_or_else(|| format!("it said {line:?}"))?;
        Ok(numbers.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
    }

    pub(crate) fn ask(&mut self, command: &str) -> Result<Vec<f64>> {
        self.tell(command)?;
        self.answer().map_err(|error| format!("{command:?}: {error}").into())
    }

    /// The one number that it answers.
    pub(crate) fn ask_number(&mut self, command: &str) -> Result<f64> {
        self.ask(command)?.first().copied().ok_or_else(|| format!("{command:?}: no number").into())
    }

    /// Tells it to wait.
    pub(crate) fn tell_to_wait(&mut self) -> Result<()> {
        self.tell("wait")?;
        let line = self.line()?;
        if line == "began" { Ok(()) } else { Err(format!("it was to begin, and said {line:?}").into()) }
    }

    /// Returns when it sleeps: after `began`, in its wait.
    pub(crate) fn wait_until_asleep(&self) -> Result<()> {
        wait_until_asleep(self.pid())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        Ok(kill_process(pid_of(&self.child), Signal::KILL)?)
    }

    fn line(&mut self) -> Result<String> {
        if self.stdout.buffer().is_empty() && ready(&[&*self])?.is_empty() {
            return Err("it did not answer in time".into());
        }
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err(format!("it ended: {}", self.child.wait()?).into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Lets it end, which may take a while.
    fn let_end(&mut self) {
        self.stdin = None;
    }
}

/// It ends of its own accord, so that it can remove what it has made, or is killed if it does not.
impl Drop for Worker {
    fn drop(&mut self) {
        self.let_end();
        let begin = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if begin.elapsed() > Duration::from_secs(20) {
                let _ = self.child.kill();
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }
}

/// Lets all of them end at the same time.
pub(crate) fn end(mut workers: Vec<Worker>) {
    workers.iter_mut().for_each(Worker::let_end);
}

/// Which of them have said something; waits until one has.
pub(crate) fn ready(workers: &[&Worker]) -> Result<Vec<usize>> {
    let mut descriptors: Vec<PollFd<'_>> =
        workers.iter().map(|worker| PollFd::new(worker.stdout.get_ref(), PollFlags::IN)).collect();
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    poll(&mut descriptors, Some(&timeout))?;
    let said = descriptors.iter().enumerate().filter(|(_, descriptor)| !descriptor.revents().is_empty());
    Ok(said.map(|(index, _)| index).collect())
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Returns when the first thread of a process sleeps. One that is over does not keep anybody waiting: that shows when it is asked
/// or waited for.
pub(crate) fn wait_until_asleep(pid: u32) -> Result<()> {
    let begin = Instant::now();
    while !matches!(state(pid), Some('S' | 'Z')) {
        if begin.elapsed() > PATIENCE {
            return Err("it does not sleep".into());
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

/// The state that the kernel shows of its first thread: `S` sleeps, `Z` is over.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // behind the command, which may contain anything, in parentheses
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Nanoseconds of CPU time of all its threads. What runs just now may not be in it yet.
pub(crate) fn cpu_time(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(sum)
}
