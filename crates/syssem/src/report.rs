//! A semaphore as it is shown, by `list`, `show`, `watch` and `doctor`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use system_semaphore::{Holder, Listed, Owners, Result, Snapshot, Waiter, list as all};

use crate::output::printable;

/// What is printed of a snapshot as JSON. What a type of semaphore does not tell is null.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Sight {
    pub(crate) available: u32,
    pub(crate) held: Option<u64>,
    pub(crate) max_permits: u32,
    pub(crate) initial_value: Option<u32>,
    pub(crate) holders: Option<Vec<Process>>,
    pub(crate) held_by_dead: Option<u32>,
    pub(crate) waiting: Option<u32>,
    pub(crate) waiters: Option<Vec<Process>>,
    pub(crate) users: Option<u32>,
    pub(crate) last_pid: Option<u32>,
    pub(crate) persistent: Option<bool>,
    pub(crate) leftover: Option<bool>,
    pub(crate) recoveries: Option<u64>,
    pub(crate) owner: u32,
    pub(crate) permissions: String,
}

/// A holder or a waiter.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: Option<u32>,
    pub(crate) command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<u32>,
    /// In seconds since 1970.
    pub(crate) since: Option<u64>,
}

impl From<&Snapshot> for Sight {
    fn from(seen: &Snapshot) -> Self {
        let held =
            seen.holders.as_ref().map(|holders| holders.iter().map(|holder| u64::from(holder.permits)).sum());
        Self {
            available: seen.available,
            held,
            max_permits: seen.max_permits,
            initial_value: seen.initial_value,
            holders: seen.holders.as_ref().map(|holders| holders.iter().map(Process::from).collect()),
            held_by_dead: seen.held_by_dead,
            waiting: seen.waiting,
            waiters: seen.waiters.as_ref().map(|waiters| waiters.iter().map(Process::from).collect()),
            users: seen.users,
            last_pid: seen.last_pid,
            persistent: seen.persistent,
            leftover: is_leftover(seen),
            recoveries: seen.recoveries,
            owner: seen.owner,
            permissions: format!("{:04o}", seen.permissions),
        }
    }
}

/// Whether nobody uses it and it was to go with its last user; `None` if that cannot be told.
pub(crate) fn is_leftover(seen: &Snapshot) -> Option<bool> {
    Some(seen.users? == 0 && !seen.persistent?)
}

impl From<&Holder> for Process {
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

impl From<&Waiter> for Process {
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

impl Process {
    /// What people call it.
    pub(crate) fn name(&self) -> String {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => format!("{pid} {}", printable(command)),
            // who inherited its permits has them now
            (Some(pid), None) => format!("children of {pid}, which has ended"),
            (None, _) => "a process of another PID namespace".to_owned(),
        }
    }

    /// How long it has held, if that is known.
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

/// An entry, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) key: Option<String>,
    #[serde(rename = "type")]
    pub(crate) key_type: String,
    pub(crate) name: String,
    pub(crate) path: Option<String>,
    pub(crate) owner: u32,
    pub(crate) error: Option<String>,
    pub(crate) sight: Option<Sight>,
}

impl From<&Listed> for Entry {
    fn from(listed: &Listed) -> Self {
        Self {
            key: listed.native_key.as_ref().map(ToString::to_string),
            key_type: listed.key_type.to_string(),
            name: listed.name.clone(),
            path: listed.path.as_ref().map(|path| path.display().to_string()),
            owner: listed.owner,
            error: listed.snapshot.as_ref().err().map(ToString::to_string),
            sight: listed.snapshot.as_ref().ok().map(Sight::from),
        }
    }
}

impl Entry {
    /// What people call it: the key that opens it, if there is one.
    pub(crate) fn label(&self) -> String {
        match &self.key {
            Some(key) => printable(key),
            None => format!("{}: {}", self.key_type, printable(&self.name)),
        }
    }
}

/// All that there are, in order.
pub(crate) fn entries(owners: Owners) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = all(owners)?.iter().map(Entry::from).collect();
    entries.sort_by_cached_key(|entry| (entry.key_type.clone(), entry.label()));
    Ok(entries)
}
