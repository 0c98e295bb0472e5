//! What this process has open: for each semaphore the open backend, the permits that are held without a guard, and what
//! the last handle removes.

mod cleanup;
mod detached;
mod open;
mod registry;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::cleanup::Duties;
use self::open::Open;
use self::registry::{Entry, Registry};
use crate::backend::api::{Identity, OpenRequest, Opened, Removal};
use crate::backend::{self, FastPath};
use crate::error::{Cause, ErrorKind};
use crate::key::{KeyType, NativeIpcKey};
use crate::sys::arc_or_ref::ArcOrRef;
use crate::sys::fork::{self, PerProcess};
use crate::sys::standard_descriptors::Reservation;
use crate::types::Capabilities;

/// One semaphore as the handles of this process share it. What an operation needs comes first, in as few cache lines as it can: with
/// thousands open, they are what it waits for.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Attachment {
    pub(crate) open: Arc<Open>,
    /// This process's generation, as it is now.
    now: &'static AtomicU32,
    /// The process that opened it; a forked child has a copy, but none of its duties.
    generation: u32,
    quick: Option<FastPath>,
    /// Itself.
    shared: Weak<Self>,
    /// The text of the key it was first opened by, for messages.
    pub(crate) key_text: Arc<str>,
    /// What it could do when it was opened.
    pub(crate) capabilities: Capabilities,
    identity: (KeyType, Identity),
    /// No other attachment of this process or its parents has this number.
    number: u64,
    duties: Mutex<Duties>,
}

/// Opens the semaphore, or joins what this process has of it already.
pub(crate) fn attach(
    key: &NativeIpcKey,
    key_text: &Arc<str>,
    request: &OpenRequest,
) -> Result<Arc<Attachment>, Cause> {
    for _ in 0..RESET_ATTEMPTS {
        let Joined { attachment, removal, needs_reset } = open_or_join(key, key_text, request)?;
        if needs_reset {
            match attachment.with_open(|open| open.backend.reset(request.initial_value)) {
                Ok(()) => {}
                // removed since; a new one is to be made, with a file of its own if we made this one
                Err(cause) if cause.kind == ErrorKind::NotFound => {
                    removal.into_iter().for_each(|removal| (removal.run)());
                    continue;
                }
                Err(cause) => return Err(cause),
            }
        }
        // Only now: an open that failed removes nothing.
        lock(&attachment.duties).add(removal, request.persistent);
        return Ok(attachment);
    }
    let reason = "others removed it again and again while it was being reset";
    Err(Cause::new(ErrorKind::Unknown, reason))
}

/// How often a semaphore that vanishes before it can be reset is opened anew.
const RESET_ATTEMPTS: u32 = 100;

struct Joined {
    attachment: Arc<Attachment>,
    removal: Option<Removal>,
    needs_reset: bool,
}

fn open_or_join(key: &NativeIpcKey, key_text: &Arc<str>, request: &OpenRequest) -> Result<Joined, Cause> {
    let _reservation = Reservation::new();
    let namespace = backend::namespace_of(key)?;
    let open = || namespace.open(key.native_key(), request);
    // An open may have to wait for others, and other semaphores are not to wait with it.
    let before = if namespace.open_is_race_free() { Some(open()?) } else { None };
    // Held to the end: between the open and the entry no other thread's last handle may remove what was opened.
    let mut registry = registry();
    let Opened { backend, removal, needs_reset } = before.map_or_else(open, Ok)?;
    let identity = (key.key_type(), backend.identity());
    let (entry, spare) = registry.enter(identity, backend);
    let attachment = entry.attachment(|open, shared| Attachment::new(open, shared, identity, key_text));
    // closing it may take as long as opening did
    drop(registry);
    drop(spare);
    Ok(Joined { attachment, removal, needs_reset })
}

impl Attachment {
    fn new(
        open: &Arc<Open>,
        shared: &Weak<Self>,
        identity: (KeyType, Identity),
        key_text: &Arc<str>,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            quick: backend::fast_path(&*open.backend),
            now: fork::cell(),
            generation: fork::generation(),
            open: Arc::clone(open),
            shared: Weak::clone(shared),
            key_text: Arc::clone(key_text),
            capabilities: open.backend.capabilities(),
            identity,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            duties: Mutex::default(),
        }
    }

    /// What this process has of it: itself, or, in a forked child that has inherited it, what stands for it there.
    #[inline]
    pub(crate) fn here(&self) -> Result<ArcOrRef<'_, Self>, Cause> {
        if self.is_own() {
            return Ok(ArcOrRef::from_ref(self));
        }
        self.in_child().map(ArcOrRef::from_arc)
    }

    /// Does something with the open semaphore as this process shares it. A forked child that uses what it inherited
    /// shares it with what it opens itself.
    #[inline]
    pub(crate) fn with_open<T>(&self, operation: impl FnOnce(&Open) -> Result<T, Cause>) -> Result<T, Cause> {
        operation(&self.here()?.open)
    }

    /// Whether this process opened it.
    #[inline(always)]
    pub(crate) fn is_own(&self) -> bool {
        // no process has the generation 0, which a new child finds there
        self.now.load(Ordering::Relaxed) == self.generation
    }

    /// What this process can operate on without further ado.
    #[inline(always)]
    pub(crate) fn quick(&self) -> Option<&FastPath> {
        if self.is_own() { self.quick.as_ref() } else { None }
    }

    /// Another owner of it.
    pub(crate) fn share(&self) -> Arc<Self> {
        self.shared.upgrade().expect("who has a reference to it keeps it alive")
    }

    /// What a forked child uses in the place of what it inherited.
    #[cold]
    fn in_child(&self) -> Result<Arc<Self>, Cause> {
        if let Some(attachment) = registry().inherited.get(&self.number) {
            return Ok(Arc::clone(attachment));
        }
        let reservation = Reservation::new();
        let opened = self.open.backend.reopen_after_fork().transpose()?;
        drop(reservation);
        let mut registry = registry();
        let (attachment, spare) = match opened {
            None => {
                let as_it_is = || Entry::of(Arc::clone(&self.open));
                let entry = registry.entries.entry(self.identity).or_insert_with(as_it_is);
                let new = |open: &_, shared: &_| Self::new(open, shared, self.identity, &self.key_text);
                (entry.attachment(new), None)
            }
            Some(Opened { backend, .. }) => {
                let identity = (self.identity.0, backend.identity());
                let (entry, spare) = registry.enter(identity, backend);
                let new = |open: &_, shared: &_| Self::new(open, shared, identity, &self.key_text);
                (entry.attachment(new), spare)
            }
        };
        // another thread may have been first, with another file that has gone since
        let first =
            Arc::clone(registry.inherited.entry(self.number).or_insert_with(|| Arc::clone(&attachment)));
        drop(registry);
        drop((spare, attachment));
        Ok(first)
    }

    /// Whether the two are of one semaphore.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // what is taken out of the registry goes after its lock: closing may take as long as opening
        let (_in_child, _entry);
        let mut registry = registry();
        if !self.is_own() {
            _in_child = registry.inherited.remove(&self.number);
            return;
        }
        let mut duties = std::mem::take(&mut *lock(&self.duties));
        let successor = registry.entries.get(&self.identity).and_then(|entry| entry.attachment.upgrade());
        if let Some(successor) = successor {
            // another thread opened it anew just now
            lock(&successor.duties)
                .add(std::mem::take(&mut duties.removals).into_values(), duties.persistent);
            // Its last handle may be gone by now; it must not be dropped under the lock, which it takes.
            drop(registry);
            drop(successor);
            return;
        }
        _entry = registry.forget_unneeded(self.identity, duties.end_the_semaphore());
        if !duties.persistent {
            for removal in duties.removals.into_values() {
                (removal.run)();
            }
        }
    }
}

/// This process's registry. A forked child begins with an empty one: it owns nothing, and another thread of its
/// parent may have held the lock at the fork.
fn registry() -> MutexGuard<'static, Registry<Attachment>> {
    static REGISTRY: PerProcess<Mutex<Registry<Attachment>>> = PerProcess::new();
    lock(REGISTRY.get())
}

/// No code that could panic half way runs under our locks, so what a poisoned one guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
