//! The registry lock, which an opener, a closer and a remover hold while they change the set of
//! users.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::robust::algorithm::layout::REGISTRY_BYTE;
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::platform::{LivenessLocks, Locks};
use crate::backend::robust::process_id::{self, ProcessId};
use crate::error::{Cause, ErrorKind};

/// How long an opener waits for one owner. An owner holds the lock for microseconds unless it is
/// stopped.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an opener waits in all, if one owner follows another.
const MAX_OPEN_WAIT: Duration = Duration::from_secs(60);
/// How long a closer waits. It is short, because callers do not expect a close to block. The next
/// opener or closer does the cleanup that a closer skips.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);
/// Duration of the first sleep between two attempts.
const FIRST_BACKOFF: Duration = Duration::from_micros(20);
const MAX_BACKOFF_DOUBLINGS: u32 = 12;

/// The registry lock. Dropping it releases the lock.
pub(crate) struct RegistryLock<'a> {
    mapped: &'a MappedFile,
    locks: Arc<Locks>,
}

impl<'a> RegistryLock<'a> {
    /// Takes the lock for an opener or a remover. It waits as long as the owner changes: a thousand
    /// processes that open at once are no reason to fail.
    pub(crate) fn for_open(mapped: &'a MappedFile) -> Result<Self, Cause> {
        let (mut owner, mut since) = (0, Duration::ZERO);
        Self::new(mapped, mapped.new_locks(), |owner_pid, waited| {
            if owner_pid != owner {
                (owner, since) = (owner_pid, waited);
            }
            waited - since >= OPEN_TIMEOUT || waited >= MAX_OPEN_WAIT
        })
    }

    pub(crate) fn for_close(mapped: &'a MappedFile) -> Result<Self, Cause> {
        Self::new(mapped, mapped.ensure_locks()?, |_, waited| waited >= CLOSE_TIMEOUT)
    }

    /// Waits for the lock until `has_expired`, which gets the PID that the file names as the owner
    /// and the duration of the wait.
    fn new(
        mapped: &'a MappedFile,
        locks: Arc<Locks>,
        mut has_expired: impl FnMut(u32, Duration) -> bool,
    ) -> Result<Self, Cause> {
        let owner_pid = &mapped.layout().registry_owner_pid;
        let (mut begin, mut tries) = (None, 0);
        while !locks.try_lock(REGISTRY_BYTE)? {
            let waited = begin.get_or_insert_with(Instant::now).elapsed();
            let owner = owner_pid.load(Ordering::Relaxed);
            if has_expired(owner, waited) {
                return Err(registry_busy_error(owner, waited));
            }
            // the blocking system call has no timeout, and an opener must be able to name the owner
            match tries {
                0..20 => thread::yield_now(),
                // the sleeps grow: a thousand processes that poll each millisecond would leave the
                // owner no CPU
                _ => thread::sleep(FIRST_BACKOFF * (1 << (tries - 20).min(MAX_BACKOFF_DOUBLINGS))),
            }
            tries += 1;
        }
        owner_pid.store(ProcessId::current().pid, Ordering::Relaxed);
        Ok(Self { mapped, locks })
    }
}

impl Drop for RegistryLock<'_> {
    fn drop(&mut self) {
        self.mapped.layout().registry_owner_pid.store(0, Ordering::Relaxed);
        // Without a check that the descriptor is still ours, because that check can fail. Unlocking
        // a byte of another file that we have not locked does nothing.
        let _ = self.locks.unlock(REGISTRY_BYTE);
    }
}

/// Returns the error of a waiter that gives up after this duration. `pid` is the last owner, or 0.
fn registry_busy_error(pid: u32, waited: Duration) -> Cause {
    let seconds = waited.as_secs();
    if pid == 0 {
        let reason =
            format!("its registry lock was not free for {seconds} s, and who has it does not say so");
        return Cause::new(ErrorKind::TimedOut, reason);
    }
    let stopped = process_id::is_stopped(pid);
    let activity =
        if stopped { "is stopped while it opens or closes it" } else { "is opening or closing it" };
    let reason = format!(
        "process {pid} {activity}, and others have to wait; after {seconds} s: let it go on, or end it"
    );
    Cause::new(ErrorKind::TimedOut, reason)
}
