//! Finds what crashed processes have left, and removes robust semaphores without users.

use serde::Serialize;
use system_semaphore::{AccessMode, ErrorKind, NativeIpcKey, Owners, SystemSemaphore};

#[cfg(target_os = "linux")]
use crate::commands::doctor::untracked;
use crate::report::{ListEntry, SemaphoreReport, list_entries};

/// A semaphore or key file that seems to have no users, as JSON.
#[derive(Serialize)]
pub(crate) struct StaleResource {
    /// The key that opens the semaphore, if there is one.
    #[serde(skip)]
    pub(crate) key: Option<NativeIpcKey>,
    pub(crate) resource: String,
    pub(crate) reason: String,
    /// Whether the resource certainly has no users.
    pub(crate) certain: bool,
    pub(crate) remove_with: String,
    pub(crate) removed: bool,
}

/// Finds this user's stale resources. Returns `None` if this platform cannot list semaphores.
pub(crate) fn find_stale() -> Option<Vec<StaleResource>> {
    // `Unsupported` is the only error of a listing.
    let entries = list_entries(Owners::User).ok()?;
    #[cfg(target_os = "linux")]
    let key_files = untracked::key_files_without_a_set(&entries).into_iter().map(stale_key_file);
    #[cfg(not(target_os = "linux"))]
    let key_files = std::iter::empty();
    Some(entries.iter().filter_map(stale_semaphore).chain(key_files).collect())
}

fn stale_semaphore(entry: &ListEntry) -> Option<StaleResource> {
    let state = entry.state.as_ref()?;
    let remove_with = match &entry.key {
        Some(key) => format!("syssem remove {}", shell_quoted(&key.to_string())),
        None => format!("ipcrm -s {}", entry.name.rsplit(' ').next()?),
    };
    let reason = match state {
        SemaphoreReport { stale: Some(true), .. } => {
            "it has no users, and the last one ended without removing it".to_owned()
        }
        SemaphoreReport { stale: Some(false), .. } => return None,
        #[cfg(target_os = "linux")]
        _ => untracked::why_unused(entry)?,
        #[cfg(not(target_os = "linux"))]
        _ => return None,
    };
    Some(StaleResource {
        key: entry.key.clone(),
        resource: entry.key.as_ref().map_or_else(|| entry.label(), ToString::to_string),
        reason,
        certain: state.stale == Some(true),
        remove_with,
        removed: false,
    })
}

#[cfg(target_os = "linux")]
fn stale_key_file(path: String) -> StaleResource {
    StaleResource {
        key: None,
        remove_with: format!("rm {}", shell_quoted(&path)),
        resource: path,
        reason: "it is the key file of a System V semaphore that does not exist".to_owned(),
        certain: false,
        removed: false,
    }
}

/// Quotes a text so that a shell reads it as one word.
fn shell_quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/:._-+@=,".contains(character);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Removes a robust semaphore unless it has users, and returns whether it was removed.
///
/// An open of an existing robust semaphore removes a stale one, and fails with `NotFound`.
pub(crate) fn remove_if_unused(key: &NativeIpcKey) -> bool {
    match SystemSemaphore::builder(key).mode(AccessMode::OpenExisting).build() {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
