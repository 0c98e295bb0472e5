//! The registry lock, which an opener, a closer or a remover holds while it changes who uses the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::robust::algorithm::layout::REGISTRY_BYTE;
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::platform::{LivenessLocks, Locks};
use crate::backend::robust::process_id::{self, ProcessId};
use crate::error::{Cause, ErrorKind};

/// How long an open waits for one that has the registry lock, which is a matter of microseconds unless its owner is stopped.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it waits in all, if one after the other gets it before.
const MAX_OPEN_WAIT: Duration = Duration::from_secs(60);
/// How long a close waits, which nobody wants to wait for: what it leaves, the next open or close cleans up.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);
/// How long it sleeps between two looks at that lock, at first; and how often that is doubled (to 80 ms).
const FIRST_BACKOFF: Duration = Duration::from_micros(20);
const MAX_BACKOFF_DOUBLINGS: u32 = 12;

/// The registry lock. It is given up when this is dropped.
pub(crate) struct RegistryLock<'a> {
    mapped: &'a MappedFile,
    locks: Arc<Locks>,
}

impl<'a> RegistryLock<'a> {
    /// For an open, which waits as long as others get it in turn: a thousand that come at once are no reason to fail.
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

    /// Waits for it until `has_expired`, which is asked with whoever seems to have it and how long it was waited for.
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
            // the system call that waits for such a lock has no timeout, and an open is to say who is in the way
            match tries {
                0..20 => thread::yield_now(),
                // longer and longer: a thousand that look each millisecond would leave the owner no processor
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
        // without a look whether the number still is ours, since that can fail: of another file, nothing is given up
        let _ = self.locks.unlock(REGISTRY_BYTE);
    }
}

/// That one has it, or many had it, for so long that who waits gives up.
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
