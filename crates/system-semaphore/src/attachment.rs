//! What a process has of one semaphore: the open backend, shared by all its handles, and the account of what it
//! holds without a guard.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::backend::{self, Backend, Epoch, Identity, Opened, Removal, Request};
use crate::error::Fault;
use crate::key::{KeyType, NativeIpcKey};
use crate::sys::fork::{self, PerProcess};

/// One semaphore as this process has it open.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) backend: Box<dyn Backend>,
    /// The text of the key it was first opened by, for messages.
    pub(crate) key_text: Arc<str>,
    key_type: KeyType,
    account: Arc<Account>,
    /// The process that opened it; a forked child has a copy, but none of its duties.
    generation: u32,
    duties: Mutex<Duties>,
}

/// What the last handle has to do.
#[derive(Default)]
struct Duties {
    removals: Vec<Removal>,
    persistent: bool,
}

impl std::fmt::Debug for Duties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Duties")
            .field("removals", &self.removals.len())
            .field("persistent", &self.persistent)
            .finish()
    }
}

/// Opens the semaphore, or joins what this process has of it already.
pub(crate) fn attach(
    key: &NativeIpcKey,
    request: &Request,
    persistent: bool,
) -> Result<Arc<Attachment>, Fault> {
    // Held to the end: between the open and the entry no other thread's last handle may remove what was opened.
    let mut registry = registry();
    let Opened { backend, removal, reset } = backend::open(key, request)?;
    let entry = registry.entry((key.key_type(), backend.identity())).or_default();
    let attachment = entry.attachment.upgrade().unwrap_or_else(|| {
        let attachment = Arc::new(Attachment {
            backend,
            key_text: key.to_string().into(),
            key_type: key.key_type(),
            account: Arc::clone(&entry.account),
            generation: fork::generation(),
            duties: Mutex::default(),
        });
        entry.attachment = Arc::downgrade(&attachment);
        attachment
    });
    if reset {
        attachment.backend.note_reset();
        attachment.account.clear();
    }
    let mut duties = lock(&attachment.duties);
    duties.removals.extend(removal);
    duties.persistent |= persistent;
    drop(duties);
    Ok(attachment)
}

impl Attachment {
    /// Makes permits just acquired this process's without a guard.
    pub(crate) fn hold(&self, count: u32, epoch: Epoch) {
        // What was acquired before a reset is owed no more, so giving it back creates.
        if epoch == self.backend.epoch() {
            self.account.add(count);
        }
    }

    /// Gives back what is held without a guard, up to `count`, and creates the rest.
    pub(crate) fn release(&self, count: u32) -> Result<(), Fault> {
        let held = self.account.take(count);
        self.backend.release(held, count - held).inspect_err(|_| self.account.add(held))
    }

    /// Forgets what is held without a guard, up to `count`; tells how many those were.
    pub(crate) fn forget_held(&self, count: u32) -> Result<u32, Fault> {
        let held = self.account.take(count);
        if held > 0 {
            let epoch = self.backend.epoch();
            self.backend.forget(held, epoch).inspect_err(|_| self.account.add(held))?;
        }
        Ok(held)
    }

    /// How many permits this process holds without a guard.
    pub(crate) fn held(&self) -> u32 {
        self.account.held()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let mut registry = registry();
        let identity = (self.key_type, self.backend.identity());
        let duties = std::mem::take(&mut *lock(&self.duties));
        if let Some(entry) = registry.get_mut(&identity) {
            if let Some(successor) = entry.attachment.upgrade() {
                // another thread opened it anew just now
                let mut theirs = lock(&successor.duties);
                theirs.removals.extend(duties.removals);
                theirs.persistent |= duties.persistent;
                drop(theirs);
                // Its last handle may be gone by now; it must not be dropped under the lock, which it takes.
                drop(registry);
                drop(successor);
                return;
            }
            if entry.account.held() == 0 {
                registry.remove(&identity);
            }
        }
        if !duties.persistent {
            for removal in duties.removals {
                // nobody is left to tell; a removal that others did already is none to report anyway
                let _ = removal();
            }
        }
    }
}

/// How many permits a process holds without a guard, with the process they belong to: in a forked child it reads
/// as none. One word, so that no lock can be left locked by a fork.
#[derive(Debug, Default)]
struct Account(AtomicU64);

impl Account {
    fn word(held: u32) -> u64 {
        u64::from(fork::generation()) << 32 | u64::from(held)
    }

    fn held_in(word: u64) -> u32 {
        if (word >> 32) as u32 == fork::generation() { word as u32 } else { 0 }
    }

    fn held(&self) -> u32 {
        Self::held_in(self.0.load(Ordering::Acquire))
    }

    fn add(&self, count: u32) {
        self.update(|held| held.saturating_add(count));
    }

    /// Takes up to `count` out and tells how many.
    fn take(&self, count: u32) -> u32 {
        let before = self.update(|held| held.saturating_sub(count));
        before.min(count)
    }

    fn clear(&self) {
        self.update(|_| 0);
    }

    fn update(&self, change: impl Fn(u32) -> u32) -> u32 {
        let changed = |word| Some(Self::word(change(Self::held_in(word))));
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, changed) {
            Ok(before) | Err(before) => Self::held_in(before),
        }
    }
}

/// An entry outlives its attachment while permits are held without a guard.
#[derive(Default)]
struct Entry {
    attachment: Weak<Attachment>,
    account: Arc<Account>,
}

type Registry = HashMap<(KeyType, Identity), Entry>;

/// This process's registry. A forked child begins with an empty one: it owns nothing, and another thread of its
/// parent may have held the lock at the fork.
fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: PerProcess<Mutex<Registry>> = PerProcess::new();
    lock(REGISTRY.get())
}

/// No code that could panic half way runs under our locks, so what a poisoned one guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
