//! Another open of the same file, for permits that other programs inherit.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{Mode, OFlags};

use super::error::Trouble;
use super::lifetime::registry_lock::Registered;
use super::lifetime::slots::take_slot;
use super::mapped_file::Core;
use crate::error::Cause;

/// Opens another description of the same file, with a slot of its own.
pub(crate) fn open_again(core: &Core) -> Result<Core, Cause> {
    let path = format!("/proc/self/fd/{}", core.file()?.as_fd().as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let open = || rustix::fs::open(&*path, flags, Mode::empty());
    let (again, _) = Core::open(&core.place, open).map_err(Trouble::from)?;
    let registered = Registered::for_open(&again)?;
    if !take_slot(&again, &again.new_file())? {
        return Err(Trouble::LostDescriptor.into());
    }
    drop(registered);
    Ok(again)
}
