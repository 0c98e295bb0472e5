//! One semaphore, this process's handle of it, and what can be seen of it without touching it.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use system_semaphore::{ErrorKind, SystemSemaphore};
use test_support::format;
use test_support::robust_file::path_of;

use super::paths::{Outcome, key};
use super::{Error, Result, demand};

/// The value of an open that comes after a death.
pub(crate) const LATER: u32 = 5;
/// How long a waiter waits at most. (Before it gives up it looks for the dead, so that a slow machine changes nothing.)
const PATIENCE: Duration = Duration::from_secs(1);

/// What a bystander sees, by reading the file.
pub(crate) struct View {
    /// The name is there.
    pub(crate) is_there: bool,
    /// So many permits are free.
    pub(crate) count: u32,
    /// The stepped process is among the users.
    pub(crate) is_user: bool,
}

pub(crate) struct Stage {
    pub(crate) name: String,
    own: Option<SystemSemaphore>,
    /// The slot that the stepped process gets: all below it are taken before.
    slot: u32,
    /// How many permits this process has created.
    pub(crate) created: u32,
}

impl Stage {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), own: None, slot: 0, created: 0 }
    }

    pub(crate) fn open(&mut self, initial: u32) -> Result<()> {
        self.own = Some(SystemSemaphore::open(key(&self.name), initial)?);
        Ok(())
    }

    fn own(&self) -> &SystemSemaphore {
        self.own.as_ref().expect("it is open")
    }

    /// Who comes now gets the next slot, and is the one that is looked at.
    pub(crate) fn expect_the_subject(&mut self) -> Result<()> {
        self.slot = self.users()?;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// A word of the file; 0 if there is no file.
    fn read(&self, at: u64) -> io::Result<u64> {
        match File::open(self.path()) {
            Ok(file) => format::read_u64(&file, at),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The bits of the first slots that are in use.
    fn used(&self) -> Result<u64> {
        Ok(self.read(format::header::USED)?)
    }

    /// How many slots are in use.
    fn users(&self) -> Result<u32> {
        Ok(self.used()?.count_ones())
    }

    /// How many permits are free.
    pub(crate) fn count(&self) -> Result<u32> {
        Ok(format::StateWord::decode(self.read(format::header::STATE)?).count)
    }

    pub(crate) fn view(&self) -> Result<View> {
        let is_user = self.used()? >> self.slot & 1 != 0;
        Ok(View { is_there: self.path().exists(), count: self.count()?, is_user })
    }

    /// Takes a permit and gives it back.
    pub(crate) fn operate(&self) -> Result<()> {
        Ok(self.own().try_acquire()?.release()?)
    }

    pub(crate) fn create_permit(&mut self) -> Result<()> {
        self.created += 1;
        Ok(self.own().add_permits(1)?)
    }

    /// Looks for all dead processes, as an open does.
    pub(crate) fn recover_dead(&self) -> Result<()> {
        drop(SystemSemaphore::open(key(&self.name), LATER)?);
        Ok(())
    }

    /// Waits for that many permits, which must come, and tells what the books say.
    pub(crate) fn books(&self, at_least: u32) -> Result<Outcome> {
        let own = self.own();
        let permits = own.acquire_many_timeout(at_least, PATIENCE);
        let permits =
            permits.map_err(|error| Error::Failure(format!("a waiter does not get through: {error}")))?;
        let rest = own.available_permits()?;
        match own.try_acquire_many(rest + 1) {
            Err(error) if error.kind() == ErrorKind::NoPermits => {}
            other => return Err(Error::Failure(format!("{rest} were free, and one more: {other:?}"))),
        }
        permits.release()?;
        let free = own.available_permits()?;
        demand(free == at_least + rest, || format!("free: {free}, and before {at_least} + {rest}"))?;
        Ok(Outcome { free, recoveries: own.recoveries()? })
    }

    /// That nobody holds or occupies anything but those that live.
    pub(crate) fn check_the_living(&self, others: u32) -> Result<()> {
        self.recover_dead()?;
        let users = self.users()?;
        demand(users == 1 + others, || format!("{users} slots are in use, by {} processes", 1 + others))?;
        let holders = self.own().holders()?;
        demand(holders.len() == others as usize, || format!("the dead hold something: {holders:?}"))
    }

    /// Closes it; nothing is to be left.
    pub(crate) fn close(mut self) -> Result<()> {
        self.own = None;
        demand(!self.path().exists(), || format!("{} is left", self.path().display()))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.own = None;
        // after a failure; else it is gone
        let _ = fs::remove_file(self.path());
    }
}
