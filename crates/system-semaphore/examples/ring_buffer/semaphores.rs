//! The three semaphores.

use system_semaphore::{AccessMode, ErrorKind, Result, SystemSemaphore};

use crate::ring::Counter;

pub(crate) struct Semaphores {
    /// One permit per free slot.
    free: SystemSemaphore,
    /// One permit per used slot.
    used: SystemSemaphore,
    /// One permit: whoever has it may use the ring.
    pub(crate) mutex: SystemSemaphore,
}

impl Semaphores {
    /// Creates them, for an empty ring. They are removed from the system when this is dropped.
    pub(crate) fn create(prefix: &str, slots: u32) -> Result<Self> {
        Self::new(prefix, slots, AccessMode::CreateNew)
    }

    /// Opens those that the parent created.
    pub(crate) fn open(prefix: &str) -> Result<Self> {
        Self::new(prefix, 0, AccessMode::OpenExisting)
    }

    fn new(prefix: &str, slots: u32, mode: AccessMode) -> Result<Self> {
        let [free, used, mutex] = names(prefix);
        Ok(Self {
            free: SystemSemaphore::new(free, slots, mode)?,
            used: SystemSemaphore::new(used, 0, mode)?,
            mutex: SystemSemaphore::new(mutex, 1, mode)?,
        })
    }

    pub(crate) fn of(&self, counter: Counter) -> &SystemSemaphore {
        match counter {
            Counter::Free => &self.free,
            Counter::Used => &self.used,
        }
    }
}

/// How many permits are free, when nobody else is at work. Where the system does not tell, they are all taken, counted, and
/// given back.
pub(crate) fn count(semaphore: &SystemSemaphore) -> Result<u32> {
    if semaphore.capabilities().available_permits {
        return semaphore.available_permits();
    }
    let mut taken = Vec::new();
    loop {
        match semaphore.try_acquire() {
            Ok(permit) => taken.push(permit),
            Err(error) if error.kind() == ErrorKind::NoPermits => return Ok(taken.len() as u32),
            Err(error) => return Err(error),
        }
    }
}

fn names(prefix: &str) -> [String; 3] {
    ["free", "used", "mutex"].map(|name| format!("{prefix}-{name}"))
}

/// The names under which there still is a semaphore.
pub(crate) fn left_in_system(prefix: &str) -> Vec<String> {
    let is_gone = |name: &String| {
        SystemSemaphore::new(name, 0, AccessMode::OpenExisting)
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    names(prefix).into_iter().filter(|name| !is_gone(name)).collect()
}
