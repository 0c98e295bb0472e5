//! Semaphores.

#![allow(unsafe_code)]
#![allow(non_camel_case_types, reason = "these are the names in C")]

use std::ffi::{CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::LazyLock;
use std::time::{Duration, Instant, UNIX_EPOCH};

use system_semaphore::{AccessMode, Builder, Holder, KeyType, Permit, Result, SystemSemaphore};

use crate::border::{call, given, put, text, value};
use crate::key::read_key;
use crate::permit::syssem_permit;
use crate::status::{Failure, syssem_status};
use crate::text::syssem_text;

/// An open counting semaphore shared by processes. It may be used by all threads of the process at once. When its last
/// handle is closed the semaphore ends, or stays, by the rules of its type: a robust one ends with its last user.
///
/// After a fork, the child may use what it inherited, and owns no permits; handles are not inherited by exec.
#[derive(Debug)]
pub struct syssem_semaphore(SystemSemaphore);

/// What to do if the semaphore exists, and what if it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum syssem_mode {
    /// Use it if it exists (the initial value is then ignored), else create it.
    SYSSEM_OPEN = 0,
    /// Create it, or set the count of the one that is there to the initial value.
    SYSSEM_CREATE = 1,
    /// Create it; SYSSEM_ALREADY_EXISTS if it is there.
    SYSSEM_CREATE_NEW = 2,
    /// Use it; SYSSEM_NOT_FOUND if it is not there.
    SYSSEM_OPEN_EXISTING = 3,
}

/// How a semaphore is opened. All but `size` may be 0: `syssem_options options = { .size = sizeof options };`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct syssem_options {
    /// sizeof(syssem_options), so that later versions know what they were given.
    pub size: usize,
    /// A syssem_mode.
    pub mode: u32,
    /// A syssem_key_form.
    pub form: u32,
    /// The count it has if it is made, or reset by SYSSEM_CREATE.
    pub initial_value: u32,
    /// The largest count it may have, so that releasing too many is an error; 0: that of its type. Robust ones only.
    pub max_permits: u32,
    /// Who may use it, as Unix permission bits; 0: the user alone. Of robust ones only those whose name begins with
    /// `Global\` can be for others.
    pub permissions: u32,
    /// The type of semaphore that a plain name means; 0: the best one of the platform.
    pub key_type: u16,
    /// Not 0: it stays when its last user has gone, until syssem_remove().
    pub persistent: u16,
}

/// What a type of semaphore can do. What it cannot is SYSSEM_UNSUPPORTED, at once.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct syssem_capabilities {
    /// Permits come back when their holder dies, and waiters wake.
    pub returns_on_death: bool,
    /// Permits that were created stay when their creator exits.
    pub created_permits_stay: bool,
    /// Acquires can have a deadline.
    pub timeout: bool,
    /// Several permits can be acquired at once, all or none.
    pub several_at_once: bool,
    /// The number of free permits can be read.
    pub available_permits: bool,
    /// It is known who holds how many.
    pub holders: bool,
    /// The number of those who wait can be read.
    pub waiting: bool,
    /// It is known who used it last.
    pub last_pid: bool,
    /// Dead holders are counted.
    pub recoveries: bool,
    /// SYSSEM_CREATE voids permits taken before. (Without this, giving one back adds one.)
    pub reset_voids_permits: bool,
    /// It is gone after its last user, however that one ended.
    pub ends_with_last_user: bool,
    /// It can have a maximum of its own.
    pub own_maximum: bool,
    /// The largest count.
    pub max_permits: u32,
}

/// Ends a wait from outside: asked before each sleep of the wait, and each time a signal has woken the thread (its handler
/// must have been installed without SA_RESTART). When it returns true, the wait ends. It must not throw nor jump away.
pub type syssem_interrupted = Option<extern "C" fn(context: *mut c_void) -> bool>;

/// A time that does not come: the wait has no end.
pub const SYSSEM_FOREVER: u64 = u64::MAX;

/// Opens a semaphore by its plain name, or creates it with so many permits.
///
/// # Errors
/// SYSSEM_KEY_ERROR if the key cannot name a semaphore, SYSSEM_PERMISSION_DENIED if it belongs to another user,
/// SYSSEM_OUT_OF_RESOURCES if the initial value is above the maximum or the system has no more semaphores,
/// SYSSEM_CORRUPT if something else stands in its place, SYSSEM_TIMED_OUT if another process that is opening or closing
/// it is stopped, SYSSEM_INVALID_ARGUMENT, SYSSEM_UNKNOWN.
///
/// # Safety
/// `name` is NULL or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_open(
    name: *const c_char,
    initial_value: u32,
    semaphore: Option<&mut MaybeUninit<Box<syssem_semaphore>>>,
) -> syssem_status {
    // SAFETY: the caller promised
    let name = unsafe { text(name, "name") };
    call(|| build(SystemSemaphore::builder(name?).initial_value(initial_value), semaphore))
}

/// Creates a semaphore by its plain name with so many permits, or sets the count of the one that is there.
///
/// # Errors
/// Those of syssem_open().
///
/// # Safety
/// `name` is NULL or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_create(
    name: *const c_char,
    initial_value: u32,
    semaphore: Option<&mut MaybeUninit<Box<syssem_semaphore>>>,
) -> syssem_status {
    // SAFETY: the caller promised
    let name = unsafe { text(name, "name") };
    call(|| {
        let builder = SystemSemaphore::builder(name?).mode(AccessMode::Create);
        build(builder.initial_value(initial_value), semaphore)
    })
}

/// Opens a semaphore as the options say.
///
/// # Errors
/// Those of syssem_open(), what the mode says, SYSSEM_UNSUPPORTED for what the type cannot do.
///
/// # Safety
/// `key` is NULL or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_open_with(
    key: *const c_char,
    options: Option<&syssem_options>,
    semaphore: Option<&mut MaybeUninit<Box<syssem_semaphore>>>,
) -> syssem_status {
    // SAFETY: the caller promised
    let key = unsafe { text(key, "key") };
    call(|| {
        let options = given(options, "options")?;
        build(builder(key?, options)?, semaphore)
    })
}

fn builder(key: &str, options: &syssem_options) -> Result<Builder, Failure> {
    if options.size != size_of::<syssem_options>() {
        return Err(Failure::invalid("options.size is not sizeof(syssem_options)"));
    }
    let mut builder = SystemSemaphore::builder(read_key(key, options.form)?)
        .mode(access_mode(options.mode)?)
        .initial_value(options.initial_value)
        .persistent(options.persistent != 0);
    if options.max_permits != 0 {
        builder = builder.max_permits(options.max_permits);
    }
    if options.permissions != 0 {
        builder = builder.permissions(options.permissions);
    }
    if options.key_type != 0 {
        builder = builder.key_type(KeyType::from_number(options.key_type)?);
    }
    Ok(builder)
}

fn access_mode(mode: u32) -> Result<AccessMode, Failure> {
    use syssem_mode::*;
    let modes = [
        (SYSSEM_OPEN, AccessMode::Open),
        (SYSSEM_CREATE, AccessMode::Create),
        (SYSSEM_CREATE_NEW, AccessMode::CreateNew),
        (SYSSEM_OPEN_EXISTING, AccessMode::OpenExisting),
    ];
    let found = modes.iter().find(|(number, _)| *number as u32 == mode);
    found.map(|(_, mode)| *mode).ok_or_else(|| Failure::invalid(format!("there is no mode {mode}")))
}

fn build(builder: Builder, place: Option<&mut MaybeUninit<Box<syssem_semaphore>>>) -> Result<(), Failure> {
    let place = given(place, "semaphore")?;
    place.write(Box::new(syssem_semaphore(builder.build()?)));
    Ok(())
}

/// Another handle of the same semaphore, to be closed on its own.
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_clone(
    semaphore: Option<&syssem_semaphore>,
    other: Option<&mut MaybeUninit<Box<syssem_semaphore>>>,
) -> syssem_status {
    call(|| {
        let clone = given(semaphore, "semaphore")?.0.clone();
        put(other, Box::new(syssem_semaphore(clone)), "other")
    })
}

/// Closes a handle. No other thread may be using it. Nothing happens to NULL. Permits of guards, and
/// detached permits of the process, stay acquired.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_close(semaphore: Option<Box<syssem_semaphore>>) {
    value((), || {
        drop(semaphore);
        Ok(())
    });
}

/// Removes a semaphore from the system by its key, whoever uses it. `form` is a syssem_key_form.
///
/// # Errors
/// SYSSEM_NOT_FOUND if there is none, SYSSEM_PERMISSION_DENIED if it belongs to another user, SYSSEM_KEY_ERROR,
/// SYSSEM_INVALID_ARGUMENT.
///
/// # Safety
/// `key` is NULL or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_remove(key: *const c_char, form: u32) -> syssem_status {
    // SAFETY: the caller promised
    let key = unsafe { text(key, "key") };
    call(|| Ok(SystemSemaphore::remove(read_key(key?, form)?)?))
}

/// The native key of the semaphore in its text form, which opens it with SYSSEM_KEY_TEXT.
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_key_text(
    semaphore: Option<&syssem_semaphore>,
    key_text: Option<&mut MaybeUninit<Box<syssem_text>>>,
) -> syssem_status {
    call(|| {
        let text = given(semaphore, "semaphore")?.0.native_key().to_string();
        put(key_text, syssem_text::new(text), "key_text")
    })
}

/// What this semaphore can do.
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_get_capabilities(
    semaphore: Option<&syssem_semaphore>,
    capabilities: Option<&mut MaybeUninit<syssem_capabilities>>,
) -> syssem_status {
    call(|| {
        let can = given(semaphore, "semaphore")?.0.capabilities();
        let answer = syssem_capabilities {
            returns_on_death: can.returns_on_death,
            created_permits_stay: can.created_permits_stay,
            timeout: can.timeout,
            several_at_once: can.several_at_once,
            available_permits: can.available_permits,
            holders: can.holders,
            waiting: can.waiting,
            last_pid: can.last_pid,
            recoveries: can.recoveries,
            reset_voids_permits: can.reset_voids_permits,
            ends_with_last_user: can.ends_with_last_user,
            own_maximum: can.own_maximum,
            max_permits: can.max_permits,
        };
        put(capabilities, answer, "capabilities")
    })
}

/// Takes `count` permits, all or none, waiting as long as it takes.
///
/// They come in a guard, at `permit`. If that is NULL, the process holds them without one, until syssem_release() or its
/// end. This is so with all functions that acquire.
///
/// # Errors
/// SYSSEM_NOT_FOUND if the semaphore is removed, also while waiting (where the type tells: robust and System V);
/// SYSSEM_OUT_OF_RESOURCES if there can never be so many; SYSSEM_UNSUPPORTED if the type cannot take several at once;
/// SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_acquire(
    semaphore: Option<&syssem_semaphore>,
    count: u32,
    permit: Option<&mut MaybeUninit<Box<syssem_permit>>>,
) -> syssem_status {
    acquire(semaphore, permit, |semaphore| semaphore.acquire_many(count))
}

/// Takes `count` permits, all or none, if that needs no wait.
///
/// # Errors
/// SYSSEM_NO_PERMITS if it would, and those of syssem_acquire().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_try_acquire(
    semaphore: Option<&syssem_semaphore>,
    count: u32,
    permit: Option<&mut MaybeUninit<Box<syssem_permit>>>,
) -> syssem_status {
    acquire(semaphore, permit, |semaphore| semaphore.try_acquire_many(count))
}

/// Takes `count` permits, all or none, waiting no longer than so many nanoseconds, on a clock that cannot be set;
/// SYSSEM_FOREVER: as long as it takes.
///
/// # Errors
/// SYSSEM_TIMED_OUT, and those of syssem_acquire(); SYSSEM_UNSUPPORTED where the type has no timeouts.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_acquire_timeout(
    semaphore: Option<&syssem_semaphore>,
    count: u32,
    nanoseconds: u64,
    permit: Option<&mut MaybeUninit<Box<syssem_permit>>>,
) -> syssem_status {
    acquire(semaphore, permit, |semaphore| match nanoseconds {
        SYSSEM_FOREVER => semaphore.acquire_many(count),
        _ => semaphore.acquire_many_timeout(count, Duration::from_nanos(nanoseconds)),
    })
}

/// Takes `count` permits, all or none, waiting no longer than until `deadline`, in nanoseconds of syssem_now();
/// SYSSEM_FOREVER: as long as it takes.
///
/// # Errors
/// Those of syssem_acquire_timeout().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_acquire_deadline(
    semaphore: Option<&syssem_semaphore>,
    count: u32,
    deadline: u64,
    permit: Option<&mut MaybeUninit<Box<syssem_permit>>>,
) -> syssem_status {
    acquire(semaphore, permit, |semaphore| match instant(deadline) {
        Some(deadline) => semaphore.acquire_many_deadline(count, deadline),
        None => semaphore.acquire_many(count),
    })
}

/// The same in a way that can be ended from outside.
///
/// # Errors
/// SYSSEM_INTERRUPTED if the wait was ended, and those of syssem_acquire_timeout().
///
/// # Safety
/// `interrupted` may be called with `context` until this returns.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_acquire_interruptible(
    semaphore: Option<&syssem_semaphore>,
    count: u32,
    deadline: u64,
    interrupted: syssem_interrupted,
    context: *mut c_void,
    permit: Option<&mut MaybeUninit<Box<syssem_permit>>>,
) -> syssem_status {
    acquire(semaphore, permit, |semaphore| {
        let mut hook = || interrupted.is_some_and(|interrupted| interrupted(context));
        semaphore.acquire_interruptible(count, instant(deadline), &mut hook)
    })
}

fn acquire(
    semaphore: Option<&syssem_semaphore>,
    place: Option<&mut MaybeUninit<Box<syssem_permit>>>,
    acquire: impl FnOnce(&SystemSemaphore) -> Result<Permit<'_>>,
) -> syssem_status {
    call(|| {
        let permit = acquire(&given(semaphore, "semaphore")?.0)?;
        match place {
            Some(place) => {
                place.write(syssem_permit::new(permit.into_owned()));
            }
            None => permit.detach(),
        }
        Ok(())
    })
}

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time of syssem_acquire_deadline(), in nanoseconds: of a clock that cannot be set, whose beginning says nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_now() -> u64 {
    // so that a time a little before now is not one before the beginning
    let since = BEGINNING.elapsed() + HEAD_START;
    since.as_nanos().try_into().unwrap_or(SYSSEM_FOREVER)
}

const HEAD_START: Duration = Duration::from_secs(1 << 30);

/// When it is so late; `None` if that never comes.
fn instant(deadline: u64) -> Option<Instant> {
    let since = Duration::from_nanos(deadline).saturating_sub(HEAD_START);
    if deadline == SYSSEM_FOREVER { None } else { BEGINNING.checked_add(since) }
}

/// Releases up to `count` detached permits of this process, and adds the rest of `count`. Added permits stay when the
/// process exits. 0 does nothing.
///
/// # Errors
/// SYSSEM_OUT_OF_RESOURCES if the count would pass the maximum: nothing has happened then. SYSSEM_NOT_FOUND if the
/// semaphore was removed; SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_release(semaphore: Option<&syssem_semaphore>, count: u32) -> syssem_status {
    call(|| Ok(given(semaphore, "semaphore")?.0.release(count)?))
}

/// Creates `count` permits, and never gives back what this process holds.
///
/// # Errors
/// Those of syssem_release().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_add_permits(semaphore: Option<&syssem_semaphore>, count: u32) -> syssem_status {
    call(|| Ok(given(semaphore, "semaphore")?.0.add_permits(count)?))
}

/// Forgets up to `count` detached permits of this process: they stay acquired, and no process holds them. Their number is
/// written to `forgotten`, which may be NULL.
///
/// # Errors
/// SYSSEM_NOT_FOUND if the semaphore was removed; SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_forget_detached(
    semaphore: Option<&syssem_semaphore>,
    count: u32,
    forgotten: Option<&mut MaybeUninit<u32>>,
) -> syssem_status {
    call(|| {
        let number = given(semaphore, "semaphore")?.0.forget_detached(count)?;
        if let Some(place) = forgotten {
            place.write(number);
        }
        Ok(())
    })
}

/// Writes the number of detached permits of this process to `count`: permits that it holds without a guard.
///
/// # Errors
/// SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_detached_permits(
    semaphore: Option<&syssem_semaphore>,
    count: Option<&mut MaybeUninit<u32>>,
) -> syssem_status {
    ask(semaphore, count, |semaphore| Ok(semaphore.detached_permits()))
}

/// How many permits are free at this moment. Others may take them in the next.
///
/// # Errors
/// SYSSEM_NOT_FOUND if the semaphore was removed, SYSSEM_UNSUPPORTED where the type does not tell,
/// SYSSEM_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_available_permits(
    semaphore: Option<&syssem_semaphore>,
    count: Option<&mut MaybeUninit<u32>>,
) -> syssem_status {
    ask(semaphore, count, SystemSemaphore::available_permits)
}

/// How many threads, of all processes, wait at this moment.
///
/// # Errors
/// Those of syssem_available_permits().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_waiting(
    semaphore: Option<&syssem_semaphore>,
    count: Option<&mut MaybeUninit<u32>>,
) -> syssem_status {
    ask(semaphore, count, SystemSemaphore::waiting)
}

/// The process that operated on the semaphore last; 0 if none has, or if it cannot be seen from here.
///
/// # Errors
/// Those of syssem_available_permits().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_last_pid(
    semaphore: Option<&syssem_semaphore>,
    pid: Option<&mut MaybeUninit<u32>>,
) -> syssem_status {
    ask(semaphore, pid, |semaphore| Ok(semaphore.last_pid()?.unwrap_or(0)))
}

/// How many holders have died and had their permits given back so far. Who guards data by the semaphore compares it before
/// and after: what a dead holder guarded may be half written.
///
/// # Errors
/// Those of syssem_available_permits().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_recoveries(
    semaphore: Option<&syssem_semaphore>,
    count: Option<&mut MaybeUninit<u64>>,
) -> syssem_status {
    ask(semaphore, count, SystemSemaphore::recoveries)
}

/// How many permits it was made with, or reset to.
///
/// # Errors
/// Those of syssem_available_permits().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_initial_value(
    semaphore: Option<&syssem_semaphore>,
    count: Option<&mut MaybeUninit<u32>>,
) -> syssem_status {
    ask(semaphore, count, SystemSemaphore::initial_value)
}

/// Whether it stays when its last user leaves.
///
/// # Errors
/// Those of syssem_available_permits().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_is_persistent(
    semaphore: Option<&syssem_semaphore>,
    persistent: Option<&mut MaybeUninit<bool>>,
) -> syssem_status {
    ask(semaphore, persistent, SystemSemaphore::is_persistent)
}

fn ask<T>(
    semaphore: Option<&syssem_semaphore>,
    place: Option<&mut MaybeUninit<T>>,
    question: impl FnOnce(&SystemSemaphore) -> Result<T>,
) -> syssem_status {
    call(|| put(place, question(&given(semaphore, "semaphore")?.0)?, "the place for the answer"))
}

/// Who holds permits.
#[derive(Debug)]
#[repr(C)]
pub struct syssem_holder {
    /// The process id; 0 if it is of another PID namespace.
    pub pid: u32,
    /// How many permits it holds.
    pub permits: u32,
    /// The name of its program; NULL where that may not be read.
    pub command: *const c_char,
    /// Since when, in nanoseconds since 1970; 0 where that is not known.
    pub since: i64,
}

/// Who held how many permits when it was asked. To be freed by syssem_holders_free().
#[derive(Debug)]
pub struct syssem_holders {
    holders: Vec<syssem_holder>,
    /// What the holders' pointers point to.
    _commands: Vec<CString>,
}

impl syssem_holders {
    fn new(holders: &[Holder]) -> Self {
        let command = |holder: &Holder| CString::new(holder.command.clone().unwrap_or_default());
        let commands: Vec<CString> =
            holders.iter().map(|holder| command(holder).unwrap_or_default()).collect();
        let each = holders.iter().zip(&commands).map(|(holder, command)| syssem_holder {
            pid: holder.pid.unwrap_or(0),
            permits: holder.permits,
            command: holder.command.as_ref().map_or(ptr::null(), |_| command.as_ptr()),
            since: holder
                .since
                .and_then(|since| since.duration_since(UNIX_EPOCH).ok())
                .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        });
        Self { holders: each.collect(), _commands: commands }
    }
}

/// Who holds how many permits.
///
/// # Errors
/// Those of syssem_available_permits().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_get_holders(
    semaphore: Option<&syssem_semaphore>,
    holders: Option<&mut MaybeUninit<Box<syssem_holders>>>,
) -> syssem_status {
    ask(semaphore, holders, |semaphore| Ok(Box::new(syssem_holders::new(&semaphore.holders()?))))
}

/// How many holders these are.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_holders_count(holders: Option<&syssem_holders>) -> usize {
    holders.map_or(0, |holders| holders.holders.len())
}

/// One of them, from 0 on, which stays as long as all do; NULL behind the last.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_holders_at(
    holders: Option<&syssem_holders>,
    index: usize,
) -> Option<&syssem_holder> {
    holders.and_then(|holders| holders.holders.get(index))
}

/// Frees them. Nothing happens to NULL.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_holders_free(holders: Option<Box<syssem_holders>>) {
    drop(holders);
}
