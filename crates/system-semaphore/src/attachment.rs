//! What a process has of one semaphore: the open backend, the account of what is held without a guard, and what is to
//! be done when the last handle goes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::backend::{self, Backend, Epoch, Identity, Opened, Removal, Request};
use crate::error::{ErrorKind, Fault};
use crate::key::{KeyType, NativeIpcKey};
use crate::sys::fork::{self, PerProcess};

/// One semaphore as the handles of this process share it.
#[derive(Debug)]
pub(crate) struct Attachment {
    open: Arc<Open>,
    /// The text of the key it was first opened by, for messages.
    pub(crate) key_text: Arc<str>,
    key_type: KeyType,
    /// The process that opened it; a forked child has a copy, but none of its duties.
    generation: u32,
    duties: Mutex<Duties>,
}

/// An open semaphore. It outlives the handles while permits are held without a guard.
#[derive(Debug)]
struct Open {
    backend: Box<dyn Backend>,
    account: Account,
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
    for _ in 0..RESET_ATTEMPTS {
        let (attachment, needs_reset) = open_or_join(key, request, persistent)?;
        if !needs_reset {
            return Ok(attachment);
        }
        match attachment.backend().reset(request.initial_value) {
            Ok(()) => return Ok(attachment),
            // removed since; a new one is to be made
            Err(fault) if fault.kind == ErrorKind::NotFound => {}
            Err(fault) => return Err(fault),
        }
    }
    let reason = "others removed it again and again while it was being reset";
    Err(Fault::new(ErrorKind::Unknown, reason))
}

/// How often a semaphore that vanishes before it can be reset is opened anew.
const RESET_ATTEMPTS: u32 = 100;

fn open_or_join(
    key: &NativeIpcKey,
    request: &Request,
    persistent: bool,
) -> Result<(Arc<Attachment>, bool), Fault> {
    // Held to the end: between the open and the entry no other thread's last handle may remove what was opened.
    let mut registry = registry();
    let Opened { backend, removal, needs_reset } = backend::open(key, request)?;
    let identity = (key.key_type(), backend.identity());
    let entry = registry.entry(identity).or_insert_with(|| Entry {
        attachment: Weak::new(),
        open: Arc::new(Open { backend, account: Account::default() }),
    });
    let attachment = entry.attachment.upgrade().unwrap_or_else(|| {
        Arc::new(Attachment {
            open: Arc::clone(&entry.open),
            key_text: key.to_string().into(),
            key_type: key.key_type(),
            generation: fork::generation(),
            duties: Mutex::default(),
        })
    });
    entry.attachment = Arc::downgrade(&attachment);
    let mut duties = lock(&attachment.duties);
    duties.removals.extend(removal);
    duties.persistent |= persistent;
    drop(duties);
    Ok((attachment, needs_reset))
}

impl Attachment {
    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.open.backend
    }

    /// Makes permits just acquired this process's without a guard.
    pub(crate) fn hold(&self, count: u32, epoch: Epoch) {
        // What was acquired before a reset is owed no more, so giving it back creates.
        if epoch == self.backend().epoch() {
            self.open.account.add(epoch, count);
        }
    }

    /// Gives back what is held without a guard, up to `count`, and creates the rest.
    pub(crate) fn release(&self, count: u32) -> Result<(), Fault> {
        let Open { backend, account } = &*self.open;
        let epoch = backend.epoch();
        let held = account.take(epoch, count);
        backend.release(held, count - held).inspect_err(|_| account.add(epoch, held))
    }

    /// Forgets what is held without a guard, up to `count`; tells how many those were.
    pub(crate) fn forget_held(&self, count: u32) -> Result<u32, Fault> {
        let Open { backend, account } = &*self.open;
        let epoch = backend.epoch();
        let held = account.take(epoch, count);
        if held > 0 {
            backend.forget(held, epoch).inspect_err(|_| account.add(epoch, held))?;
        }
        Ok(held)
    }

    /// How many permits this process holds without a guard.
    pub(crate) fn held(&self) -> u32 {
        self.open.held()
    }
}

impl Open {
    fn held(&self) -> u32 {
        self.account.held(self.backend.epoch())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let mut registry = registry();
        let identity = (self.key_type, self.backend().identity());
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
            if self.open.held() == 0 {
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

/// How many permits a process holds without a guard, with the process and the epoch that they belong to: in a forked
/// child, and after a reset, it reads as none. One word, so that no lock can be left locked by a fork.
#[derive(Debug, Default)]
struct Account(AtomicU64);

impl Account {
    fn held(&self, epoch: Epoch) -> u32 {
        Self::read(self.0.load(Ordering::Acquire), epoch)
    }

    fn add(&self, epoch: Epoch, count: u32) {
        self.update(epoch, |held| held.saturating_add(count));
    }

    /// Takes up to `count` out and tells how many.
    fn take(&self, epoch: Epoch, count: u32) -> u32 {
        self.update(epoch, |held| held.saturating_sub(count)).min(count)
    }

    /// Returns what was held before.
    fn update(&self, epoch: Epoch, change: impl Fn(u32) -> u32) -> u32 {
        let changed = |word| Some(Self::owner(epoch) | u64::from(change(Self::read(word, epoch))));
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, changed) {
            Ok(before) | Err(before) => Self::read(before, epoch),
        }
    }

    /// `[ generation:16 | epoch:16 | held:32 ]`: so many forks in a row, or resets while something is held, that 16
    /// bits come round do not happen.
    fn owner(epoch: Epoch) -> u64 {
        u64::from(fork::generation() & 0xFFFF) << 48 | u64::from(epoch & 0xFFFF) << 32
    }

    fn read(word: u64, epoch: Epoch) -> u32 {
        let held = word as u32;
        if word == Self::owner(epoch) | u64::from(held) { held } else { 0 }
    }
}

struct Entry {
    attachment: Weak<Attachment>,
    open: Arc<Open>,
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
