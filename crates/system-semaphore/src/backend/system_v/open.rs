//! Finding, making and removing a set.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{MAX_PERMITS, cause_of, not_there, was_removed};
use super::key_file::{FileId, KeyFile, PinnedKey};
use super::poll::poll;
use super::set::{SystemV, count};
use crate::backend::api::{OpenRequest, Opened, Removal, RemovalKind};
use crate::error::{Cause, ErrorKind};
use crate::key::ProjectId;
use crate::sys::system_v::{self as sys, SetId, Step};
use crate::types::AccessMode;

/// What Qt gives its sets.
const MODE: u32 = 0o600;
/// How often an open begins again when the semaphore vanishes under it, before it gives up.
const ATTEMPTS: u32 = 100;
/// How long an open waits for the maker of a set to give it its value, and up to what age of the set.
const INITIALISATION_WAIT: Duration = Duration::from_secs(1);
const INITIALISATION_AGE_SECONDS: i64 = 2;

pub(super) fn open(path: &str, project: ProjectId, request: &OpenRequest) -> Result<Opened, Cause> {
    let file = KeyFile::new(path, project)?;
    if request.max_permits.is_some_and(|max| max != MAX_PERMITS) {
        let reason = format!("a System V semaphore has no maximum of its own; it counts to {MAX_PERMITS}");
        return Err(Cause::unsupported(reason));
    }
    request.open_with_value_up_to(MAX_PERMITS, |request| {
        let mut made_file = None;
        try_again_and_again(&file, request, &mut made_file)
            .inspect_err(|_| file.remove_after_failure(made_file))
    })
}

fn try_again_and_again(
    file: &KeyFile,
    request: &OpenRequest,
    made_file: &mut Option<FileId>,
) -> Result<Opened, Cause> {
    for _ in 0..ATTEMPTS {
        if let Some(opened) = try_open(file, request, made_file)? {
            return Ok(opened);
        }
    }
    let reason = "others removed it again and again while it was being opened; keep one process that made it";
    Err(Cause::new(ErrorKind::Unknown, reason))
}

/// The file is taken away before its set is looked for: between a look and a deletion by path another may have made
/// both anew, and its set without its file could be found by nobody.
pub(super) fn remove(path: &str, project: ProjectId) -> Result<(), Cause> {
    let file = KeyFile::new(path, project)?;
    let key = file.pinned_key()?.ok_or_else(not_there)?;
    let set = sys::open_existing(key.get()).and_then(|set| sys::may_remove(set).map(|may| (set, may)));
    match set {
        Ok((_, false)) => return Err(cause_of(&io::Error::from_raw_os_error(libc::EPERM))),
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => return Err(cause_of(&error)),
        _ => {}
    }
    match file.take_conventional() {
        Ok(Some(taken)) => match taken.set().and_then(sys::remove) {
            // without a set it was a leftover, which is something to remove, too
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) && !was_removed(&error) => {
                taken.put_back();
                Err(cause_of(&error))
            }
            _ => {
                taken.delete();
                Ok(())
            }
        },
        // a file of the user's, or of another user: it stays
        Ok(None) | Err(_) => match set {
            Ok((set, _)) if key.is_current() => sys::remove(set).map_err(|error| cause_of(&error)),
            _ => Err(not_there()),
        },
    }
}

/// One attempt; `None` if something vanished between two steps. `made_file` is the last file that this or an
/// earlier attempt made.
fn try_open(
    file: &KeyFile,
    request: &OpenRequest,
    made_file: &mut Option<FileId>,
) -> Result<Option<Opened>, Cause> {
    let may_create = request.mode != AccessMode::OpenExisting;
    let just_made = if may_create { file.make()? } else { None };
    *made_file = just_made.or(*made_file);
    let Some(key) = file.pinned_key()? else {
        return if may_create { Ok(None) } else { Err(not_there()) };
    };
    if may_create {
        file.wait_for_first_turn(key.get(), just_made.is_some());
        match sys::create_new(key.get(), request.permissions.unwrap_or(MODE)) {
            Ok(set) => return initialise(file, &key, set, *made_file, request.initial_value),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(creation_cause(&error)),
        }
    }
    if request.mode == AccessMode::CreateNew {
        if !key.is_current() {
            return Ok(None);
        }
        return Err(Cause::new(ErrorKind::AlreadyExists, "it exists already"));
    }
    let set = match sys::open_existing(key.get()) {
        Ok(set) => set,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) && may_create => return Ok(None),
        Err(error) => return Err(cause_of(&error)),
    };
    if !key.is_current() {
        return Ok(None);
    }
    match wait_until_initialised(set) {
        Ok(()) => {}
        Err(error) if was_removed(&error) && may_create => return Ok(None),
        Err(error) => return Err(cause_of(&error)),
    }
    let needs_reset = request.mode == AccessMode::Create;
    let removal = match (needs_reset, *made_file) {
        (true, made_file) => Some(set_removal(file.clone(), made_file, set)),
        (false, Some(made_file)) => Some(file_removal(file.clone(), made_file)),
        (false, None) => None,
    };
    Ok(Some(Opened { backend: Box::new(SystemV::new(set)), removal, needs_reset }))
}

/// Gives a set just made its value.
fn initialise(
    file: &KeyFile,
    key: &PinnedKey<'_>,
    set: SetId,
    made_file: Option<FileId>,
    value: u32,
) -> Result<Option<Opened>, Cause> {
    if !key.is_current() {
        return match sys::remove(set) {
            Err(error) if !was_removed(&error) => Err(cause_of(&error)),
            _ => Ok(None),
        };
    }
    match set_first_value(set, count(value)?) {
        Ok(()) => {}
        Err(error) if was_removed(&error) => return Ok(None),
        Err(error) => {
            // what the system said first is worth reporting, not what it says to the clearing up
            let _ = sys::remove(set);
            return Err(cause_of(&error));
        }
    }
    let removal = Some(set_removal(file.clone(), made_file, set));
    Ok(Some(Opened { backend: Box::new(SystemV::new(set)), removal, needs_reset: false }))
}

/// Adds the initial value, unless somebody (a Qt program opening with Create) has set one meanwhile. What others
/// have added meanwhile stays.
fn set_first_value(set: SetId, value: i16) -> io::Result<()> {
    // A delta of 0 waits for zero: here it asks for it. It also makes an operation of an initial value of 0.
    let if_untouched = Step::lasting(0).or_fail();
    let add = Step::lasting(value);
    let untouched = match value {
        0 => sys::operate(set, &[if_untouched], None),
        _ => sys::operate(set, &[if_untouched, add], None),
    };
    match untouched {
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
            let was_operated_on = sys::status(set)?.operated != 0;
            if !was_operated_on || value == 0 {
                return Ok(());
            }
            match sys::operate(set, &[add], None) {
                // there is room for less: to the top, then
                Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
                    sys::set_value(set, i32::from(i16::MAX))
                }
                outcome => outcome,
            }
        }
        outcome => outcome,
    }
}

/// What the maker of a set owes, and who opened it with Create. The file goes first: the other way round somebody
/// could make a new set on a file about to vanish, and share it with nobody.
fn set_removal(file: KeyFile, made_file: Option<FileId>, set: SetId) -> Removal {
    Removal::new(RemovalKind::Semaphore, move || match sys::may_remove(set) {
        // another user's, who let us reset it
        Ok(false) => {}
        Err(error) if was_removed(&error) => file.remove_made(made_file, None),
        // also where its permissions keep its owner from asking
        _ => {
            // whose number must not be a new file's while the set on it is still there
            let _pin = file.pin();
            file.remove_made(made_file, Some(set));
            // nobody is left to tell if it cannot be
            let _ = sys::remove(set);
        }
    })
}

/// What is owed by who made the file but was overtaken by another in making the set: the other, not having made
/// the file, leaves it.
fn file_removal(file: KeyFile, made_file: FileId) -> Removal {
    Removal::new(RemovalKind::KeyFile, move || file.remove_made(Some(made_file), None))
}

/// Waits, briefly, while the set looks as if its maker had not yet given it its value. (If the maker died just
/// then, the count is 0 for good, as it would be if it had died just after making a semaphore of 0.)
fn wait_until_initialised(set: SetId) -> io::Result<()> {
    let mut outcome = Ok(());
    poll(INITIALISATION_WAIT, || match seems_uninitialised(set) {
        Ok(is_so) => !is_so,
        Err(error) => {
            outcome = Err(error);
            true
        }
    });
    outcome
}

fn seems_uninitialised(set: SetId) -> io::Result<bool> {
    let times = sys::status(set)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let is_young = (now - times.changed).abs() <= INITIALISATION_AGE_SECONDS;
    Ok(times.operated == 0 && is_young && sys::value(set)? == 0 && sys::last_pid(set)? == 0)
}

/// Here nothing can have been removed yet.
fn creation_cause(error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::EINVAL) => {
            let reason = "the system allows no semaphore sets; see /proc/sys/kernel/sem";
            Cause::new(ErrorKind::OutOfResources, reason).with_os(error.raw_os_error())
        }
        _ => cause_of(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the count is after a maker of 3 has given it its value, if that came meanwhile.
    fn first_value_after(meanwhile: impl FnOnce(SetId)) -> i32 {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("key");
        let file = KeyFile::new(path.to_str().expect("it is UTF-8"), ProjectId::QT).expect("it is a path");
        file.make().expect("it can be made");
        let key = file.key().expect("it is a file").expect("it is there");
        let set = sys::create_new(key, MODE).expect("nobody has the key");
        meanwhile(set);
        set_first_value(set, 3).expect("the set is there");
        let value = sys::value(set).expect("the set is there");
        sys::remove(set).expect("the set is there");
        value
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn what_is_pinned_is_told_from_a_later_file() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("key");
        let file = KeyFile::new(path.to_str().expect("it is UTF-8"), ProjectId::QT).expect("it is a path");
        for _ in 0..20 {
            file.make().expect("it can be made").expect("nobody else makes it");
            let key = file.pinned_key().expect("it is a file").expect("it is there");
            assert!(key.is_current());
            // most file systems give a new file the number of the one just removed
            std::fs::remove_file(&path).expect("it is there");
            file.make().expect("it can be made").expect("nobody else makes it");
            assert!(!key.is_current());
            std::fs::remove_file(&path).expect("it is there");
        }
    }

    #[test]
    fn what_came_before_the_first_value_is_not_lost() {
        assert_eq!(first_value_after(|_| {}), 3);
        let release = |set| sys::operate(set, &[Step::lasting(2)], None).expect("there is room");
        assert_eq!(first_value_after(release), 5);
        let create_as_qt = |set| sys::set_value(set, 7).expect("the set is there");
        assert_eq!(first_value_after(create_as_qt), 7);
    }
}
