//! An open set.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::error::{MAX_PERMITS, cause_of, is_out_of_room, too_many};
use crate::backend::api::{Backend, Identity, WaitLimit, WaitOptions};
use crate::error::{Cause, ErrorKind};
use crate::sys::system_v::{self as sys, SetId, Step};
use crate::types::{Capabilities, Epoch};

/// How often an operation that only a race or an timeout_error adjustment can refuse is tried.
const ADJUSTMENT_ATTEMPTS: u32 = 64;
/// How many permits are forgotten by one pair of steps. Whatever the count is, it has room for so many more, or it
/// has so many.
const FORGET_PART: i16 = 16_383;

#[derive(Debug)]
pub(super) struct SystemV {
    pub(super) set: SetId,
    /// Setting the count clears what the kernel would undo, for everybody. Where it was this process that set
    /// it, what it acquired before is known to be owed no more. (An operation that another thread is in the middle of
    /// may be taken for one of the other epoch; a permit that is so given back vanishes at exit, as after a
    /// stranger's reset.)
    epoch: AtomicU32,
}

impl SystemV {
    pub(super) fn new(set: SetId) -> Self {
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

    fn acquire(&self, permits: u32, wait: &mut WaitOptions<'_>) -> Result<Epoch, Cause> {
        let step = Step::undone(-count(permits)?);
        let mut outcome = sys::operate(self.set, &[step.or_fail()], None);
        loop {
            let error = match outcome {
                // Read after the operation, since a reset begins its epoch before it sets the count: whom it wakes is
                // of the new one.
                Ok(()) => return Ok(self.epoch()),
                Err(error) => error,
            };
            let timeout = match (error.raw_os_error(), wait.limit) {
                (Some(libc::EAGAIN | libc::EINTR), WaitLimit::Forever) => None,
                (Some(libc::EAGAIN | libc::EINTR), WaitLimit::Until(deadline)) => {
                    Some(deadline.saturating_duration_since(Instant::now()))
                }
                (Some(libc::EAGAIN | libc::EINTR), WaitLimit::None) => {
                    return Err(wait.limit.timeout_error());
                }
                (Some(libc::ERANGE), _) => {
                    let reason = format!("this process would hold more than {MAX_PERMITS} permits");
                    return Err(Cause::new(ErrorKind::OutOfResources, reason));
                }
                _ => return Err(cause_of(&error)),
            };
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return Err(wait.limit.timeout_error());
            }
            wait.check_interrupt()?;
            outcome = sys::operate(self.set, &[step], timeout);
        }
    }

    fn release(&self, permits: u32, epoch: Epoch) -> Result<(), Cause> {
        let permits = count(permits)?;
        let owed = epoch == self.epoch();
        let step = if owed { Step::undone(permits) } else { Step::lasting(permits) };
        match sys::operate(self.set, &[step.or_fail()], None) {
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => self.fill_up(permits, owed),
            outcome => outcome.map_err(|error| cause_of(&error)),
        }
    }

    fn release_and_add(&self, held: u32, _: Epoch, added: u32) -> Result<(), Cause> {
        let total = held.saturating_add(added);
        let (give, create) = (Step::undone(count(held)?).or_fail(), Step::lasting(count(added)?).or_fail());
        let add_all = Step::lasting(count(total)?).or_fail();
        for attempt in 0..=ADJUSTMENT_ATTEMPTS {
            let outcome = match (held, added) {
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
                outcome => return outcome.map_err(|error| cause_of(&error)),
            }
        }
        Err(too_many())
    }

    fn forget(&self, permits: u32, epoch: Epoch) -> Result<(), Cause> {
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
                    outcome => return outcome.map_err(|error| cause_of(&error)),
                }
            }
        }
        // Neither works, time after time: the kernel's adjustment is at its end, because others set the count
        // while we held permits, again and again. What they cleared is owed no more.
        Ok(())
    }

    fn available(&self) -> Result<u32, Cause> {
        sys::value(self.set).map(i32::unsigned_abs).map_err(|error| cause_of(&error))
    }

    fn epoch(&self) -> Epoch {
        self.epoch.load(Ordering::Acquire)
    }

    fn reset(&self, permits: u32) -> Result<(), Cause> {
        let value = count(permits)?;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        sys::set_value(self.set, i32::from(value)).map_err(|error| {
            self.epoch.fetch_sub(1, Ordering::AcqRel);
            cause_of(&error)
        })
    }

    fn waiting(&self) -> Result<u32, Cause> {
        sys::waiting(self.set).map(i32::unsigned_abs).map_err(|error| cause_of(&error))
    }

    fn last_pid(&self) -> Result<Option<u32>, Cause> {
        let pid = sys::last_pid(self.set).map_err(|error| cause_of(&error))?;
        Ok(u32::try_from(pid).ok().filter(|&pid| pid != 0))
    }
}

impl SystemV {
    /// Gives back as many as the count has room for, and cancels the debt for the rest.
    fn fill_up(&self, permits: i16, mut owed: bool) -> Result<(), Cause> {
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
                Err(error) => return Err(cause_of(&error)),
                Ok(()) if lost == 0 => return Ok(()),
                Ok(()) => {
                    let reason = format!(
                        "others created so many permits that the count, {MAX_PERMITS} at most, had no room for \
                         {lost} of the {permits} given back"
                    );
                    return Err(Cause::new(ErrorKind::OutOfResources, reason));
                }
            }
        }
    }
}

/// A number of permits as a step. More than a step can say is an error, where C would cut off its upper half.
pub(super) fn count(permits: u32) -> Result<i16, Cause> {
    i16::try_from(permits).map_err(|_| too_many())
}
