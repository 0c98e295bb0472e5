//! What crashes have left.

use serde::Serialize;
use system_semaphore::{AccessMode, NativeIpcKey, Owners, SystemSemaphore};

#[cfg(target_os = "linux")]
use crate::commands::doctor::untracked;
use crate::report::{Entry, Sight, entries};

/// What nobody seems to need any more.
#[derive(Serialize)]
pub(crate) struct Leftover {
    pub(crate) what: String,
    pub(crate) why: String,
    /// Whether it is certain that nobody uses it.
    pub(crate) certain: bool,
    pub(crate) remove_with: String,
    pub(crate) removed: bool,
}

pub(crate) fn leftovers() -> Option<Vec<Leftover>> {
    // that it is unsupported is all that can go wrong
    let entries = entries(Owners::User).ok()?;
    #[cfg(target_os = "linux")]
    let key_files = untracked::key_files_without_a_set(&entries).into_iter().map(key_file);
    #[cfg(not(target_os = "linux"))]
    let key_files = std::iter::empty();
    Some(entries.iter().filter_map(leftover).chain(key_files).collect())
}

fn leftover(entry: &Entry) -> Option<Leftover> {
    let sight = entry.sight.as_ref()?;
    let remove_with = match &entry.key {
        Some(key) => format!("syssem remove {}", quoted(key)),
        None => format!("ipcrm -s {}", entry.name.rsplit(' ').next()?),
    };
    let why = match sight {
        Sight { leftover: Some(true), .. } => {
            "nobody uses it, and its last user did not live to remove it".to_owned()
        }
        Sight { leftover: Some(false), .. } => return None,
        #[cfg(target_os = "linux")]
        _ => untracked::why_unused(entry)?,
        #[cfg(not(target_os = "linux"))]
        _ => return None,
    };
    let certain = sight.leftover == Some(true);
    Some(Leftover {
        what: entry.key.clone().unwrap_or_else(|| entry.label()),
        why,
        certain,
        remove_with,
        removed: false,
    })
}

#[cfg(target_os = "linux")]
fn key_file(path: String) -> Leftover {
    Leftover {
        remove_with: format!("rm {}", quoted(&path)),
        what: path,
        why: "a key file of a System V semaphore that is not there".to_owned(),
        certain: false,
        removed: false,
    }
}

/// What a shell takes for this text.
fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/:._-+@=,".contains(character);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Removes a robust semaphore if nobody uses it: who opens an existing one and finds a leftover takes it away.
pub(crate) fn clean(key: NativeIpcKey) -> bool {
    match SystemSemaphore::builder(key).mode(AccessMode::OpenExisting).build() {
        Ok(_) => false,
        Err(error) => error.kind() == system_semaphore::ErrorKind::NotFound,
    }
}
