//! Notice of a death: how a process hears that another process has died.
//!
//! A platform gives notice when a process closes a shared object. A process that dies closes all
//! that it has open, so a close is a hint that a user may have died. The subscriber then checks the
//! users' locks.
//!
//! | process | subscribes as | hears the close of |
//! |---|---|---|
//! | the watcher, one process for each object | [`Role::Watcher`] | each user |
//! | a standby, every other waiting process | [`Role::Standby`] | the watcher's *standby signal* |
//!
//! Without the two roles, each close would wake a thread in every waiting process.

use std::io;
use std::time::Duration;

/// What a process subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The closes of users, and of observers that could write.
    Watcher,
    /// The closes of standby signals, and of observers that could only read.
    Standby,
}

/// A notice that one of the subscribed objects was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice<Subscription> {
    /// A process closed what subscribers of this role hear.
    Closed {
        /// The subscription whose object was closed.
        subscription: Subscription,
        /// The role to which the notice is addressed.
        role: Role,
    },
    /// Notices were lost, so any of the objects may have been closed.
    Lost,
}

/// The error of [`DeathNotices::wait`]: no notice will come any more.
///
/// Other code of the process has closed the instance's descriptor, or the platform has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disconnected;

/// Notices of the close of shared objects, for one process.
///
/// # Timing
/// A platform may give the notice before it has released the locks of the process that died, and
/// may give it late. A platform may give surplus notices. A subscriber that relies on a notice must
/// therefore scan several times after it, and must not sleep without a limit.
///
/// # Forks
/// A forked child does not inherit the instance, nor a standby signal. Dropping one in a child does
/// nothing.
pub(crate) trait DeathNotices: Sized + Send + Sync {
    /// A handle of a shared object.
    type Object;
    /// Names a subscribed object. Two handles of the same object have the same subscription.
    type Subscription: Copy + Eq + Send;
    /// The object that makes a process the watcher. Dropping it, which a death does, sends a notice
    /// to all standbys.
    type StandbySignal: Send;

    /// Makes an instance without subscriptions.
    ///
    /// # Errors
    /// The platform has no notices, or has none left for this user. Waiters must then poll.
    fn new() -> io::Result<Self>;

    /// Subscribes to the closes that concern this role, in addition to those that the process has
    /// subscribed to before.
    ///
    /// # Errors
    /// The user has too many subscriptions, or other code of the process has closed the handle.
    fn subscribe(&self, object: &Self::Object, role: Role) -> io::Result<Self::Subscription>;

    /// Ends a subscription in both roles, for all handles of the object in this process.
    fn unsubscribe(&self, subscription: Self::Subscription);

    /// Opens the signal of a watcher.
    ///
    /// # Errors
    /// The process has too many files open, or other code of the process has closed the handle.
    fn open_standby_signal(&self, object: &Self::Object) -> io::Result<Self::StandbySignal>;

    /// Blocks until there are notices, until the timeout has passed, or until a signal handler has
    /// run. Passes each notice to `receive`.
    ///
    /// # Errors
    /// [`Disconnected`] if no notices will come any more. The caller must then drop the instance.
    fn wait(
        &self,
        timeout: Duration,
        receive: impl FnMut(Notice<Self::Subscription>),
    ) -> Result<(), Disconnected>;
}
