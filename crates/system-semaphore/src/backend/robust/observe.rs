//! Observing a semaphore without using it.
//!
//! The file is read, not mapped: a hole of a full file system reads as zeros, and a file that was
//! truncated is an error. An observer takes no slot, writes nothing and locks nothing. Other
//! processes notice only the close of its descriptor.

use std::fs;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::fstat;
use rustix::io::{pread, retry_on_intr};

use super::algorithm::epoch;
use super::algorithm::layout::{self, Layout, REMOVED, SLOTS, Slot};
use super::algorithm::state::{Record, State};
use super::error::EngineError;
use super::lifetime::path::SemaphorePath;
use super::lifetime::{file, validate};
use super::platform::Locks;
use super::process_id::ProcessId;
use crate::backend::api::Observe;
use crate::error::{Cause, Error};
use crate::key::{KeyType, NativeIpcKey};
use crate::sys::user;
use crate::types::{Holder, Listed, Owners, Snapshot, Waiter};

#[derive(Debug)]
struct FileObserver {
    file: OwnedFd,
    path: SemaphorePath,
}

pub(crate) fn observe(name: &str) -> Result<Box<dyn Observe>, Cause> {
    let path = SemaphorePath::of(name)?;
    Ok(Box::new(FileObserver { file: file::open_to_read(&path)?, path }))
}

impl Observe for FileObserver {
    fn snapshot(&self) -> Result<Snapshot, Cause> {
        let header: Image<{ offset_of!(Layout, slots) }> = self.read(0)?;
        let state = State(header.u64_at(offset_of!(Layout, state)));
        let data = fstat(&self.file).map_err(EngineError::from)?;
        // the last user has closed it, or it was removed
        if data.st_nlink == 0 || state.slot() == REMOVED {
            return Err(EngineError::Removed.into());
        }
        let epoch = epoch::epoch_of(header.u32_at(offset_of!(Layout, epoch)), state);
        let of_epoch = |at| header.u32_at(at + layout::epoch_index(epoch) * size_of::<u32>());
        let (mut users, mut held_by_dead) = (0, 0_u32);
        let (mut holders, mut waiters) = (Vec::new(), Vec::new());
        for number in header.used_slots() {
            let slot: SlotImage =
                self.read(offset_of!(Layout, slots) + usize::from(number) * size_of::<Slot>())?;
            let held = slot.held(epoch);
            if !Locks::is_locked_of_observed(self.file.as_fd(), &self.path, number)? {
                held_by_dead = held_by_dead.saturating_add(held);
                continue;
            }
            users += 1;
            let (process, threads) = (slot.process_id(), slot.u32_at(offset_of!(Slot, waiting_threads)));
            if held > 0 {
                holders.push(describe_holder(
                    process,
                    slot.record(offset_of!(Slot, since)),
                    slot.committed(),
                    held,
                ));
            }
            if threads > 0 {
                waiters.push(Waiter::new(process.visible_pid(), process.command(), threads));
            }
        }
        Ok(Snapshot {
            available: state.count(),
            max_permits: of_epoch(offset_of!(Layout, state.max_permits)),
            initial_value: Some(of_epoch(offset_of!(Layout, state.initial))),
            waiting: Some(waiters.iter().fold(0, |sum, waiter: &Waiter| sum.saturating_add(waiter.threads))),
            holders: Some(holders),
            held_by_dead: Some(held_by_dead),
            waiters: Some(waiters),
            users: Some(users),
            last_pid: None,
            persistent: Some(header.u32_at(offset_of!(Layout, persistent)) != 0),
            recoveries: Some(header.u64_at(offset_of!(Layout, recoveries))),
            owner: data.st_uid,
            permissions: data.st_mode & 0o777,
        })
    }
}

impl FileObserver {
    fn read<const SIZE: usize>(&self, at: usize) -> Result<Image<SIZE>, EngineError> {
        let mut bytes = [0; SIZE];
        match retry_on_intr(|| pread(&self.file, &mut bytes, at as u64))? {
            read if read == SIZE => Ok(Image(bytes)),
            _ => Err(EngineError::Corrupt),
        }
    }
}

/// A copy of a part of the file.
struct Image<const SIZE: usize>([u8; SIZE]);

type SlotImage = Image<{ size_of::<Slot>() }>;

impl<const SIZE: usize> Image<SIZE> {
    fn u64_at(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().expect("8 bytes"))
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("4 bytes"))
    }

    fn record(&self, at: usize) -> Record {
        Record::from_word(self.u64_at(at))
    }
}

impl Image<{ offset_of!(Layout, slots) }> {
    fn used_slots(&self) -> impl Iterator<Item = u16> {
        (0..SLOTS).filter(|number| {
            let word = self.u64_at(offset_of!(Layout, used) + usize::from(number / 64) * 8);
            word >> (number % 64) & 1 != 0
        })
    }
}

impl SlotImage {
    fn committed(&self) -> Record {
        self.record(offset_of!(Slot, committed))
    }

    fn held(&self, epoch: u32) -> u32 {
        if self.u32_at(offset_of!(Slot, epoch)) == epoch { self.committed().amount() } else { 0 }
    }

    fn process_id(&self) -> ProcessId {
        ProcessId {
            pid: self.u32_at(offset_of!(Slot, pid)),
            pid_namespace: self.u32_at(offset_of!(Slot, pid_namespace)),
            start_time: self.u64_at(offset_of!(Slot, start_time)),
        }
    }
}

/// A holder, for people. It is known since when if that was noted for its last operation.
pub(crate) fn describe_holder(process: ProcessId, since: Record, committed: Record, permits: u32) -> Holder {
    let is_known = since.amount() != 0 && since.seq() == committed.seq();
    Holder {
        pid: process.visible_pid(),
        command: process.command(),
        permits,
        since: is_known.then(|| UNIX_EPOCH + Duration::from_secs(since.amount().into())),
    }
}

/// Lists the semaphores. Those that this process may not see are missing: the directories of other
/// users, unless the process is root's.
pub(crate) fn list(owners: Owners) -> Vec<Listed> {
    let is_wanted = |owner| owners == Owners::All || owner == user::effective_id();
    let paths = SemaphorePath::all(is_wanted).unwrap_or_default();
    paths.into_iter().filter_map(list_file).filter(|listed| is_wanted(listed.owner)).collect()
}

/// Describes the semaphore of a file, or returns `None` if the file has disappeared.
fn list_file(path: SemaphorePath) -> Option<Listed> {
    let full_path = path.full_path();
    let owner = fs::symlink_metadata(&full_path).ok()?.uid();
    let file = file::open_to_read(&path);
    let name = path.name().or_else(|| {
        let name = validate::read_name(file.as_ref().ok()?.as_fd()).ok()??;
        String::from_utf8(name).ok()
    });
    let native_key = name.as_deref().and_then(|name| path.native_key(name));
    let name = name.unwrap_or_else(|| path.file.clone());
    let snapshot = file.and_then(|file| FileObserver { file, path }.snapshot());
    Some(Listed {
        native_key: native_key.map(|native| NativeIpcKey::new(native, KeyType::Robust)),
        key_type: KeyType::Robust,
        snapshot: snapshot.map_err(|cause| Error::new("observe", name.as_str(), cause)),
        name,
        path: Some(full_path),
        owner,
    })
}
