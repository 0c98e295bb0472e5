//! The errors of the engine, in one word each, so that the results of the fast path stay small.

use std::io;

use crate::error::{Cause, ErrorKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineError {
    /// The semaphore was removed.
    Removed,
    /// The content of the file makes no sense.
    Corrupt,
    /// A signal handler used the semaphore during an operation of its own thread.
    Reentered,
    /// An operation of this process was applied and is not committed. A signal handler has
    /// interrupted it, or the content of the file makes no sense.
    Unfinished,
    /// Other code of this process has closed the descriptor.
    LostDescriptor,
    System(i32),
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        Self::System(error.raw_os_error().unwrap_or(0))
    }
}

impl From<rustix::io::Errno> for EngineError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.raw_os_error())
    }
}

impl From<EngineError> for Cause {
    #[cold]
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Removed => Self::new(ErrorKind::NotFound, "it was removed from the system"),
            EngineError::Corrupt => Self::new(
                ErrorKind::Corrupt,
                "what its file contains makes no sense: something else has written to it; end its users, then \
                 remove the semaphore",
            ),
            EngineError::Reentered => Self::new(
                ErrorKind::Unknown,
                "a signal handler interrupted an operation of the same thread on it; semaphores are not to be \
                 used in signal handlers",
            ),
            EngineError::Unfinished => Self::new(
                ErrorKind::Unknown,
                "an operation of this process on it is not finished: either a signal handler interrupted it, and \
                 semaphores are not to be used in signal handlers, or something else has written to its file; then \
                 drop all that this process has of it before it is opened again",
            ),
            EngineError::LostDescriptor => Self::new(
                ErrorKind::Unknown,
                "other code of this process has closed the descriptor of its file; close only descriptors that \
                 you have opened",
            ),
            EngineError::System(number) => {
                let (kind, reason) = match number {
                    libc::EMFILE | libc::ENFILE => (ErrorKind::OutOfResources, "too many files are open"),
                    libc::ENOSPC | libc::EDQUOT => {
                        (ErrorKind::OutOfResources, "the file system of shared memory is full")
                    }
                    // of `madvise` and threads, too
                    libc::ENOMEM | libc::EAGAIN => (
                        ErrorKind::OutOfResources,
                        "there is no memory for it, or the process may have no more (see ulimit -v and -u, and vm.max_map_count)",
                    ),
                    libc::ENOLCK => (ErrorKind::OutOfResources, "the system has no locks left"),
                    libc::EBADF => return Self::from(EngineError::LostDescriptor),
                    libc::EACCES | libc::EPERM => {
                        (ErrorKind::PermissionDenied, "the system does not allow it")
                    }
                    _ => (ErrorKind::Unknown, "the system refused"),
                };
                Self::new(kind, reason).with_os(Some(number))
            }
        }
    }
}
