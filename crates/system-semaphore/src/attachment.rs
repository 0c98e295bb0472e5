//! What a process has of one semaphore: the open backend, the account of what is held without a guard, and what is to
//! be done when the last handle goes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::backend::{self, Backend, Epoch, Identity, Opened, Removal, Request, Subject};
use crate::error::{ErrorKind, Fault};
use crate::key::{KeyType, NativeIpcKey};
use crate::sys::fork::{self, PerProcess};

/// One semaphore as the handles of this process share it.
#[derive(Debug)]
pub(crate) struct Attachment {
    open: Arc<Open>,
    /// The text of the key it was first opened by, for messages.
    pub(crate) key_text: Arc<str>,
    identity: (KeyType, Identity),
    /// The process that opened it; a forked child has a copy, but none of its duties.
    generation: u32,
    duties: Mutex<Duties>,
}

/// An open semaphore. It outlives the handles while permits are held without a guard.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) backend: Box<dyn Backend>,
    account: Account,
}

/// What the last handle has to do.
#[derive(Default)]
struct Duties {
    removals: BTreeMap<Subject, Removal>,
    persistent: bool,
}

impl Duties {
    fn add(&mut self, removals: impl IntoIterator<Item = Removal>, persistent: bool) {
        for removal in removals {
            self.removals.entry(removal.subject).or_insert(removal);
        }
        self.persistent |= persistent;
    }

    fn end_the_semaphore(&self) -> bool {
        !self.persistent && self.removals.contains_key(&Subject::Semaphore)
    }
}

impl fmt::Debug for Duties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removals: Vec<_> = self.removals.keys().collect();
        f.debug_struct("Duties").field("removals", &removals).field("persistent", &self.persistent).finish()
    }
}

/// Opens the semaphore, or joins what this process has of it already.
pub(crate) fn attach(
    key: &NativeIpcKey,
    request: &Request,
    persistent: bool,
) -> Result<Arc<Attachment>, Fault> {
    for _ in 0..RESET_ATTEMPTS {
        let Joined { attachment, removal, needs_reset } = open_or_join(key, request)?;
        if needs_reset {
            match attachment.with_open(|open| open.backend.reset(request.initial_value)) {
                Ok(()) => {}
                // removed since; a new one is to be made, with a file of its own if we made this one
                Err(fault) if fault.kind == ErrorKind::NotFound => {
                    removal.into_iter().for_each(|removal| (removal.run)());
                    continue;
                }
                Err(fault) => return Err(fault),
            }
        }
        // Only now: an open that failed removes nothing.
        lock(&attachment.duties).add(removal, persistent);
        return Ok(attachment);
    }
    let reason = "others removed it again and again while it was being reset";
    Err(Fault::new(ErrorKind::Unknown, reason))
}

/// How often a semaphore that vanishes before it can be reset is opened anew.
const RESET_ATTEMPTS: u32 = 100;

struct Joined {
    attachment: Arc<Attachment>,
    removal: Option<Removal>,
    needs_reset: bool,
}

fn open_or_join(key: &NativeIpcKey, request: &Request) -> Result<Joined, Fault> {
    // Held to the end: between the open and the entry no other thread's last handle may remove what was opened.
    let mut registry = registry();
    let Opened { backend, removal, needs_reset } = backend::open(key, request)?;
    let identity = (key.key_type(), backend.identity());
    let entry = registry.entry(identity).or_insert_with(|| Entry::of(Arc::new(Open::new(backend))));
    let attachment = entry.attachment.upgrade().unwrap_or_else(|| {
        Arc::new(Attachment {
            open: Arc::clone(&entry.open),
            key_text: key.to_string().into(),
            identity,
            generation: fork::generation(),
            duties: Mutex::default(),
        })
    });
    entry.attachment = Arc::downgrade(&attachment);
    Ok(Joined { attachment, removal, needs_reset })
}

impl Attachment {
    /// The open semaphore as this process shares it. A forked child that uses what it inherited shares it with what
    /// it opens itself.
    pub(crate) fn with_open<T>(&self, operation: impl FnOnce(&Open) -> T) -> T {
        if self.generation == fork::generation() {
            return operation(&self.open);
        }
        let open = {
            let mut registry = registry();
            let entry = registry.entry(self.identity).or_insert_with(|| Entry::of(Arc::clone(&self.open)));
            entry.is_inherited = true;
            Arc::clone(&entry.open)
        };
        operation(&open)
    }

    /// Whether the two are of one semaphore.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Open {
    fn new(backend: Box<dyn Backend>) -> Self {
        Self { backend, account: Account::default() }
    }

    /// Makes permits just acquired this process's without a guard.
    pub(crate) fn hold(&self, count: u32, epoch: Epoch) {
        // What was acquired before a reset is owed no more, so giving it back creates.
        self.account.update(
            || self.backend.epoch(),
            |now, held| if now == epoch { held.saturating_add(count) } else { held },
        );
    }

    /// Gives back what is held without a guard, up to `count`, and creates the rest.
    pub(crate) fn release(&self, count: u32) -> Result<(), Fault> {
        let (held, epoch) = self.take(count);
        self.backend.release(held, count - held).inspect_err(|_| self.hold(held, epoch))
    }

    /// Forgets what is held without a guard, up to `count`; tells how many those were.
    pub(crate) fn forget_held(&self, count: u32) -> Result<u32, Fault> {
        let (held, epoch) = self.take(count);
        if held > 0 {
            self.backend.forget(held, epoch).inspect_err(|_| self.hold(held, epoch))?;
        }
        Ok(held)
    }

    /// How many permits this process holds without a guard.
    pub(crate) fn held(&self) -> u32 {
        self.account.held(self.backend.epoch())
    }

    /// Takes up to `count` out of the account; tells how many, and of which epoch they are.
    fn take(&self, count: u32) -> (u32, Epoch) {
        let (epoch, held) =
            self.account.update(|| self.backend.epoch(), |_, held| held.saturating_sub(count));
        (held.min(count), epoch)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let mut registry = registry();
        let mut duties = std::mem::take(&mut *lock(&self.duties));
        let successor = registry.get(&self.identity).and_then(|entry| entry.attachment.upgrade());
        if let Some(successor) = successor {
            // another thread opened it anew just now
            lock(&successor.duties)
                .add(std::mem::take(&mut duties.removals).into_values(), duties.persistent);
            // Its last handle may be gone by now; it must not be dropped under the lock, which it takes.
            drop(registry);
            drop(successor);
            return;
        }
        let is_needed = registry
            .get(&self.identity)
            .is_some_and(|entry| entry.is_inherited || entry.open.held() > 0 && !duties.end_the_semaphore());
        if !is_needed {
            registry.remove(&self.identity);
        }
        if !duties.persistent {
            for removal in duties.removals.into_values() {
                (removal.run)();
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

    /// Changes what is held, knowing the epoch; returns the epoch and what was held before.
    ///
    /// The epoch is asked for after the word was loaded, so that no word of a later epoch can be taken for one of an
    /// earlier: if there is one, it was written since, and the exchange fails.
    fn update(&self, epoch: impl Fn() -> Epoch, change: impl Fn(Epoch, u32) -> u32) -> (Epoch, u32) {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let now = epoch();
            let held = Self::read(word, now);
            let changed = Self::owner(now) | u64::from(change(now, held));
            match self.0.compare_exchange_weak(word, changed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return (now, held),
                Err(current) => word = current,
            }
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
    /// Whether handles inherited from a parent use it, of which nobody knows when the last one goes.
    is_inherited: bool,
}

impl Entry {
    fn of(open: Arc<Open>) -> Self {
        Self { attachment: Weak::new(), open, is_inherited: false }
    }
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::Account;

    #[test]
    fn what_is_held_in_a_later_epoch_is_not_lost_to_one_who_was_slow() {
        let account = Account::default();
        account.update(|| 0, |_, held| held + 5);
        let asked = Cell::new(false);
        // between this one's question and its change, another begins the next epoch and holds two
        let epoch = || {
            if !asked.replace(true) {
                account.update(|| 1, |_, held| held + 2);
                0
            } else {
                1
            }
        };
        assert_eq!(account.update(epoch, |_, held| held.saturating_sub(1)), (1, 2));
        assert_eq!((account.held(0), account.held(1)), (0, 1));
    }
}
