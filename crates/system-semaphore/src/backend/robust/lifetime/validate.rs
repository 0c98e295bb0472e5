//! Checks that a file is a semaphore's, and the errors of a file that is not or cannot be used.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::Stat;
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::path::{SemaphorePath, describe_file_type};
use crate::backend::robust::algorithm::layout::{FILE_SIZE, MAGIC, NAME_AT, VERSION};
use crate::backend::robust::error::EngineError;
use crate::error::{Cause, ErrorKind};

/// Fails if the file is not a semaphore's. It checks only fields that never change.
pub(crate) fn check(path: &SemaphorePath, file: BorrowedFd<'_>, data: &Stat) -> Result<(), Cause> {
    let bad = |problem: &str| Err(corrupt(&path.full_path(), problem));
    if let Some(problem) = describe_file_type(data) {
        return bad(problem);
    }
    if path.user().is_some_and(|user| user != data.st_uid) {
        let reason = format!(
            "{} belongs to user {}, though the directory is another user's; remove it",
            path.full_path().display(),
            data.st_uid
        );
        return Err(Cause::new(ErrorKind::PermissionDenied, reason));
    }
    let mut head = [0; 12];
    let size = retry_on_intr(|| pread(file, &mut head, 0)).map_err(EngineError::from)?;
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
    if let Some(name) = &path.hashed
        && read_name(file).map_err(EngineError::from)?.as_deref() != Some(name.as_bytes())
    {
        let full_path = path.full_path();
        let reason = format!(
            "{} belongs to another name with the same hash; choose another name",
            full_path.display()
        );
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

/// Returns the error of a file that cannot be opened.
pub(crate) fn explain(path: &SemaphorePath, data: Option<Stat>, error: std::io::Error) -> Cause {
    let full_path = path.full_path();
    if let Some(problem) = data.as_ref().and_then(describe_file_type) {
        return corrupt(&full_path, problem);
    }
    match (error.raw_os_error(), data) {
        (Some(libc::EACCES | libc::EPERM), Some(data)) => Cause::new(
            ErrorKind::PermissionDenied,
            format!(
                "{} belongs to user {}, who has not allowed it; who makes it gives the permissions",
                full_path.display(),
                data.st_uid
            ),
        )
        .with_os(error.raw_os_error()),
        _ => explain_at(path, error.into()),
    }
}

/// Returns the error of a file that cannot be created or used, with its path and advice.
pub(crate) fn explain_at(path: &SemaphorePath, error: EngineError) -> Cause {
    let full_path = path.full_path();
    let full_path = full_path.display();
    let cause = Cause::from(error);
    let reason = match cause.os {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            format!("there is no room for {full_path}; make some in its file system")
        }
        Some(libc::EACCES | libc::EPERM) => {
            format!("the system does not allow to use {full_path}; look at the mode of its directory")
        }
        Some(libc::EROFS) => format!("the file system of {full_path} is read-only"),
        _ => return cause.context(full_path),
    };
    Cause::new(cause.kind, reason).with_os(cause.os)
}

fn corrupt(path: &Path, problem: &str) -> Cause {
    let reason = format!("{} {problem}; remove it if nobody needs it", path.display());
    Cause::new(ErrorKind::Corrupt, reason)
}

pub(crate) fn explain_unlink(path: &SemaphorePath, errno: Errno) -> Cause {
    let cause = Cause::from(EngineError::from(errno));
    Cause::new(cause.kind, format!("cannot unlink {}", path.full_path().display())).with_os(cause.os)
}
