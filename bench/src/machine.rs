//! The machine: which of its processors are used, how far they are apart just now, what it is.

use std::collections::BTreeMap;
use std::fs;
use std::hint::spin_loop;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::Result;

/// How far two processors are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Distance {
    /// It plays no part.
    None,
    Near,
    Far,
}

impl Distance {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

/// What a cache line may take to go round between two near processors.
const NEAR: Duration = Duration::from_nanos(220);

/// Binds a process, or this thread, to a processor.
pub(crate) fn pin(pid: Option<Pid>, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(pid, &set)?)
}

/// How far the two are apart now.
pub(crate) fn distance() -> Distance {
    if round_trip() < NEAR { Distance::Near } else { Distance::Far }
}

/// What a cache line takes to go round between the first two processors. The best of some attempts: others may use them, too.
fn round_trip() -> Duration {
    const TRIPS: u32 = 1000;
    const ATTEMPTS: u32 = 5;
    let line = AtomicU32::new(0);
    let bounce = |core, mine: u32| {
        pin(None, core).expect("there are two processors");
        let mut best = Duration::MAX;
        for attempt in 0..ATTEMPTS {
            let begin = Instant::now();
            for trip in 0..TRIPS {
                let turn = 2 * (attempt * TRIPS + trip) + mine;
                while line.load(Ordering::Acquire) != turn {
                    spin_loop();
                }
                line.store(turn + 1, Ordering::Release);
            }
            best = best.min(begin.elapsed() / TRIPS);
        }
        best
    };
    thread::scope(|scope| {
        scope.spawn(|| bounce(1, 1));
        scope.spawn(|| bounce(0, 0)).join().expect("it does not panic")
    })
}

/// Bytes of memory in use that somebody's semaphores may be in: files in memory, the kernel's and processes' own.
pub(crate) fn memory_in_use() -> Result<i64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let mut kilobytes = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some("Shmem:" | "Slab:" | "AnonPages:" | "PageTables:" | "KernelStack:" | "VmallocUsed:") =
            words.next()
        {
            kilobytes += words.next().ok_or("a line without a number")?.parse::<i64>()?;
        }
    }
    Ok(kilobytes * 1024)
}

/// What it is, in a line.
pub(crate) fn description() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let fields: BTreeMap<&str, &str> =
        cpus.lines().filter_map(|line| line.split_once(':')).map(trimmed).collect();
    let model = fields.get("model name").copied().unwrap_or("unknown processor");
    let virtual_machine = if fields.get("flags").is_some_and(|flags| flags.contains(" hypervisor")) {
        ", a virtual machine"
    } else {
        ""
    };
    let processors = thread::available_parallelism()?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // the version without what a distributor adds
    let release = release.trim_end().split('-').next().unwrap_or_default();
    let (distribution, library) = (distribution()?, library()?);
    Ok(format!(
        "{processors} processors ({model}{virtual_machine}), Linux {release}, {distribution}, {library}"
    ))
}

fn trimmed<'a>((key, value): (&'a str, &'a str)) -> (&'a str, &'a str) {
    (key.trim(), value.trim())
}

/// The C library.
fn library() -> Result<String> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output()?;
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

fn distribution() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release")?;
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Ok(line.unwrap_or("unknown distribution").trim_matches('"').to_owned())
}
