//! Notice of a death by inotify, which reports the close of the last descriptor of an open file
//! description.
//!
//! A user has its file open for writing, so its close is reported as `IN_CLOSE_WRITE`. A standby
//! signal is a descriptor of the same file that can only read, so its close is reported as
//! `IN_CLOSE_NOWRITE`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::Locks;
use crate::backend::robust::platform::death_notices::{DeathNotices, Disconnected, Notice, Role};
use crate::sys::private_fd::{PrivateFd, retry_if_forked};

/// An inotify instance.
pub(crate) struct Inotify(PrivateFd);

impl DeathNotices for Inotify {
    type Object = Locks;
    /// The watch descriptor.
    type Subscription = i32;
    /// A descriptor of the file that can only read.
    type StandbySignal = PrivateFd;

    fn new() -> io::Result<Self> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        retry_if_forked(|| PrivateFd::new(init(flags)?)).map(Self)
    }

    fn subscribe(&self, file: &Locks, role: Role) -> io::Result<i32> {
        let flags = match role {
            Role::Watcher => WatchFlags::CLOSE_WRITE,
            Role::Standby => WatchFlags::CLOSE_NOWRITE,
        };
        Ok(add_watch(&self.0, path(file), flags | WatchFlags::MASK_ADD)?)
    }

    fn unsubscribe(&self, watch: i32) {
        // The call fails only if the watch has already ended.
        let _ = remove_watch(&self.0, watch);
    }

    fn open_standby_signal(&self, file: &Locks) -> io::Result<PrivateFd> {
        let path = path(file);
        retry_if_forked(|| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            PrivateFd::new(open(&*path, flags, Mode::empty())?)
        })
    }

    fn wait(&self, timeout: Duration, receive: impl FnMut(Notice<i32>)) -> Result<(), Disconnected> {
        let mut descriptors = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(0) if self.0.check_still_ours() => Ok(()),
            Ok(_) | Err(Errno::INTR) => self.read(receive),
            Err(_) => Err(Disconnected),
        }
    }
}

impl Inotify {
    /// Reads the events that are in the queue. If they do not fit into the buffer, the next wait
    /// returns at once.
    fn read(&self, mut receive: impl FnMut(Notice<i32>)) -> Result<(), Disconnected> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.0, &mut buffer);
        if !self.0.check_still_ours() {
            return Err(Disconnected);
        }
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => receive(Notice::Lost),
                Ok(event) => {
                    let is_writer = event.events().contains(ReadFlags::CLOSE_WRITE);
                    let role = if is_writer { Role::Watcher } else { Role::Standby };
                    receive(Notice::Closed { subscription: event.wd(), role });
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(_) => return Err(Disconnected),
            }
            if reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}

/// The file's path by the number of its descriptor, because its name may be another file's by now.
fn path(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, memfd_create};
    use test_support::wait_until;

    use super::*;

    const NOT_LONG: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    /// Waits while other processes of this user have all the instances that it may have.
    fn instance() -> Inotify {
        let mut instance = None;
        wait_until("an instance is left", || {
            instance = Inotify::new().ok();
            instance.is_some()
        });
        instance.expect("the wait has made it")
    }

    fn file() -> Locks {
        let make = || PrivateFd::new(memfd_create("notices", MemfdFlags::CLOEXEC)?);
        Locks(retry_if_forked(make).expect("there is memory"))
    }

    /// Another open file description of the same file, that can write.
    fn user_of(file: &Locks) -> Locks {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let user = retry_if_forked(|| PrivateFd::new(open(path(file), flags, Mode::empty())?));
        Locks(user.expect("it is there"))
    }

    fn notices(inotify: &Inotify, timeout: Duration) -> Vec<Notice<i32>> {
        let mut notices = Vec::new();
        inotify.wait(timeout, |notice| notices.push(notice)).expect("the instance is ours");
        notices
    }

    #[test]
    fn standby_hears_the_signal_and_no_user() {
        let (inotify, file) = (instance(), file());
        let subscription = inotify.subscribe(&file, Role::Standby).expect("a watch is left");
        drop(user_of(&file));
        assert_eq!(notices(&inotify, NOT_LONG), []);
        drop(inotify.open_standby_signal(&file).expect("it can be opened"));
        let expected = [Notice::Closed { subscription, role: Role::Standby }];
        assert_eq!(notices(&inotify, LONG), expected);
    }

    #[test]
    fn watcher_that_was_standby_hears_both() {
        let (inotify, file) = (instance(), file());
        let subscription = inotify.subscribe(&file, Role::Standby).expect("a watch is left");
        let same = inotify.subscribe(&user_of(&file), Role::Watcher).expect("a watch is left");
        assert_eq!(same, subscription);
        drop(inotify.open_standby_signal(&file).expect("it can be opened"));
        // The user of the second subscription has closed the file, too. A process that another test
        // is just starting has copies of both descriptors until it executes its program, and the
        // last copy is the close. So the notices come together or apart, in any order.
        let mut heard = notices(&inotify, LONG);
        while heard.len() < 2 {
            let more = notices(&inotify, LONG);
            assert!(!more.is_empty(), "nothing but {heard:?}");
            heard.extend(more);
        }
        let closed = |role| Notice::Closed { subscription, role };
        assert!(heard.len() == 2 && heard.contains(&closed(Role::Watcher)), "{heard:?}");
        assert!(heard.contains(&closed(Role::Standby)), "{heard:?}");
    }

    #[test]
    fn nothing_is_heard_after_unsubscribing() {
        let (inotify, file) = (instance(), file());
        let subscription = inotify.subscribe(&file, Role::Watcher).expect("a watch is left");
        inotify.unsubscribe(subscription);
        drop(user_of(&file));
        // inotify itself reports the end of a watch
        let is_close = |notice: &Notice<i32>| !matches!(notice, Notice::Closed { role: Role::Standby, .. });
        assert!(!notices(&inotify, NOT_LONG).iter().any(is_close));
    }

    #[test]
    fn instance_that_other_code_replaced_is_disconnected() {
        let (inotify, other) = (instance(), file());
        crate::sys::private_fd::steal_fd(inotify.0.as_fd().as_raw_fd(), other.as_fd()).expect("it is open");
        assert_eq!(inotify.wait(NOT_LONG, |notice| panic!("{notice:?}")), Err(Disconnected));
    }
}
