//! Opening the file of a name.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, Stat, fstat};
use rustix::io::{Errno, retry_on_intr};

use super::path::{SemaphorePath, open_in};
use super::validate::{check, explain, not_found};
use crate::backend::robust::algorithm::mapped_file::MappedFile;
use crate::backend::robust::error::EngineError;
use crate::backend::robust::platform::{Location, Object, SharedFile, SharedObject, file_id};
use crate::error::Cause;

/// Opens the file of an existing semaphore for an observer.
pub(crate) fn open_to_read(path: &SemaphorePath) -> Result<OwnedFd, Cause> {
    let directory = path.open_directory()?.ok_or_else(not_found)?;
    let open = |access| retry_on_intr(|| open_in(path, &directory, access));
    // The close of a read-only descriptor wakes every standby; that of a writable one wakes only the
    // watcher.
    let opened = match open(OFlags::RDWR) {
        Err(errno) if errno != Errno::NOENT => open(OFlags::RDONLY),
        opened => opened,
    };
    let file = opened.map_err(|errno| match errno {
        Errno::NOENT => not_found(),
        _ => explain(path, path.stat(&directory), errno.into()),
    })?;
    check(path, file.as_fd(), &fstat(&file).map_err(EngineError::from)?)?;
    Ok(file)
}

/// Opens a file by a function that may be called several times, and maps it; tells what the system says of it.
pub(crate) fn map(
    path: &Arc<SemaphorePath>,
    mut open: impl FnMut() -> Result<Object, Errno>,
) -> io::Result<(MappedFile, Stat)> {
    let open = || {
        let file = retry_on_intr(&mut open)?;
        let data = fstat(&file)?;
        Ok((file, file_id(data.st_dev, data.st_ino), data))
    };
    let (file, data) = SharedFile::open(Arc::clone(path) as Arc<dyn Location>, open)?;
    Ok((MappedFile::new(file), data))
}

/// Opens the file if it exists, and checks that it is a semaphore's.
pub(crate) fn open_file(path: &Arc<SemaphorePath>, directory: &OwnedFd) -> Result<Option<MappedFile>, Cause> {
    match map(path, || open_in(path, directory, OFlags::RDWR)) {
        Ok((mapped, data)) => check(path, mapped.new_locks().as_fd(), &data).map(|()| Some(mapped)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(explain(path, path.stat(directory), error)),
    }
}

/// Unlinks the file, with what the platform keeps beside it. The caller has the registry lock.
pub(crate) fn unlink(mapped: &MappedFile, path: &SemaphorePath, directory: &OwnedFd) -> Result<(), Errno> {
    SharedFile::remove_side_objects(path, Some(&mapped.file));
    path.unlink(directory)
}

/// Returns whether the path still names this file.
pub(crate) fn names(path: &SemaphorePath, directory: &OwnedFd, mapped: &MappedFile) -> bool {
    path.stat(directory).is_some_and(|data| file_id(data.st_dev, data.st_ino) == mapped.file.id())
}
