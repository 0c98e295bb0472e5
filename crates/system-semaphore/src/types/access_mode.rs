//! [`AccessMode`]: whether an open creates, resets or requires the semaphore.

/// What to do if the semaphore exists, and what if it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AccessMode {
    /// Use it if it exists (the initial value is then ignored), else create it. Qt's `Open`.
    #[default]
    Open,
    /// Create it, or set the count of the one that is there to the initial value. Qt's `Create`. Who opens it so owes
    /// its removal, as its maker does.
    ///
    /// What this does to those who use it already depends on the type. Robust: the count is set for everybody, waiters
    /// get the new permits, and permits taken before are void, so that giving them back changes nothing. System V: the
    /// count is set for everybody, waiters wake, and the kernel forgets what it would have given back at anybody's
    /// death. POSIX: a new semaphore takes the name and the others keep the old one. Windows: nobody can set the count of one
    /// that is in use, which is [`Unsupported`](crate::ErrorKind::Unsupported).
    Create,
    /// Create it; [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if it is there.
    CreateNew,
    /// Use it; [`NotFound`](crate::ErrorKind::NotFound) if it is not there.
    OpenExisting,
}
