//! The registry lock, which an opener, a closer or a remover holds while it changes who uses the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::robust::algorithm::layout::REGISTRY_BYTE;
use crate::backend::robust::algorithm::mapped_file::Core;
use crate::backend::robust::platform::{LivenessLocks, Locks};
use crate::backend::robust::process_id::{self as people, Identity};
use crate::error::{Cause, ErrorKind};

/// How long an open waits for one that has the registry lock, which is a matter of microseconds unless its owner is stopped.
pub(crate) const OPEN_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits in all, if one after the other gets it before.
const LONGEST_OPEN: Duration = Duration::from_secs(60);
/// How long a close waits, which nobody wants to wait for: what it leaves, the next open or close cleans up.
const CLOSE_PATIENCE: Duration = Duration::from_millis(100);
/// How long it sleeps between two looks at that lock, at first; and how often that is doubled (to 80 ms).
const FIRST_NAP: Duration = Duration::from_micros(20);
const MOST_DOUBLINGS: u32 = 12;

/// The registry lock. It is given up when this is dropped.
pub(crate) struct Registered<'a> {
    core: &'a Core,
    locks: Arc<Locks>,
}

impl<'a> Registered<'a> {
    /// For an open, which waits as long as others get it in turn: a thousand that come at once are no reason to fail.
    pub(crate) fn for_open(core: &'a Core) -> Result<Self, Cause> {
        let (mut owner, mut since) = (0, Duration::ZERO);
        Self::new(core, core.new_locks(), |registrar, waited| {
            if registrar != owner {
                (owner, since) = (registrar, waited);
            }
            waited - since >= OPEN_PATIENCE || waited >= LONGEST_OPEN
        })
    }

    pub(crate) fn for_close(core: &'a Core) -> Result<Self, Cause> {
        Self::new(core, core.locks()?, |_, waited| waited >= CLOSE_PATIENCE)
    }

    /// Waits for it until `is_over`, which is asked with whoever seems to have it and how long it was waited for.
    fn new(
        core: &'a Core,
        locks: Arc<Locks>,
        mut is_over: impl FnMut(u32, Duration) -> bool,
    ) -> Result<Self, Cause> {
        let registrar = &core.layout().registrar;
        let (mut begin, mut tries) = (None, 0);
        while !locks.try_lock(REGISTRY_BYTE)? {
            let waited = begin.get_or_insert_with(Instant::now).elapsed();
            let owner = registrar.load(Ordering::Relaxed);
            if is_over(owner, waited) {
                return Err(in_the_way(owner, waited));
            }
            // the system call that waits for such a lock has no timeout, and an open is to say who is in the way
            match tries {
                0..20 => thread::yield_now(),
                // longer and longer: a thousand that look each millisecond would leave the owner no processor
                _ => thread::sleep(FIRST_NAP * (1 << (tries - 20).min(MOST_DOUBLINGS))),
            }
            tries += 1;
        }
        registrar.store(Identity::own().pid, Ordering::Relaxed);
        Ok(Self { core, locks })
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.core.layout().registrar.store(0, Ordering::Relaxed);
        // without a look whether the number still is ours, since that can fail: of another file, nothing is given up
        let _ = self.locks.unlock(REGISTRY_BYTE);
    }
}

/// That one has it, or many had it, for so long that who waits gives up.
fn in_the_way(pid: u32, waited: Duration) -> Cause {
    let seconds = waited.as_secs();
    if pid == 0 {
        let reason =
            format!("its registry lock was not free for {seconds} s, and who has it does not say so");
        return Cause::new(ErrorKind::TimedOut, reason);
    }
    let stopped = people::is_stopped(pid);
    let what = if stopped { "is stopped while it opens or closes it" } else { "is opening or closing it" };
    let reason =
        format!("process {pid} {what}, and others have to wait; after {seconds} s: let it go on, or end it");
    Cause::new(ErrorKind::TimedOut, reason)
}
