//! What a process has of one semaphore: the open backend, the account of what is held without a guard, and what is to
//! be done when the last handle goes.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::backend::api::{Backend, Identity, Opened, Removal, Request, Subject};
use crate::backend::{self, FastPath};
use crate::error::{ErrorKind, Fault};
use crate::key::{KeyType, NativeIpcKey};
use crate::sys::arc_or_ref::ArcOrRef;
use crate::sys::fork::{self, PerProcess};
use crate::sys::standard_descriptors::Reservation;
#[cfg(target_os = "linux")]
use crate::sys::thread::SingleThreaded;
use crate::types::{Capabilities, Epoch};

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
    key_text: &Arc<str>,
    request: &Request,
) -> Result<Arc<Attachment>, Fault> {
    for _ in 0..RESET_ATTEMPTS {
        let Joined { attachment, removal, needs_reset } = open_or_join(key, key_text, request)?;
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
        lock(&attachment.duties).add(removal, request.persistent);
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

fn open_or_join(key: &NativeIpcKey, key_text: &Arc<str>, request: &Request) -> Result<Joined, Fault> {
    let _reservation = Reservation::new();
    let namespace = backend::namespace_of(key)?;
    let open = || namespace.open(key.native_key(), request);
    // An open may have to wait for others, and other semaphores are not to wait with it.
    let before = if namespace.guards_what_it_opens() { Some(open()?) } else { None };
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
    pub(crate) fn here(&self) -> Result<ArcOrRef<'_, Self>, Fault> {
        if self.is_own() {
            return Ok(ArcOrRef::from_ref(self));
        }
        self.in_child().map(ArcOrRef::from_arc)
    }

    /// Does something with the open semaphore as this process shares it. A forked child that uses what it inherited
    /// shares it with what it opens itself.
    #[inline]
    pub(crate) fn with_open<T>(&self, operation: impl FnOnce(&Open) -> Result<T, Fault>) -> Result<T, Fault> {
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
    fn in_child(&self) -> Result<Arc<Self>, Fault> {
        if let Some(attachment) = registry().inherited.get(&self.number) {
            return Ok(Arc::clone(attachment));
        }
        let reservation = Reservation::new();
        let opened = self.open.backend.open_in_child().transpose()?;
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

impl Open {
    fn new(backend: Box<dyn Backend>) -> Self {
        Self { backend, account: Account::default() }
    }

    /// Makes permits just acquired this process's without a guard.
    #[inline]
    pub(crate) fn hold(&self, count: u32, epoch: Epoch) {
        self.put(count, epoch);
        self.backend.holds_from_now();
    }

    /// Puts permits of this epoch into the account.
    #[inline]
    fn put(&self, count: u32, epoch: Epoch) {
        if self.account.add_alone(count, epoch) {
            return;
        }
        // What was acquired before a reset is owed no more, so giving it back creates.
        self.account.update(
            || self.backend.epoch(),
            |now, held| if now == epoch { held.saturating_add(count) } else { held },
        );
    }

    /// Gives back what is held without a guard, up to `count`, and creates the rest.
    pub(crate) fn release(&self, count: u32) -> Result<(), Fault> {
        let (held, epoch) = self.take(count);
        self.backend.release(held, epoch, count - held).inspect_err(|_| self.hold(held, epoch))
    }

    /// Gives back `count` permits that are held without a guard, if that is a matter of nanoseconds; tells whether it did.
    #[inline]
    pub(crate) fn release_at_once(&self, count: u32, quick: &FastPath) -> bool {
        if self.account.is_surely_below(count) {
            return false;
        }
        let (held, epoch) = self.take(count);
        let is_done = held == count && quick.give_back(count, epoch);
        if !is_done && held > 0 {
            // Since when they are held is known still: the semaphore has not seen anything.
            self.put(held, epoch);
        }
        is_done
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
    #[inline]
    fn take(&self, count: u32) -> (u32, Epoch) {
        let (epoch, held) =
            self.account.update(|| self.backend.epoch(), |_, held| held.saturating_sub(count));
        (held.min(count), epoch)
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

/// How many permits a process holds without a guard, with the process and the epoch that they belong to: in a forked
/// child, and after a reset, it reads as none. One word, so that no lock can be left locked by a fork.
#[derive(Debug)]
struct Account {
    word: AtomicU64,
    #[cfg(target_os = "linux")]
    single: SingleThreaded,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            word: AtomicU64::new(0),
            #[cfg(target_os = "linux")]
            single: SingleThreaded::find(),
        }
    }
}

impl Account {
    fn held(&self, epoch: Epoch) -> u32 {
        Self::read(self.word.load(Ordering::Acquire), epoch)
    }

    /// Whether, in whatever epoch it is, fewer are held. `false` says nothing.
    #[inline]
    fn is_surely_below(&self, count: u32) -> bool {
        (self.word.load(Ordering::Relaxed) as u32) < count
    }

    /// Changes what is held, knowing the epoch; returns the epoch and what was held before.
    ///
    /// The epoch is asked for after the word was loaded, so that no word of a later epoch can be taken for one of an
    /// earlier: if there is one, it was written since, and the exchange fails.
    fn update(&self, epoch: impl Fn() -> Epoch, change: impl Fn(Epoch, u32) -> u32) -> (Epoch, u32) {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let now = epoch();
            let held = Self::read(word, now);
            let changed = Self::owner(now) | u64::from(change(now, held));
            // a locked instruction costs as much as all the rest, and is for the other threads
            if self.is_single() {
                self.word.store(changed, Ordering::Release);
                return (now, held);
            }
            match self.word.compare_exchange_weak(word, changed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return (now, held),
                Err(current) => word = current,
            }
        }
    }

    /// Adds to what is held of this epoch, if that is what stands there and this is the only thread; tells whether it did. Which
    /// epoch it is now makes no difference: if another, neither counts.
    #[inline]
    fn add_alone(&self, count: u32, epoch: Epoch) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let owner = Self::owner(epoch);
        let held = word as u32;
        let is_same = word == owner | u64::from(held);
        if is_same && self.is_single() {
            self.word.store(owner | u64::from(held.saturating_add(count)), Ordering::Release);
            return true;
        }
        false
    }

    #[inline]
    fn is_single(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.single.get();
        #[cfg(not(target_os = "linux"))]
        return false;
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

/// The semaphores that this process has open. An `A` is what the handles of one of them share.
struct Registry<A> {
    entries: HashMap<(KeyType, Identity), Entry<A>>,
    /// What stands for attachments inherited from a parent, by their numbers.
    inherited: HashMap<u64, Arc<A>>,
}

struct Entry<A> {
    attachment: Weak<A>,
    open: Arc<Open>,
}

impl<A> Entry<A> {
    fn of(open: Arc<Open>) -> Self {
        Self { attachment: Weak::new(), open }
    }

    /// Returns what the handles share; if they share nothing yet, `new` makes it, from the open semaphore and a
    /// reference to the result.
    fn attachment(&mut self, new: impl FnOnce(&Arc<Open>, &Weak<A>) -> A) -> Arc<A> {
        if let Some(attachment) = self.attachment.upgrade() {
            return attachment;
        }
        let attachment = Arc::new_cyclic(|shared| new(&self.open, shared));
        self.attachment = Arc::downgrade(&attachment);
        attachment
    }
}

impl<A> Default for Registry<A> {
    fn default() -> Self {
        Self { entries: HashMap::new(), inherited: HashMap::new() }
    }
}

impl<A> Registry<A> {
    /// The entry of what was opened; the backend comes back if it is open already.
    fn enter(
        &mut self,
        identity: (KeyType, Identity),
        backend: Box<dyn Backend>,
    ) -> (&mut Entry<A>, Option<Box<dyn Backend>>) {
        match self.entries.entry(identity) {
            hash_map::Entry::Occupied(entry) => (entry.into_mut(), Some(backend)),
            hash_map::Entry::Vacant(entry) => (entry.insert(Entry::of(Arc::new(Open::new(backend)))), None),
        }
    }

    /// Takes an entry out if no handle needs it any more, nor, unless the semaphore ends anyway, what is held without
    /// a guard.
    fn forget_unneeded(&mut self, identity: (KeyType, Identity), ends: bool) -> Option<Entry<A>> {
        let entry = self.entries.get(&identity)?;
        let is_needed = entry.attachment.strong_count() > 0 || !ends && entry.open.held() > 0;
        if is_needed { None } else { self.entries.remove(&identity) }
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicU8;

    use super::{Account, SingleThreaded};

    /// An account of a process that has one thread, or has not.
    fn account(single: u8) -> Account {
        let single = SingleThreaded::told_by(Box::leak(Box::new(AtomicU8::new(single))));
        Account { single, ..Account::default() }
    }

    #[test]
    fn what_is_held_in_a_later_epoch_is_not_lost_to_one_who_was_slow() {
        let account = account(0);
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

    #[test]
    fn the_only_thread_counts_like_any_other() {
        for single in [0, 1] {
            let account = account(single);
            let put = |count, epoch, now| {
                if !account.add_alone(count, epoch) {
                    account.update(|| now, |now, held| if now == epoch { held + count } else { held });
                }
            };
            put(2, 0, 0);
            put(3, 0, 0);
            assert_eq!(account.held(0), 5);
            assert_eq!(account.update(|| 0, |_, held| held - 1), (0, 5));
            // what was taken before a reset does not drive out what was taken since
            put(2, 1, 1);
            put(4, 0, 1);
            assert_eq!((account.held(0), account.held(1)), (0, 2));
        }
    }
}
