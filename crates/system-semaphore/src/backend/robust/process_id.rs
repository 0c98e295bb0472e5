//! The identity of a process, for diagnostics.
//!
//! Nothing else depends on it, except the order in which a recoverer checks slots.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use crate::sys::fork::PerProcess;
use crate::sys::process;

/// Identifies a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// Inode number of the PID namespace, or 0 if it is unknown.
    pub(crate) pid_namespace: u32,
    /// Start time in the kernel's ticks, or 0 if it is unknown. A later process with the same PID
    /// has a later start time.
    pub(crate) start_time: u64,
}

impl ProcessId {
    /// Returns the identity of this process.
    pub(crate) fn current() -> Self {
        static CURRENT: PerProcess<OnceLock<ProcessId>> = PerProcess::new();
        *CURRENT.get().get_or_init(|| Self {
            pid: std::process::id(),
            pid_namespace: fs::metadata("/proc/self/ns/pid").map_or(0, |data| data.ino() as u32),
            start_time: stat("self").map_or(0, |stat| stat.start_time),
        })
    }

    /// Returns the PID if the process is in this PID namespace.
    pub(crate) fn visible_pid(self) -> Option<u32> {
        (self.pid_namespace == Self::current().pid_namespace).then_some(self.pid)
    }

    /// Returns the name of the process's program, if the PID is still this process's.
    pub(crate) fn command(self) -> Option<String> {
        let pid = self.visible_pid()?;
        let is_same = || stat(&pid.to_string()).is_some_and(|stat| stat.start_time == self.start_time);
        let name = fs::read(format!("/proc/{pid}/comm")).ok().filter(|_| is_same())?;
        Some(String::from_utf8_lossy(&name).trim_end().to_owned())
    }
}

/// Returns whether a process of this PID appears alive. It may be another process, or one that has
/// closed the semaphore.
pub(crate) fn seems_alive(process: &ProcessId) -> bool {
    process.visible_pid().is_some_and(process::seems_alive)
}

/// Returns whether the process is stopped, as far as this process may see that.
pub(crate) fn is_stopped(pid: u32) -> bool {
    stat(&pid.to_string()).is_some_and(|stat| matches!(stat.state, 'T' | 't'))
}

struct ProcessStat {
    state: char,
    start_time: u64,
}

fn stat(process: &str) -> Option<ProcessStat> {
    // The fields that are used are among the first 22, and each is at most 20 bytes long.
    let mut buffer = [0; 1024];
    let length =
        fs::File::open(format!("/proc/{process}/stat")).and_then(|mut file| file.read(&mut buffer)).ok()?;
    // after the command, which is in parentheses and may contain any character
    let end = buffer[..length].iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&buffer[end + 1..length]).ok()?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // field 22, which is the 19th after the state
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(ProcessStat { state, start_time })
}
