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

mod error;
mod key_file;
mod observe;
mod open;
mod poll;
mod set;

use super::api::{Namespace, Observe, OpenRequest, Opened};
use crate::error::Cause;
use crate::key::ProjectId;
use crate::sys::system_v as sys;

/// Paths of key files, with the project id that `ftok` mixes in.
pub(super) struct KeyFiles(pub(super) ProjectId);

impl Namespace for KeyFiles {
    fn is_supported(&self) -> bool {
        sys::is_supported()
    }

    fn open(&self, path: &str, request: &OpenRequest) -> Result<Opened, Cause> {
        open::open(path, self.0, request)
    }

    fn remove(&self, path: &str) -> Result<(), Cause> {
        open::remove(path, self.0)
    }

    fn observe(&self, path: &str) -> Result<Box<dyn Observe>, Cause> {
        observe::observe(path, self.0)
    }

    #[cfg(target_os = "linux")]
    fn list(&self, owners: crate::types::Owners) -> Option<Vec<crate::types::Listed>> {
        Some(observe::list(owners))
    }
}
