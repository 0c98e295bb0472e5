//! What only the crash-safe engine does, or what is only seen from outside.

mod deaths;
mod files;
mod forks;
mod limits;
mod names;
mod reporting;
mod resets;
#[cfg(portable_platform)]
mod side_files;
mod stops;
mod stress;
mod wakes;

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use system_semaphore::SystemSemaphore;
use test_support::{Puppet, wait_until};

use crate::tested_type::TestedType;

/// The threads that a process has for the watch of deaths while a thread of it waits: none where the
/// platform gives no notice of deaths.
pub(crate) const WATCHER_THREADS: usize = if cfg!(portable_platform) { 0 } else { 1 };

/// Waits until so many threads wait.
#[track_caller]
fn wait_for_waiters(semaphore: &SystemSemaphore, count: u32) {
    wait_until(format_args!("{count} wait"), || semaphore.waiting().is_ok_and(|waiting| waiting == count));
}

/// Waits until the one thread of this process has slept for so long that deaths are watched.
#[track_caller]
fn wait_for_watch(puppet: &Puppet) {
    // the other thread is started before the last look and the sleep that only a death, or a second, ends
    let is_watched =
        || test_support::process::threads(puppet.pid()) == 1 + WATCHER_THREADS && puppet.is_asleep();
    wait_until("deaths are watched", is_watched);
}

/// A number in a file, which puppets count up.
struct Counter {
    path: PathBuf,
}

impl Counter {
    fn new(tested: &TestedType) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("counter-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(tested.path(&name));
        File::create(&path).and_then(|file| file.set_len(4)).expect("a file can be made");
        Self { path }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("temporary directories are UTF-8")
    }

    fn get(&self) -> u32 {
        let bytes = fs::read(&self.path).expect("it was made here");
        u32::from_ne_bytes(bytes.try_into().expect("four bytes"))
    }

    /// Waits until it has grown by so much.
    #[track_caller]
    fn wait_for_progress(&self, what: &str, by: u32) {
        let end = self.get() + by;
        wait_until(format_args!("{what} goes on"), || self.get() >= end);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
