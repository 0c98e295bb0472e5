//! Whether a file is that of a semaphore, and what to say if it is not or cannot be used.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::Stat;
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::path::{Place, describe_file_type};
use crate::backend::robust::algorithm::layout::{FILE_SIZE, MAGIC, NAME_AT, VERSION};
use crate::backend::robust::error::Trouble;
use crate::error::{Cause, ErrorKind};

/// Whether it is a semaphore's file. What is looked at here never changes.
pub(crate) fn check(place: &Place, file: BorrowedFd<'_>, data: &Stat) -> Result<(), Cause> {
    let bad = |trouble: &str| Err(corrupt(&place.path(), trouble));
    if let Some(trouble) = describe_file_type(data) {
        return bad(trouble);
    }
    if place.user().is_some_and(|user| user != data.st_uid) {
        let reason = format!(
            "{} belongs to user {}, though the directory is another user's; remove it",
            place.path().display(),
            data.st_uid
        );
        return Err(Cause::new(ErrorKind::PermissionDenied, reason));
    }
    let mut head = [0; 12];
    let size = retry_on_intr(|| pread(file, &mut head, 0)).map_err(Trouble::from)?;
    let magic = u64::from_ne_bytes(head[..8].try_into().expect("8 bytes"));
    let version = u32::from_ne_bytes(head[8..].try_into().expect("4 bytes"));
    if size < head.len() {
        return bad(&format!("has only {size} bytes, which is too short for a semaphore"));
    }
    if magic != MAGIC {
        return bad("is not the file of a semaphore");
    }
    if version != VERSION && version != 0 {
        let age = if version > VERSION { "a newer" } else { "an older" };
        return bad(&format!(
            "was made by {age} version of this library (layout {version}, this one knows {VERSION}); use that one"
        ));
    }
    if version != VERSION || u64::try_from(data.st_size) != Ok(FILE_SIZE) {
        return bad(&format!(
            "is damaged: layout {version} with {} bytes instead of layout {VERSION} with {FILE_SIZE}",
            data.st_size
        ));
    }
    if let Some(name) = &place.hashed
        && read_name(file).map_err(Trouble::from)?.as_deref() != Some(name.as_bytes())
    {
        let path = place.path();
        let reason =
            format!("{} belongs to another name with the same hash; choose another name", path.display());
        return Err(Cause::new(ErrorKind::KeyError, reason));
    }
    Ok(())
}

pub(crate) fn write_name(file: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let mut bytes = (name.len() as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    match retry_on_intr(|| pwrite(file, &bytes, NAME_AT))? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}

pub(crate) fn read_name(file: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let mut bytes = vec![0; (FILE_SIZE - NAME_AT) as usize];
    let read = retry_on_intr(|| pread(file, &mut bytes, NAME_AT))?;
    bytes.truncate(read);
    let Some((length, name)) = bytes.split_first_chunk() else { return Ok(None) };
    Ok(name.get(..u32::from_ne_bytes(*length) as usize).map(<[u8]>::to_vec))
}

pub(crate) fn not_found() -> Cause {
    Cause::new(ErrorKind::NotFound, "there is no such semaphore")
}

/// Why the file cannot be opened.
pub(crate) fn explain(place: &Place, data: Option<Stat>, error: std::io::Error) -> Cause {
    let path = place.path();
    if let Some(trouble) = data.as_ref().and_then(describe_file_type) {
        return corrupt(&path, trouble);
    }
    match (error.raw_os_error(), data) {
        (Some(libc::EACCES | libc::EPERM), Some(data)) => Cause::new(
            ErrorKind::PermissionDenied,
            format!(
                "{} belongs to user {}, who has not allowed it; who makes it gives the permissions",
                path.display(),
                data.st_uid
            ),
        )
        .with_os(error.raw_os_error()),
        _ => explain_at(place, error.into()),
    }
}

/// Names the file that could not be made or used, and says what to do.
pub(crate) fn explain_at(place: &Place, trouble: Trouble) -> Cause {
    let path = place.path();
    let path = path.display();
    let cause = Cause::from(trouble);
    let reason = match cause.os {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            format!("there is no room for {path}; make some in its file system")
        }
        Some(libc::EACCES | libc::EPERM) => {
            format!("the system does not allow to use {path}; look at the mode of its directory")
        }
        Some(libc::EROFS) => format!("the file system of {path} is read-only"),
        _ => return cause.context(path),
    };
    Cause::new(cause.kind, reason).with_os(cause.os)
}

fn corrupt(path: &Path, trouble: &str) -> Cause {
    let reason = format!("{} {trouble}; remove it if nobody needs it", path.display());
    Cause::new(ErrorKind::Corrupt, reason)
}

pub(crate) fn explain_unlink(place: &Place, errno: Errno) -> Cause {
    let cause = Cause::from(Trouble::from(errno));
    Cause::new(cause.kind, format!("cannot unlink {}", place.path().display())).with_os(cause.os)
}
