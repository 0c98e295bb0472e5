//! Which of the waiting processes is the watcher.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, inotify};

use crate::backend::robust::algorithm::layout::WATCHER_BYTE;
use crate::backend::robust::algorithm::mapped_file::Core;
use crate::backend::robust::error::Trouble;
use crate::backend::robust::platform::LivenessLocks;
use crate::sys::descriptor::{PrivateDescriptor, undisturbed};

pub(super) struct Election {
    pub(super) core: Arc<Core>,
    /// The number of the inotify watch.
    pub(super) watch: Option<i32>,
    /// What makes this process the watcher: a descriptor whose close calls the deputies.
    tripwire: Option<PrivateDescriptor>,
}

impl Election {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), watch: None, tripwire: None }
    }

    pub(super) fn is_watcher(&self) -> bool {
        self.tripwire.is_some()
    }

    /// Listens for the end of the watcher, or as the watcher.
    pub(super) fn listen(&mut self, inotify: &PrivateDescriptor) {
        // first, so that no watcher can go unseen between the two
        self.add_watch(inotify, inotify::WatchFlags::CLOSE_NOWRITE);
        if self.watch.is_some() {
            let _: bool = self.candidate(inotify);
        }
    }

    fn add_watch(&mut self, inotify: &PrivateDescriptor, flags: inotify::WatchFlags) {
        self.watch = None;
        let Ok(file) = self.core.locks() else { return };
        // by number: the file's name may be another one's by now
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let flags = flags | inotify::WatchFlags::MASK_ADD;
        self.watch = inotify::add_watch(inotify, path, flags).ok();
    }

    /// Becomes the watcher, if there is none; tells whether it has.
    pub(super) fn candidate(&mut self, inotify: &PrivateDescriptor) -> bool {
        match self.run_for_it() {
            Ok(true) => self.add_watch(inotify, inotify::WatchFlags::CLOSE_WRITE),
            Ok(false) => return false,
            // perhaps nobody watches: the waiters are to look for themselves, and this is tried again
            Err(_) => self.watch = None,
        }
        if self.watch.is_none() {
            // who does not listen is not to keep others from it
            self.resign();
        }
        self.watch.is_some()
    }

    fn run_for_it(&mut self) -> Result<bool, Trouble> {
        let file = self.core.locks()?;
        if self.is_watcher() || !file.try_lock(WATCHER_BYTE)? {
            return Ok(false);
        }
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let open = || rustix::fs::open(&*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        match undisturbed(|| PrivateDescriptor::new(open()?)) {
            Ok(tripwire) => {
                self.tripwire = Some(tripwire);
                Ok(true)
            }
            Err(error) => {
                file.unlock(WATCHER_BYTE)?;
                Err(error.into())
            }
        }
    }

    /// Lets somebody else be the watcher.
    pub(super) fn resign(&mut self) {
        if self.tripwire.is_some()
            && let Ok(file) = self.core.locks()
        {
            // before the tripwire calls the deputies
            let _ = file.unlock(WATCHER_BYTE);
        }
        self.tripwire = None;
    }
}
