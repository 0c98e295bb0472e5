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
//! file goes only if we made it, the path still names that very file, and nobody else has a set on it.

mod key_file;
mod observation;
mod open;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::api::{Backend, Identity, Namespace, Observe, Opened, Patience, Request, Wait};
use crate::error::{ErrorKind, Fault};
use crate::key::ProjectId;
use crate::sys::system_v::{self as sys, SetId, Step};
use crate::types::{Capabilities, Epoch};

/// `SEMVMX`: the largest count, and the largest adjustment that the kernel keeps for a process.
const MAX_PERMITS: u32 = 32_767;
/// How often an operation that only a race or an exhausted adjustment can refuse is tried.
const ADJUSTMENT_ATTEMPTS: u32 = 64;
/// How many permits are forgotten by one pair of steps. Whatever the count is, it has room for so many more, or it
/// has so many.
const FORGET_PART: i16 = 16_383;

/// Paths of key files, with the project id that `ftok` mixes in.
pub(super) struct KeyFiles(pub(super) ProjectId);

impl Namespace for KeyFiles {
    fn is_supported(&self) -> bool {
        sys::is_supported()
    }

    fn open(&self, path: &str, request: &Request) -> Result<Opened, Fault> {
        open::open(path, self.0, request)
    }

    fn remove(&self, path: &str) -> Result<(), Fault> {
        open::remove(path, self.0)
    }

    fn observe(&self, path: &str) -> Result<Box<dyn Observe>, Fault> {
        observation::observe(path, self.0)
    }

    #[cfg(target_os = "linux")]
    fn list(&self, owners: crate::types::Owners) -> Option<Vec<crate::types::Listed>> {
        Some(observation::list(owners))
    }
}

/// Looks again and again until the condition holds or the time is over.
fn poll(patience: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(200));
    }
}

#[derive(Debug)]
struct SystemV {
    set: SetId,
    /// Setting the count clears what the kernel would undo, for everybody. Where it was this process that set
    /// it, what it acquired before is known to be owed no more. (An operation that another thread is in the middle of
    /// may be taken for one of the other epoch; a permit that is so given back vanishes at exit, as after a
    /// stranger's reset.)
    epoch: AtomicU32,
}

impl SystemV {
    fn new(set: SetId) -> Self {
        Self { set, epoch: AtomicU32::new(0) }
    }
}

impl Backend for SystemV {
    fn identity(&self) -> Identity {
        Identity(u128::from(self.set.number().unsigned_abs()))
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
            last_pid: true,
            recoveries: false,
            reset_voids_permits: false,
            ends_with_last_user: false,
            own_maximum: false,
            inheritable_permits: false,
            max_permits: MAX_PERMITS,
        }
    }

    fn acquire(&self, permits: u32, wait: &mut Wait<'_>) -> Result<Epoch, Fault> {
        let step = Step::undone(-count(permits)?);
        let mut outcome = sys::operate(self.set, &[step.or_fail()], None);
        loop {
            let error = match outcome {
                // Read after the operation, since a reset begins its epoch before it sets the count: whom it wakes is
                // of the new one.
                Ok(()) => return Ok(self.epoch()),
                Err(error) => error,
            };
            let timeout = match (error.raw_os_error(), wait.patience) {
                (Some(libc::EAGAIN | libc::EINTR), Patience::Forever) => None,
                (Some(libc::EAGAIN | libc::EINTR), Patience::Until(deadline)) => {
                    Some(deadline.saturating_duration_since(Instant::now()))
                }
                (Some(libc::EAGAIN | libc::EINTR), Patience::None) => return Err(wait.patience.exhausted()),
                (Some(libc::ERANGE), _) => {
                    let reason = format!("this process would hold more than {MAX_PERMITS} permits");
                    return Err(Fault::new(ErrorKind::OutOfResources, reason));
                }
                _ => return Err(fault(&error)),
            };
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return Err(wait.patience.exhausted());
            }
            wait.before_sleep()?;
            outcome = sys::operate(self.set, &[step], timeout);
        }
    }

    fn give_back(&self, permits: u32, epoch: Epoch) -> Result<(), Fault> {
        let permits = count(permits)?;
        let owed = epoch == self.epoch();
        let step = if owed { Step::undone(permits) } else { Step::lasting(permits) };
        match sys::operate(self.set, &[step.or_fail()], None) {
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => self.fill_up(permits, owed),
            outcome => outcome.map_err(|error| fault(&error)),
        }
    }

    fn release(&self, held: u32, _: Epoch, created: u32) -> Result<(), Fault> {
        let total = held.saturating_add(created);
        let (give, create) = (Step::undone(count(held)?).or_fail(), Step::lasting(count(created)?).or_fail());
        let add_all = Step::lasting(count(total)?).or_fail();
        for attempt in 0..=ADJUSTMENT_ATTEMPTS {
            let outcome = match (held, created) {
                (0, 0) => Ok(()),
                // a debt that cannot be cancelled time after time is one that others have cleared
                _ if attempt == ADJUSTMENT_ATTEMPTS => sys::operate(self.set, &[add_all], None),
                (_, 0) => sys::operate(self.set, &[give], None),
                (0, _) => sys::operate(self.set, &[create], None),
                (_, _) => sys::operate(self.set, &[give, create], None),
            };
            match outcome {
                Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
                    if self.available()? > MAX_PERMITS - total {
                        break;
                    }
                }
                outcome => return outcome.map_err(|error| fault(&error)),
            }
        }
        Err(too_many())
    }

    fn forget(&self, permits: u32, epoch: Epoch) -> Result<(), Fault> {
        if epoch != self.epoch() {
            return Ok(());
        }
        let mut rest = count(permits)?;
        // 2 x 3 steps, as 32,767 are no more than three parts; unused ones are left out
        let (mut up_first, mut down_first) = (Vec::with_capacity(6), Vec::with_capacity(6));
        while rest > 0 {
            let part = rest.min(FORGET_PART);
            rest -= part;
            let (cancel, keep_taken) = (Step::undone(part).or_fail(), Step::lasting(-part).or_fail());
            up_first.extend([cancel, keep_taken]);
            down_first.extend([keep_taken, cancel]);
        }
        for _ in 0..ADJUSTMENT_ATTEMPTS {
            for steps in [&up_first, &down_first] {
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
        sys::set_value(self.set, i32::from(value)).map_err(|error| {
            self.epoch.fetch_sub(1, Ordering::AcqRel);
            fault(&error)
        })
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
                (true, _, 0) => sys::operate(self.set, &[Step::undone(given).or_fail()], None),
                (true, _, _) => {
                    let steps = [Step::lasting(-lost).or_fail(), Step::undone(permits).or_fail()];
                    sys::operate(self.set, &steps, None)
                }
                (false, 0, _) => Ok(()),
                (false, _, _) => sys::operate(self.set, &[Step::lasting(given).or_fail()], None),
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
