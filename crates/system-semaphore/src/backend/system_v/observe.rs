//! Observes a set without using it.

use super::error::{MAX_PERMITS, cause_of, not_there};
use super::key_file::KeyFile;
use crate::backend::api::Observe;
use crate::error::{Cause, ErrorKind};
use crate::key::ProjectId;
use crate::sys::system_v::{self as sys, SetId};
use crate::types::Snapshot;

struct SetObserver(SetId);

pub(super) fn observe(path: &str, project: ProjectId) -> Result<Box<dyn Observe>, Cause> {
    let key = KeyFile::new(path, project)?.key()?.ok_or_else(not_there)?;
    let set = sys::find(key).map_err(|error| cause_of(&error))?;
    Ok(Box::new(SetObserver(set)))
}

impl Observe for SetObserver {
    fn snapshot(&self) -> Result<Snapshot, Cause> {
        snapshot(self.0).map_err(|error| match error.raw_os_error() {
            Some(libc::EACCES) => {
                let reason = "it belongs to another user, who does not allow others to read it";
                Cause::new(ErrorKind::PermissionDenied, reason).with_os(error.raw_os_error())
            }
            _ => cause_of(&error),
        })
    }
}

fn snapshot(set: SetId) -> std::io::Result<Snapshot> {
    let status = sys::status(set)?;
    Ok(Snapshot {
        available: sys::value(set)?.unsigned_abs(),
        max_permits: MAX_PERMITS,
        initial_value: None,
        holders: None,
        held_by_dead: None,
        waiters: None,
        waiting: Some(sys::waiting(set)?.unsigned_abs()),
        users: None,
        last_pid: Some(sys::last_pid(set)?.unsigned_abs()).filter(|pid| *pid != 0),
        persistent: None,
        recoveries: None,
        owner: status.owner,
        permissions: status.mode,
    })
}

#[cfg(target_os = "linux")]
mod listing {
    use std::collections::HashMap;
    use std::ffi::CString;
    use std::fs;

    use super::{SetObserver, sys};
    use crate::backend::api::Observe;
    use crate::error::Error;
    use crate::key::{Environment, KeyType, NativeIpcKey, ProjectId};
    use crate::sys::system_v::{ListedSet, SetKey};
    use crate::sys::user;
    use crate::types::{Listed, Owners};

    /// Lists all sets, whoever made them and for whatever. (What they count is known to their makers alone; this library
    /// and Qt use the first semaphore of each.)
    pub(in super::super) fn list(owners: Owners) -> Vec<Listed> {
        let sets = sys::all().unwrap_or_default().into_iter();
        let is_wanted = |set: &ListedSet| owners == Owners::All || set.status.owner == user::effective_id();
        let sets: Vec<ListedSet> = sets.filter(is_wanted).collect();
        let files = if sets.is_empty() { HashMap::new() } else { key_files() };
        sets.into_iter().map(|set| describe(&set, files.get(&set.key.number()))).collect()
    }

    fn describe(set: &ListedSet, key_file: Option<&String>) -> Listed {
        let name = format!("key 0x{:08x}, set {}", set.key.number(), set.set.number());
        let snapshot = SetObserver(set.set).snapshot();
        Listed {
            native_key: key_file.map(|path| NativeIpcKey::new(path, KeyType::SYSTEM_V)),
            key_type: KeyType::SYSTEM_V,
            path: key_file.map(Into::into),
            owner: set.status.owner,
            snapshot: snapshot.map_err(|cause| Error::new("observe", name.as_str(), cause)),
            name,
        }
    }

    /// The files in the places that Qt and this library choose for key files, by the keys that they make.
    fn key_files() -> HashMap<libc::key_t, String> {
        let environment = Environment::current_readonly();
        let in_directory = |directory: String, is_candidate: fn(&str) -> bool| {
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let paths =
                names.filter(move |name| is_candidate(name)).map(move |name| format!("{directory}/{name}"));
            paths.collect::<Vec<_>>()
        };
        let mut paths = in_directory(environment.temp_location(), |name| name.starts_with("qipc_"));
        paths.extend(in_directory(environment.runtime_location(), |_| true));
        paths.into_iter().filter_map(|path| Some((key(&path)?.number(), path))).collect()
    }

    fn key(path: &str) -> Option<SetKey> {
        sys::key(&CString::new(path).ok()?, ProjectId::QT.get()).ok()
    }
}
#[cfg(target_os = "linux")]
pub(super) use listing::list;
