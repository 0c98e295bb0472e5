//! What the kernel shows of a process.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often all threads of this process, those that live, have gone to sleep of their own accord.
pub fn sleep_count_of_all_threads(pid: u32) -> u64 {
    tasks(pid).iter().filter_map(|task| voluntary_switches(task)).sum()
}

/// How many threads a program of this kind has before it has started any: an emulator has some of its own.
static AT_FIRST: AtomicUsize = AtomicUsize::new(1);

/// To be called before this program has started any.
pub(crate) fn note_threads() {
    // where the kernel shows nothing, nobody asks
    if let Ok(tasks) = fs::read_dir("/proc/self/task") {
        AT_FIRST.store(tasks.count(), Ordering::Relaxed);
    }
}

/// How many threads it has.
pub fn threads(pid: u32) -> usize {
    tasks(pid).len() + 1 - AT_FIRST.load(Ordering::Relaxed)
}

/// How many descriptors it has open.
pub fn descriptors(pid: u32) -> usize {
    descriptor_paths(pid).len()
}

/// How many of them are of this file.
pub fn descriptors_of(pid: u32, file: &Metadata) -> usize {
    // through the link, to what is open
    let open = descriptor_paths(pid).into_iter().filter_map(|path| fs::metadata(path).ok());
    open.filter(|data| (data.dev(), data.ino()) == (file.dev(), file.ino())).count()
}

fn descriptor_paths(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives");
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Each descriptor that it has open, by its number, with what it is of.
pub fn descriptor_targets(pid: u32) -> Vec<(u64, String)> {
    let describe = |path: PathBuf| {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        Some((number, fs::read_link(path).ok()?.to_string_lossy().into_owned()))
    };
    descriptor_paths(pid).into_iter().filter_map(describe).collect()
}

/// Whether it has an inotify instance.
pub fn has_inotify(pid: u32) -> bool {
    descriptor_targets(pid).iter().any(|(_, target)| target == "anon_inode:inotify")
}

/// In how many parts it has this file mapped.
pub fn mappings_of(pid: u32, file: &Metadata) -> usize {
    let inode = file.ino().to_string();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process lives");
    maps.lines().filter(|line| line.split_whitespace().nth(4) == Some(&*inode)).count()
}

/// How many bytes of this file it has in memory.
pub fn resident(pid: u32, file: &Metadata) -> u64 {
    let inode = file.ino().to_string();
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the process lives");
    let mut is_of_file = false;
    let mut kilobytes = 0;
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words[0].ends_with(':') {
            is_of_file = words[4] == inode;
        } else if is_of_file && words[0] == "Rss:" {
            kilobytes += words[1].parse::<u64>().expect("a number");
        }
    }
    kilobytes * 1024
}

/// The name of its program.
pub fn command(pid: u32) -> String {
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).expect("the process lives");
    command.trim_end().to_owned()
}

/// Whether nothing of it is left but what its parent has to collect.
pub fn is_gone(pid: u32) -> bool {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    match state(&directory) {
        None => true,
        // the first thread may be over before the others
        Some('Z' | 'X') => fs::read_dir(directory.join("task")).map_or(true, |tasks| tasks.count() <= 1),
        Some(_) => false,
    }
}

/// Whether all its threads are stopped.
pub fn is_stopped(pid: u32) -> bool {
    tasks(pid).iter().all(|task| state(task) == Some('T'))
}

/// Returns whether all threads of the process slept at one moment.
///
/// One pass over the threads is not enough: a thread that slept when it was read can have run
/// before the last one was read. This reads them twice. A thread that ran in between has another
/// count of context switches.
pub fn is_all_asleep(pid: u32) -> bool {
    let first = rests(pid);
    first.iter().all(|rest| rest.state == Some('S')) && first == rests(pid)
}

/// The state of a thread, and how often it has left the CPU.
#[derive(PartialEq, Eq)]
struct Rest {
    task: PathBuf,
    state: Option<char>,
    switches: Vec<String>,
}

fn rests(pid: u32) -> Vec<Rest> {
    let rest = |task: PathBuf| {
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let switches = status.lines().filter(|line| line.contains("ctxt_switches")).map(str::to_owned);
        Rest { state: state(&task), switches: switches.collect(), task }
    };
    tasks(pid).into_iter().map(rest).collect()
}

/// Whether its first thread sleeps.
pub(crate) fn is_asleep(pid: u32) -> bool {
    state(Path::new(&format!("/proc/{pid}"))) == Some('S')
}

fn tasks(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The state that the kernel shows of a process or thread: `S` sleeps.
fn state(directory: &Path) -> Option<char> {
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    // behind the command, which may contain anything, in parentheses
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn voluntary_switches(directory: &Path) -> Option<u64> {
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    Some(line.trim().parse().expect("the kernel counts them"))
}
