//! What inotify reports.

use std::mem::MaybeUninit;

use rustix::fs::inotify;
use rustix::io::Errno;

use crate::sys::descriptor::PrivateDescriptor;

/// What inotify reports: that somebody has closed a descriptor of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) watch: i32,
    /// One that could write, as users have (and who looks on, if it may).
    pub(super) is_users: bool,
}

/// What was read at once. (It is no list: the first piece of memory that the thread gets from the allocator would take longer than all
/// that it does for a death.)
#[derive(Default)]
pub(super) struct Reports {
    different: [Option<Report>; 16],
    /// There were more, or some were lost, so it may have been any.
    is_any: bool,
}

impl Reports {
    pub(super) fn add(&mut self, report: Report) {
        match self.different.iter_mut().find(|other| other.is_none_or(|other| other == report)) {
            Some(place) => *place = Some(report),
            None => self.is_any = true,
        }
    }

    pub(super) fn concern(&self, watch: Option<i32>, is_watcher: bool) -> bool {
        let is_its = |report: &Report| watch == Some(report.watch) && is_watcher == report.is_users;
        self.is_any || self.different.iter().flatten().any(is_its)
    }
}

/// Reads what happened; `None` if the descriptor does not work, or is no longer ours.
pub(super) fn read_reports(inotify: &PrivateDescriptor) -> Option<Reports> {
    let mut reports = Reports::default();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    if !inotify.is_ours() {
        return None;
    }
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => reports.is_any = true,
            Ok(event) => reports.add(Report {
                watch: event.wd(),
                is_users: event.events().contains(inotify::ReadFlags::CLOSE_WRITE),
            }),
            Err(Errno::AGAIN | Errno::INTR) => return Some(reports),
            Err(_) => return None,
        }
        // if there are more, the next poll tells
        if reader.is_buffer_empty() {
            return Some(reports);
        }
    }
}
