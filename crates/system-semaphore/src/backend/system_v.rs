//! System V semaphore sets, on the wire as Qt's: a key file, `ftok`, a set of one semaphore.
//!
//! **Ownership is the kernel's undo.** What is acquired is taken with `SEM_UNDO`, so the kernel gives it back when
//! the process ends; what is given back is given with `SEM_UNDO`, which cancels that debt; what is *created* is
//! added without, so it stays. Qt marks everything, so that a producer's posts vanish with it, and after 32,767
//! more posts than acquires in one process the adjustment is full and `semop` fails.
//!
//! **Initialisation is one operation.** A set is made with count 0 and brought to its initial value by a `semop`
//! (not `SETVAL`), so that nothing that others do meanwhile is lost. A set on which nobody has operated (its
//! `sem_otime` is 0, the trick of W. R. Stevens, UNIX Network Programming 2, 11.2) and whose count nobody has set
//! (the kernel notes who did, `GETPID`) is waited for a little, if it is young: its maker is at work.
//!
//! **The set is opened without `IPC_CREAT`.** Where it vanishes between two steps, the whole begins again. Qt
//! creates it in the second step too, unowned and at 0, and everybody then waits for ever.
//!
//! **A set is taken only if the path still makes its key** after it was found. A key is 16 bits of a file number,
//! and the file system gives the number of a removed file to the next one made: without the second look, who was
//! slow between `ftok` and `semget` ends up in somebody else's semaphore.
//!
//! **Removal.** Who made the set, or opened it with Create, removes it with its last handle (Qt's rule). The key
//! file goes only if we made it and the path still names that very file. The file goes first: the other way
//! round somebody could make a new set on a file about to vanish, and share it with nobody.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Backend, Epoch, Identity, Opened, Patience, Removal, Request, Wait};
use crate::error::{ErrorKind, Fault};
use crate::key::ProjectId;
use crate::semaphore::{AccessMode, Capabilities};
use crate::sys::system_v::{self as sys, SetId, SetKey, Step};

/// `SEMVMX`: the largest count, and the largest adjustment that the kernel keeps for a process.
const MAX_PERMITS: u32 = 32_767;
/// What Qt gives its key files (less the umask) and sets.
const KEY_FILE_MODE: u32 = 0o640;
const SET_MODE: u32 = 0o600;
/// How long a new key file without a set is left to its maker, and an old set under a new file to its remover.
const FIRST_TURN_WAIT: Duration = Duration::from_millis(250);
/// How often an open begins again when the semaphore vanishes under it, before it gives up.
const OPEN_ATTEMPTS: u32 = 100;
/// How often an operation that only a race or an exhausted adjustment can refuse is tried.
const ADJUSTMENT_ATTEMPTS: u32 = 64;
/// How long an open waits for the maker of a set to give it its value, and up to what age of the set.
const INITIALISATION_WAIT: Duration = Duration::from_secs(1);
const INITIALISATION_AGE_SECONDS: i64 = 2;

pub(super) fn is_supported() -> bool {
    sys::is_supported()
}

pub(super) fn open(path: &str, project: ProjectId, request: &Request) -> Result<Opened, Fault> {
    let path = KeyPath::new(path, project)?;
    check_request(request)?;
    let mut made_file = None;
    for _ in 0..OPEN_ATTEMPTS {
        if let Some(opened) = try_open(&path, request, &mut made_file)? {
            return Ok(opened);
        }
    }
    Err(Fault::new(
        ErrorKind::Unknown,
        "others removed it again and again while it was being opened; keep one process that made it running",
    ))
}

pub(super) fn remove(path: &str, project: ProjectId) -> Result<(), Fault> {
    let path = KeyPath::new(path, project)?;
    let key = path.set_key()?.ok_or_else(not_there)?;
    let set = sys::open_existing(key).map_err(|error| fault(&error))?;
    if !path.still_makes(key) {
        return Err(not_there());
    }
    if path.is_conventional_key_file() {
        fs::remove_file(&path.text).map_err(|error| fault(&error))?;
    }
    sys::remove(set).map_err(|error| fault(&error))
}

fn check_request(request: &Request) -> Result<(), Fault> {
    if request.initial_value > MAX_PERMITS {
        let reason = format!(
            "the initial value {} is more than the {MAX_PERMITS} that a System V semaphore can count",
            request.initial_value
        );
        return Err(Fault::new(ErrorKind::OutOfResources, reason));
    }
    if request.max_permits.is_some_and(|max| max != MAX_PERMITS) {
        let reason = format!("a System V semaphore has no maximum of its own; it counts to {MAX_PERMITS}");
        return Err(Fault::unsupported(reason));
    }
    Ok(())
}

/// One attempt; `None` if something vanished between two steps. `made_file` is the last file that this or an
/// earlier attempt made.
fn try_open(
    path: &KeyPath,
    request: &Request,
    made_file: &mut Option<FileId>,
) -> Result<Option<Opened>, Fault> {
    let may_create = request.mode != AccessMode::OpenExisting;
    let just_made = if may_create { path.make_file()? } else { None };
    *made_file = just_made.or(*made_file);
    let made_file = *made_file;
    let Some(key) = path.set_key()? else {
        return if may_create { Ok(None) } else { Err(not_there()) };
    };
    if just_made.is_some() {
        wait_for_an_old_set_to_go(key);
    } else if may_create && (made_file.is_none() || made_file != path.file()) {
        path.leave_the_first_turn_to_its_maker(key);
    }
    if may_create {
        match sys::create_new(key, request.permissions.unwrap_or(SET_MODE)) {
            Ok(set) => return initialise(path, key, set, made_file, request),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => {
                // there is no set, so nobody uses the file yet
                path.remove_file(made_file);
                return Err(fault(&error));
            }
        }
    }
    if request.mode == AccessMode::CreateNew {
        return Err(Fault::new(ErrorKind::AlreadyExists, "it exists already"));
    }
    let set = match sys::open_existing(key) {
        Ok(set) => set,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) && may_create => return Ok(None),
        Err(error) => return Err(fault(&error)),
    };
    if !path.still_makes(key) {
        return Ok(None);
    }
    let needs_reset = request.mode == AccessMode::Create;
    if !needs_reset {
        match wait_until_initialised(set) {
            Ok(()) => {}
            Err(error) if was_removed(&error) && may_create => return Ok(None),
            Err(error) => return Err(fault(&error)),
        }
    }
    let removal = match (needs_reset, made_file) {
        (true, _) => Some(remove_both(path.clone(), made_file, set)),
        (false, Some(_)) => Some(remove_unused_file(path.clone(), made_file, key)),
        (false, None) => None,
    };
    Ok(Some(Opened { backend: Box::new(SystemV::new(set)), removal, needs_reset }))
}

/// Gives a set just made its value.
fn initialise(
    path: &KeyPath,
    key: SetKey,
    set: SetId,
    made_file: Option<FileId>,
    request: &Request,
) -> Result<Option<Opened>, Fault> {
    if !path.still_makes(key) {
        return sys::remove(set).map(|()| None).map_err(|error| fault(&error));
    }
    let value = count(request.initial_value)?;
    // A step of 0 would wait for zero; up and down again is the operation that changes nothing.
    let outcome = match value {
        0 => sys::operate(set, [Step::lasting(1), Step::lasting(-1)], None),
        _ => sys::operate(set, [Step::lasting(value)], None),
    };
    match outcome {
        Ok(()) => {}
        Err(error) if was_removed(&error) => return Ok(None),
        Err(error) => {
            // what the system said first is worth reporting, not what it says to the clearing up
            let _ = sys::remove(set);
            path.remove_file(made_file);
            return Err(fault(&error));
        }
    }
    Ok(Some(Opened {
        backend: Box::new(SystemV::new(set)),
        removal: Some(remove_both(path.clone(), made_file, set)),
        needs_reset: false,
    }))
}

/// What the maker of a set owes, and who opened it with Create.
fn remove_both(path: KeyPath, made_file: Option<FileId>, set: SetId) -> Removal {
    Box::new(move || {
        path.remove_file(made_file);
        match sys::remove(set) {
            Err(error) if !was_removed(&error) => Err(fault(&error)),
            _ => Ok(()),
        }
    })
}

/// What is owed by who made the file but was overtaken by another in making the set: the other, not having made
/// the file, leaves it.
fn remove_unused_file(path: KeyPath, made_file: Option<FileId>, key: SetKey) -> Removal {
    Box::new(move || {
        if sys::open_existing(key).is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT)) {
            path.remove_file(made_file);
        }
        Ok(())
    })
}

/// Waits, briefly, while there is a set although the key file is new. The number of a removed file is soon given
/// to a new one, so it may be the set of a predecessor that has removed its file and is about to remove the set.
fn wait_for_an_old_set_to_go(key: SetKey) {
    poll(FIRST_TURN_WAIT, || sys::open_existing(key).is_err());
}

/// Looks again and again until the condition holds or the time is over.
fn poll(patience: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits, briefly, while the set looks as if its maker had not yet given it its value. (If the maker died just
/// then, the count is 0 for good, as it would be if it had died just after making a semaphore of 0.)
fn wait_until_initialised(set: SetId) -> io::Result<()> {
    let mut outcome = Ok(());
    poll(INITIALISATION_WAIT, || match looks_uninitialised(set) {
        Ok(looks_so) => !looks_so,
        Err(error) => {
            outcome = Err(error);
            true
        }
    });
    outcome
}

fn looks_uninitialised(set: SetId) -> io::Result<bool> {
    let times = sys::times(set)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let is_young = (now - times.changed).abs() <= INITIALISATION_AGE_SECONDS;
    Ok(times.operated == 0 && is_young && sys::value(set)? == 0 && sys::last_pid(set)? == 0)
}

/// The path of a key file, with the project id.
#[derive(Clone, Debug)]
struct KeyPath {
    text: String,
    c_text: CString,
    project: ProjectId,
}

/// Which file a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(data: &fs::Metadata) -> Self {
        Self { device: data.dev(), inode: data.ino() }
    }
}

impl KeyPath {
    fn new(text: &str, project: ProjectId) -> Result<Self, Fault> {
        let key_error = |reason| Fault::new(ErrorKind::KeyError, reason);
        if text.is_empty() {
            return Err(key_error("the key is empty; give the path of a key file"));
        }
        let c_text = CString::new(text).map_err(|_| key_error("the path contains a NUL character"))?;
        Ok(Self { text: text.to_owned(), c_text, project })
    }

    /// Makes the key file. `None` if something stands there already: anything will do.
    fn make_file(&self) -> Result<Option<FileId>, Fault> {
        let made =
            OpenOptions::new().read(true).write(true).create_new(true).mode(KEY_FILE_MODE).open(&self.text);
        match made.and_then(|file: File| file.metadata()) {
            Ok(data) => Ok(Some(FileId::of(&data))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => {
                let reason =
                    "the key file cannot be made; check the directory, its rights and the path's length";
                Err(Fault::new(ErrorKind::KeyError, reason).with_os(error.raw_os_error()))
            }
        }
    }

    /// Waits, briefly, while the file looks as if it had just been made, by one who will make the set next. (If
    /// another makes the set, the one does not know that the set is gone when it goes itself, or the other way
    /// round, and the file stays behind.)
    fn leave_the_first_turn_to_its_maker(&self, key: SetKey) {
        let looks_just_made = || {
            let data = fs::symlink_metadata(&self.text).ok().filter(|data| data.is_file() && data.len() == 0);
            data.and_then(|data| data.modified().ok()?.elapsed().ok())
                .is_some_and(|age| age <= FIRST_TURN_WAIT)
        };
        poll(FIRST_TURN_WAIT, || sys::open_existing(key).is_ok() || !looks_just_made());
    }

    /// The file that the path names now, as `ftok` sees it.
    fn file(&self) -> Option<FileId> {
        fs::metadata(&self.text).ok().map(|data| FileId::of(&data))
    }

    /// `None` if nothing stands at the path.
    fn set_key(&self) -> Result<Option<SetKey>, Fault> {
        match sys::key(&self.c_text, self.project.get()) {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(&self.text).is_ok_and(|data| data.is_symlink()) {
                    let reason =
                        "the key file is a symbolic link to nothing; remove the link or make its target";
                    return Err(Fault::new(ErrorKind::KeyError, reason));
                }
                Ok(None)
            }
            Err(error) => {
                let fault = Fault::new(ErrorKind::KeyError, "ftok cannot read the key file's data");
                Err(fault.with_os(error.raw_os_error()))
            }
        }
    }

    /// Whether a set that was found by this key is the one of this path. If the file was removed after the key was
    /// made from it, its number may be another file's by now, and the set that one's.
    fn still_makes(&self, key: SetKey) -> bool {
        sys::key(&self.c_text, self.project.get()).is_ok_and(|now| now == key)
    }

    /// Removes the file that we made, if that is still what the path names.
    fn remove_file(&self, made: Option<FileId>) {
        let named = fs::symlink_metadata(&self.text).ok().map(|data| FileId::of(&data));
        if made.is_some() && made == named {
            // a file left behind is harmless, and nothing more could be done about it
            let _ = fs::remove_file(&self.text);
        }
    }

    /// Whether this is what Qt and we make for a plain name, so that removing it takes nothing from anybody: an
    /// empty regular file with a derived name.
    fn is_conventional_key_file(&self) -> bool {
        let name = Path::new(&self.text).file_name().and_then(|name| name.to_str());
        let data = fs::symlink_metadata(&self.text);
        name.is_some_and(|name| name.starts_with("qipc_systemsem_"))
            && data.is_ok_and(|data| data.is_file() && data.len() == 0)
    }
}

#[derive(Debug)]
struct SystemV {
    set: SetId,
    /// Setting the count clears what the kernel would undo, for everybody. Where it was this process that set
    /// it, what it acquired before is known to be owed no more. (An acquire that succeeds in the instant between
    /// the two steps of the reset is taken for a later one; the permit it gives back then vanishes at exit, as
    /// after a stranger's reset.)
    epoch: AtomicU32,
}

impl SystemV {
    fn new(set: SetId) -> Self {
        Self { set, epoch: AtomicU32::new(0) }
    }
}

impl Backend for SystemV {
    fn identity(&self) -> Identity {
        Identity(u64::from(self.set.number().unsigned_abs()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            returns_on_death: true,
            created_permits_stay: true,
            timeout: sys::HAS_TIMEOUT,
            several_at_once: true,
            available_permits: true,
            holders: false,
            waiting: true,
            reset_voids_permits: false,
            max_permits: MAX_PERMITS,
        }
    }

    fn acquire(&self, permits: u32, wait: &mut Wait<'_>) -> Result<Epoch, Fault> {
        let step = Step::undone(-count(permits)?);
        loop {
            let outcome = match wait.patience {
                Patience::None => sys::operate(self.set, [step.or_fail()], None),
                patience => sys::operate(self.set, [step], patience.remaining()),
            };
            match outcome {
                // Read after the operation, since a reset begins its epoch before it sets the count: whom it wakes is
                // of the new one.
                Ok(()) => return Ok(self.epoch()),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Err(wait.patience.exhausted()),
                    Some(libc::EINTR) => wait.after_signal()?,
                    Some(libc::ERANGE) => {
                        let reason = format!("this process would hold more than {MAX_PERMITS} permits");
                        return Err(Fault::new(ErrorKind::OutOfResources, reason));
                    }
                    _ => return Err(fault(&error)),
                },
            }
        }
    }

    fn give_back(&self, permits: u32, epoch: Epoch) -> Result<(), Fault> {
        let permits = count(permits)?;
        let owed = epoch == self.epoch();
        let step = if owed { Step::undone(permits) } else { Step::lasting(permits) };
        match sys::operate(self.set, [step.or_fail()], None) {
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => self.fill_up(permits, owed),
            outcome => outcome.map_err(|error| fault(&error)),
        }
    }

    fn release(&self, held: u32, created: u32) -> Result<(), Fault> {
        if u64::from(held) + u64::from(created) > u64::from(MAX_PERMITS) {
            return Err(too_many());
        }
        let (give, create) = (Step::undone(count(held)?).or_fail(), Step::lasting(count(created)?).or_fail());
        let outcome = match (held, created) {
            (0, 0) => Ok(()),
            (_, 0) => sys::operate(self.set, [give], None),
            (0, _) => sys::operate(self.set, [create], None),
            (_, _) => sys::operate(self.set, [give, create], None),
        };
        match outcome {
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => Err(too_many()),
            outcome => outcome.map_err(|error| fault(&error)),
        }
    }

    fn forget(&self, permits: u32, epoch: Epoch) -> Result<(), Fault> {
        if epoch != self.epoch() {
            return Ok(());
        }
        let permits = count(permits)?;
        let (cancel, keep_taken) = (Step::undone(permits).or_fail(), Step::lasting(-permits).or_fail());
        for _ in 0..ADJUSTMENT_ATTEMPTS {
            // Up first, which always works but at the top; there down first, which fails at the bottom.
            for steps in [[cancel, keep_taken], [keep_taken, cancel]] {
                match sys::operate(self.set, steps, None) {
                    Err(error) if is_out_of_room(&error) => {}
                    outcome => return outcome.map_err(|error| fault(&error)),
                }
            }
        }
        // Neither works, time after time: the kernel's adjustment is at its end, because others set the count
        // while we held permits, again and again. What they cleared is owed no more.
        Ok(())
    }

    fn available(&self) -> Result<u32, Fault> {
        sys::value(self.set).map(i32::unsigned_abs).map_err(|error| fault(&error))
    }

    fn epoch(&self) -> Epoch {
        self.epoch.load(Ordering::Acquire)
    }

    fn reset(&self, permits: u32) -> Result<(), Fault> {
        let value = count(permits)?;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        sys::set_value(self.set, i32::from(value)).map_err(|error| fault(&error))
    }

    fn waiting(&self) -> Result<u32, Fault> {
        sys::waiting(self.set).map(i32::unsigned_abs).map_err(|error| fault(&error))
    }

    fn last_pid(&self) -> Result<Option<u32>, Fault> {
        let pid = sys::last_pid(self.set).map_err(|error| fault(&error))?;
        Ok(u32::try_from(pid).ok().filter(|&pid| pid != 0))
    }
}

impl SystemV {
    /// Gives back as many as the count has room for, and cancels the debt for the rest.
    fn fill_up(&self, permits: i16, mut owed: bool) -> Result<(), Fault> {
        let mut attempts = 0;
        loop {
            // as in `forget`: a debt that cannot be cancelled time after time is one that others have cleared
            attempts += 1;
            owed &= attempts <= ADJUSTMENT_ATTEMPTS;
            let room = MAX_PERMITS.saturating_sub(self.available()?);
            let given = permits.min(i16::try_from(room).unwrap_or(i16::MAX));
            let lost = permits - given;
            let outcome = match (owed, given, lost) {
                (true, _, 0) => sys::operate(self.set, [Step::undone(given).or_fail()], None),
                (true, _, _) => {
                    let steps = [Step::lasting(-lost).or_fail(), Step::undone(permits).or_fail()];
                    sys::operate(self.set, steps, None)
                }
                (false, 0, _) => Ok(()),
                (false, _, _) => sys::operate(self.set, [Step::lasting(given).or_fail()], None),
            };
            match outcome {
                Err(error) if is_out_of_room(&error) => {}
                Err(error) => return Err(fault(&error)),
                Ok(()) if lost == 0 => return Ok(()),
                Ok(()) => {
                    let reason = format!(
                        "others created so many permits that the count, {MAX_PERMITS} at most, had no room for \
                         {lost} of the {permits} given back"
                    );
                    return Err(Fault::new(ErrorKind::OutOfResources, reason));
                }
            }
        }
    }
}

/// A number of permits as a step. More than a step can say is an error, where C would cut off its upper half.
fn count(permits: u32) -> Result<i16, Fault> {
    i16::try_from(permits).map_err(|_| too_many())
}

fn too_many() -> Fault {
    let reason = format!("a System V semaphore counts to {MAX_PERMITS}");
    Fault::new(ErrorKind::OutOfResources, reason)
}

fn not_there() -> Fault {
    Fault::new(ErrorKind::NotFound, "there is no such semaphore")
}

/// The set is gone, and with it what this process held.
fn was_removed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIDRM | libc::EINVAL))
}

/// The count is at its top (`ERANGE`), or at its bottom (`EAGAIN`).
fn is_out_of_room(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ERANGE | libc::EAGAIN))
}

fn fault(error: &io::Error) -> Fault {
    let (kind, reason) = match error.raw_os_error() {
        Some(libc::EIDRM | libc::EINVAL) => {
            (ErrorKind::NotFound, "it was removed from the system; open it again for a new one")
        }
        Some(libc::ENOENT) => return not_there(),
        Some(libc::EPERM | libc::EACCES) => {
            (ErrorKind::PermissionDenied, "it belongs to another user, who has not allowed it")
        }
        Some(libc::ENOSPC) => (
            ErrorKind::OutOfResources,
            "the system has no more semaphore sets or undo records; see /proc/sys/kernel/sem and `ipcs -ls`",
        ),
        Some(libc::ENOMEM) => (ErrorKind::OutOfResources, "the kernel has no memory for it"),
        Some(libc::ERANGE) => return too_many(),
        _ => (ErrorKind::Unknown, "the system refused"),
    };
    Fault::new(kind, reason).with_os(error.raw_os_error())
}
