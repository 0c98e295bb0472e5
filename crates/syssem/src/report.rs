//! The state of semaphores and their users, as `list`, `show`, `watch` and `doctor` print it.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use system_semaphore::{Holder, KeyType, Listed, NativeIpcKey, Owners, Snapshot, Waiter, list};

use crate::output::printable;

/// A snapshot as JSON. A field that this type of semaphore cannot provide is null.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct SemaphoreReport {
    pub(crate) available: u32,
    pub(crate) held: Option<u64>,
    pub(crate) max_permits: u32,
    pub(crate) initial_value: Option<u32>,
    pub(crate) holders: Option<Vec<ProcessReport>>,
    pub(crate) held_by_dead: Option<u32>,
    pub(crate) waiting: Option<u32>,
    pub(crate) waiters: Option<Vec<ProcessReport>>,
    pub(crate) users: Option<u32>,
    pub(crate) last_pid: Option<u32>,
    pub(crate) persistent: Option<bool>,
    pub(crate) stale: Option<bool>,
    pub(crate) recoveries: Option<u64>,
    pub(crate) owner: u32,
    pub(crate) permissions: String,
}

/// A holder or a waiter as JSON.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct ProcessReport {
    pub(crate) pid: Option<u32>,
    pub(crate) command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<u32>,
    /// When the process acquired its permits, in seconds since 1970.
    pub(crate) since: Option<u64>,
}

impl From<&Snapshot> for SemaphoreReport {
    fn from(snapshot: &Snapshot) -> Self {
        let holders = snapshot.holders.as_ref();
        let waiters = snapshot.waiters.as_ref();
        Self {
            available: snapshot.available,
            held: holders.map(|holders| holders.iter().map(|holder| u64::from(holder.permits)).sum()),
            max_permits: snapshot.max_permits,
            initial_value: snapshot.initial_value,
            holders: holders.map(|holders| holders.iter().map(ProcessReport::from).collect()),
            held_by_dead: snapshot.held_by_dead,
            waiting: snapshot.waiting,
            waiters: waiters.map(|waiters| waiters.iter().map(ProcessReport::from).collect()),
            users: snapshot.users,
            last_pid: snapshot.last_pid,
            persistent: snapshot.persistent,
            stale: is_stale(snapshot),
            recoveries: snapshot.recoveries,
            owner: snapshot.owner,
            permissions: format!("{:04o}", snapshot.permissions),
        }
    }
}

/// Returns whether the semaphore has no users and should have been removed by its last one.
///
/// Returns `None` if this type of semaphore keeps no record of its users.
pub(crate) fn is_stale(snapshot: &Snapshot) -> Option<bool> {
    Some(snapshot.users? == 0 && !snapshot.persistent?)
}

impl From<&Holder> for ProcessReport {
    fn from(holder: &Holder) -> Self {
        let since = holder.since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        Self {
            pid: holder.pid,
            command: holder.command.clone(),
            permits: Some(holder.permits),
            threads: None,
            since: since.map(|since| since.as_secs()),
        }
    }
}

impl From<&Waiter> for ProcessReport {
    fn from(waiter: &Waiter) -> Self {
        Self {
            pid: waiter.pid,
            command: waiter.command.clone(),
            permits: None,
            threads: Some(waiter.threads),
            since: None,
        }
    }
}

impl ProcessReport {
    /// Returns the pid and the program's name, as text output shows them.
    pub(crate) fn name(&self) -> String {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => format!("{pid} {}", printable(command)),
            // The process has ended, and its children inherited the permits.
            (Some(pid), None) => format!("children of {pid}, which has ended"),
            (None, _) => "a process of another PID namespace".to_owned(),
        }
    }

    /// Returns how long the process has held its permits, if that is known.
    pub(crate) fn age(&self) -> Option<String> {
        let since = UNIX_EPOCH + std::time::Duration::from_secs(self.since?);
        let seconds = SystemTime::now().duration_since(since).map_or(0, |age| age.as_secs());
        Some(match seconds {
            0..60 => format!("{seconds} s"),
            60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
            _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        })
    }
}

/// A semaphore of this machine as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ListEntry {
    #[serde(serialize_with = "as_optional_text")]
    pub(crate) key: Option<NativeIpcKey>,
    #[serde(rename = "type", serialize_with = "as_text")]
    pub(crate) key_type: KeyType,
    pub(crate) name: String,
    #[serde(serialize_with = "as_optional_path")]
    pub(crate) path: Option<PathBuf>,
    pub(crate) owner: u32,
    pub(crate) error: Option<String>,
    pub(crate) state: Option<SemaphoreReport>,
}

impl From<&Listed> for ListEntry {
    fn from(listed: &Listed) -> Self {
        Self {
            key: listed.native_key.clone(),
            key_type: listed.key_type,
            name: listed.name.clone(),
            path: listed.path.clone(),
            owner: listed.owner,
            error: listed.snapshot.as_ref().err().map(ToString::to_string),
            state: listed.snapshot.as_ref().ok().map(SemaphoreReport::from),
        }
    }
}

impl ListEntry {
    /// Returns the key that opens the semaphore, or else its type and name.
    pub(crate) fn label(&self) -> String {
        match &self.key {
            Some(key) => printable(&key.to_string()),
            None => format!("{}: {}", self.key_type, printable(&self.name)),
        }
    }
}

/// Lists the semaphores of this machine, ordered by type and label.
pub(crate) fn list_entries(owners: Owners) -> system_semaphore::Result<Vec<ListEntry>> {
    let mut entries: Vec<ListEntry> = list(owners)?.iter().map(ListEntry::from).collect();
    entries.sort_by_cached_key(|entry| (entry.key_type.to_string(), entry.label()));
    Ok(entries)
}

/// Serialises a value as the text that it displays.
pub(crate) fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_optional_text<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => as_text(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// Serialises a path. Bytes that are not UTF-8 are replaced.
fn as_optional_path<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    as_optional_text(&path.as_ref().map(|path| path.display()), serializer)
}
