//! The semaphores that this process has open.
//!
//! For each of them the process has one open backend, the number of its detached permits, and the removals that its last
//! handle runs. All handles of one semaphore share an [`Attachment`].

mod cleanup;
mod detached;
mod open_semaphore;
mod registry;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::cleanup::Cleanup;
use self::open_semaphore::OpenSemaphore;
use self::registry::{Entry, Registry};
use crate::backend::api::{Identity, OpenRequest, Opened, Removal};
use crate::backend::{self, FastPath};
use crate::error::{Cause, ErrorKind};
use crate::key::{KeyType, NativeIpcKey};
use crate::sys::arc_or_ref::ArcOrRef;
use crate::sys::fork::{self, PerProcess};
use crate::sys::standard_descriptors::Reservation;
use crate::types::Capabilities;

/// The state that all handles of one semaphore in this process share.
///
/// The fields that every operation reads come first, in as few cache lines as possible. With thousands of semaphores
/// open, an operation mostly waits for those lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Attachment {
    pub(crate) open: Arc<OpenSemaphore>,
    /// The generation of the process that runs this code.
    current_generation: &'static AtomicU32,
    /// The generation of the process that opened the semaphore. A forked child has a copy, and must not run the cleanup.
    owner_generation: u32,
    fast_path: Option<FastPath>,
    /// A reference to this attachment.
    shared: Weak<Self>,
    /// The text of the key by which this process first opened the semaphore, for messages.
    pub(crate) key_text: Arc<str>,
    /// The capabilities when the semaphore was opened.
    pub(crate) capabilities: Capabilities,
    identity: (KeyType, Identity),
    /// Unique among the attachments of this process and its ancestors.
    id: u64,
    cleanup: Mutex<Cleanup>,
}

/// Opens the semaphore, or returns the attachment if this process has it open already.
pub(crate) fn attach(
    key: &NativeIpcKey,
    key_text: &Arc<str>,
    request: &OpenRequest,
) -> Result<Arc<Attachment>, Cause> {
    for _ in 0..RESET_ATTEMPTS {
        let Attached { attachment, removal, needs_reset } = open_or_reuse(key, key_text, request)?;
        if needs_reset {
            match attachment.with_open(|open| open.backend.reset(request.initial_value)) {
                Ok(()) => {}
                // A remover was faster. If this open created the file, the next attempt must create its own.
                Err(cause) if cause.kind == ErrorKind::NotFound => {
                    removal.into_iter().for_each(|removal| (removal.run)());
                    continue;
                }
                Err(cause) => return Err(cause),
            }
        }
        // Only now, because an open that failed must remove nothing.
        lock(&attachment.cleanup).add(removal, request.persistent);
        return Ok(attachment);
    }
    let reason = "others removed it again and again while it was being reset";
    Err(Cause::new(ErrorKind::Unknown, reason))
}

/// How often an opener starts over because the semaphore was removed before the reset.
const RESET_ATTEMPTS: u32 = 100;

struct Attached {
    attachment: Arc<Attachment>,
    removal: Option<Removal>,
    needs_reset: bool,
}

fn open_or_reuse(key: &NativeIpcKey, key_text: &Arc<str>, request: &OpenRequest) -> Result<Attached, Cause> {
    let _reservation = Reservation::new();
    let namespace = backend::namespace_of(key)?;
    let open = || namespace.open(key.native_key(), request);
    // An open can wait for other processes. If possible, it does so without the registry's lock.
    let before = if namespace.open_is_race_free() { Some(open()?) } else { None };
    // Locked to the end: between the open and the insertion, the last handle of another thread must not remove the
    // semaphore.
    let mut registry = registry();
    let Opened { backend, removal, needs_reset } = before.map_or_else(open, Ok)?;
    let identity = (key.key_type(), backend.identity());
    let (entry, spare) = registry.get_or_insert(identity, backend);
    let attachment =
        entry.attachment_or_insert_with(|open, shared| Attachment::new(open, shared, identity, key_text));
    // The spare backend is closed without the lock, because a close can take as long as an open.
    drop(registry);
    drop(spare);
    Ok(Attached { attachment, removal, needs_reset })
}

impl Attachment {
    fn new(
        open: &Arc<OpenSemaphore>,
        shared: &Weak<Self>,
        identity: (KeyType, Identity),
        key_text: &Arc<str>,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self {
            fast_path: backend::fast_path(&*open.backend),
            current_generation: fork::cell(),
            owner_generation: fork::generation(),
            open: Arc::clone(open),
            shared: Weak::clone(shared),
            key_text: Arc::clone(key_text),
            capabilities: open.backend.capabilities(),
            identity,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            cleanup: Mutex::default(),
        }
    }

    /// Returns the attachment of this process: in a forked child that inherited `self`, the child's own one.
    #[inline]
    pub(crate) fn in_this_process(&self) -> Result<ArcOrRef<'_, Self>, Cause> {
        if self.is_own() {
            return Ok(ArcOrRef::from_ref(self));
        }
        self.reopen_after_fork().map(ArcOrRef::from_arc)
    }

    /// Runs an operation on the open semaphore of this process. A forked child opens the semaphore anew.
    #[inline]
    pub(crate) fn with_open<T>(
        &self,
        operation: impl FnOnce(&OpenSemaphore) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        operation(&self.in_this_process()?.open)
    }

    /// Whether this process created the attachment, and not an ancestor.
    #[inline(always)]
    pub(crate) fn is_own(&self) -> bool {
        // A new child finds the generation 0 there, which no process has.
        self.current_generation.load(Ordering::Relaxed) == self.owner_generation
    }

    /// Returns the fast path, if the type has one and this process created the attachment.
    #[inline(always)]
    pub(crate) fn fast_path(&self) -> Option<&FastPath> {
        if self.is_own() { self.fast_path.as_ref() } else { None }
    }

    /// Returns an owning reference to this attachment.
    pub(crate) fn to_arc(&self) -> Arc<Self> {
        self.shared.upgrade().expect("the caller borrows it from an owner")
    }

    /// Returns the attachment that a forked child uses instead of the inherited one, and creates it if necessary.
    #[cold]
    fn reopen_after_fork(&self) -> Result<Arc<Self>, Cause> {
        if let Some(attachment) = registry().inherited.get(&self.id) {
            return Ok(Arc::clone(attachment));
        }
        let opened = {
            let _reservation = Reservation::new();
            self.open.backend.reopen_after_fork().transpose()?
        };
        let mut registry = registry();
        let (attachment, spare) = match opened {
            None => {
                let as_it_is = || Entry::new(Arc::clone(&self.open));
                let entry = registry.entries.entry(self.identity).or_insert_with(as_it_is);
                let new = |open: &_, shared: &_| Self::new(open, shared, self.identity, &self.key_text);
                (entry.attachment_or_insert_with(new), None)
            }
            Some(Opened { backend, .. }) => {
                let identity = (self.identity.0, backend.identity());
                let (entry, spare) = registry.get_or_insert(identity, backend);
                let new = |open: &_, shared: &_| Self::new(open, shared, identity, &self.key_text);
                (entry.attachment_or_insert_with(new), spare)
            }
        };
        // Another thread can have been faster, with another file that was removed since.
        let first = Arc::clone(registry.inherited.entry(self.id).or_insert_with(|| Arc::clone(&attachment)));
        drop(registry);
        drop((spare, attachment));
        Ok(first)
    }

    /// Whether both attachments are of one semaphore.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // Both are dropped after the lock, because a close can take as long as an open.
        let (_in_child, _entry);
        let mut registry = registry();
        if !self.is_own() {
            _in_child = registry.inherited.remove(&self.id);
            return;
        }
        let mut cleanup = std::mem::take(&mut *lock(&self.cleanup));
        let successor = registry.entries.get(&self.identity).and_then(|entry| entry.attachment.upgrade());
        if let Some(successor) = successor {
            // Another thread has just opened the semaphore again.
            lock(&successor.cleanup)
                .add(std::mem::take(&mut cleanup.removals).into_values(), cleanup.persistent);
            // This can be the last reference. Its drop takes the registry's lock.
            drop(registry);
            drop(successor);
            return;
        }
        _entry = registry.remove_if_unused(self.identity, cleanup.removes_semaphore());
        if !cleanup.persistent {
            for removal in cleanup.removals.into_values() {
                (removal.run)();
            }
        }
    }
}

/// Locks the registry of this process.
///
/// A forked child starts with an empty one: the child owns nothing, and another thread of its parent can have held the
/// lock during the fork.
fn registry() -> MutexGuard<'static, Registry<Attachment>> {
    static REGISTRY: PerProcess<Mutex<Registry<Attachment>>> = PerProcess::new();
    lock(REGISTRY.get())
}

/// Locks a mutex, also a poisoned one: no code that could panic halfway through a change runs under our locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
