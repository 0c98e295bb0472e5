//! What is told to people: which process is who, and what it is doing. Nothing else depends on it, but for whom to look at first.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use crate::sys::fork::PerProcess;
use crate::sys::process;

/// How a process is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// The inode number of its PID namespace; 0 if that is not known.
    pub(crate) pid_namespace: u32,
    /// When it started, in the kernel's ticks: who has the same pid later started later. 0 if that is not known.
    pub(crate) start_time: u64,
}

impl ProcessId {
    /// This process.
    pub(crate) fn current() -> Self {
        static CURRENT: PerProcess<OnceLock<ProcessId>> = PerProcess::new();
        *CURRENT.get().get_or_init(|| Self {
            pid: std::process::id(),
            pid_namespace: fs::metadata("/proc/self/ns/pid").map_or(0, |data| data.ino() as u32),
            start_time: stat("self").map_or(0, |stat| stat.start_time),
        })
    }

    /// The pid, if it is one here.
    pub(crate) fn visible_pid(self) -> Option<u32> {
        (self.pid_namespace == Self::current().pid_namespace).then_some(self.pid)
    }

    /// The name of its program, if it is still this process that has the pid.
    pub(crate) fn command(self) -> Option<String> {
        let pid = self.visible_pid()?;
        let is_same = || stat(&pid.to_string()).is_some_and(|stat| stat.start_time == self.start_time);
        let name = fs::read(format!("/proc/{pid}/comm")).ok().filter(|_| is_same())?;
        Some(String::from_utf8_lossy(&name).trim_end().to_owned())
    }
}

/// Whether a process of that number seems to be alive. It may be another one by now, or none that has the semaphore open any more.
pub(crate) fn seems_alive(process: &ProcessId) -> bool {
    process.visible_pid().is_some_and(process::seems_alive)
}

/// Whether the process is stopped, as far as that can be seen.
pub(crate) fn is_stopped(pid: u32) -> bool {
    stat(&pid.to_string()).is_some_and(|stat| matches!(stat.state, 'T' | 't'))
}

struct ProcessStat {
    state: char,
    start_time: u64,
}

fn stat(process: &str) -> Option<ProcessStat> {
    // what is wanted is among the first 22 fields, of which none is longer than 20 bytes
    let mut buffer = [0; 1024];
    let length =
        fs::File::open(format!("/proc/{process}/stat")).and_then(|mut file| file.read(&mut buffer)).ok()?;
    // behind the command, which may contain anything, in parentheses
    let end = buffer[..length].iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&buffer[end + 1..length]).ok()?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // the 22nd of all, so the 19th behind the state
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(ProcessStat { state, start_time })
}
