//! `key`: what a name becomes.

use serde::Serialize;
use system_semaphore::{Directory, Environment, KeyType, NativeIpcKey, Platform, SystemSemaphore};

use crate::cli::Name;
use crate::error::Trouble;
use crate::output::{Answer, plain_table, printable, render};

/// What a name becomes for one type, as JSON.
#[derive(Serialize)]
struct Derived {
    #[serde(rename = "type")]
    key_type: String,
    number: u16,
    supported: bool,
    /// Whether a plain name means this type.
    default: bool,
    legacy: String,
    platform_safe: String,
}

pub(crate) fn show(options: &Name, answer: &Answer) -> Result<u8, Trouble> {
    if options.name.is_empty() {
        return Err(Trouble::failed("the name is empty; give the semaphore a name".to_owned()));
    }
    let types = [KeyType::Robust, KeyType::SYSTEM_V, KeyType::Posix, KeyType::Windows];
    let derived: Vec<Derived> = types.into_iter().map(|key_type| derive(&options.name, key_type)).collect();
    answer.give(&derived, || text(&derived))?;
    Ok(0)
}

fn derive(name: &str, key_type: KeyType) -> Derived {
    let environment = environment(key_type);
    let text = |key: &NativeIpcKey| NativeIpcKey::new(key.native_key(), key_type).to_string();
    Derived {
        key_type: key_type.to_string(),
        number: key_type.number(),
        supported: SystemSemaphore::is_key_type_supported(key_type),
        default: key_type == NativeIpcKey::best_type(),
        legacy: text(&environment.legacy_native_key(name, key_type)),
        platform_safe: text(&environment.platform_safe_key(name, key_type)),
    }
}

/// This one, if it has the type; else one that has. No directory is made for the answer.
fn environment(key_type: KeyType) -> Environment<'static> {
    match key_type {
        KeyType::Windows if !cfg!(windows) => Environment::of(Platform::Windows),
        KeyType::Robust | KeyType::SystemV(_) | KeyType::Posix if cfg!(windows) => {
            Environment::of(Platform::Linux)
        }
        _ => {
            let mut environment = Environment::current();
            environment.directories = Box::new(look);
            environment
        }
    }
}

#[cfg(unix)]
fn look(path: &str) -> Directory {
    use std::os::unix::fs::MetadataExt;
    match std::fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => Directory::Real {
            owned: data.uid() == rustix::process::geteuid().as_raw(),
            mode: data.mode() & 0o7777,
        },
        Ok(_) => Directory::NoDirectory,
        // who uses the key makes it
        Err(_) => Directory::Missing { creatable: true },
    }
}

#[cfg(not(unix))]
fn look(_: &str) -> Directory {
    Directory::Missing { creatable: true }
}

fn text(derived: &[Derived]) -> String {
    let mut table = plain_table();
    table.set_header(["TYPE", "KEY OF THE PLAIN NAME (QT'S LEGACY KEY)", "PLATFORM-SAFE KEY"]);
    for one in derived {
        let name = if one.default { format!("{} (default)", one.key_type) } else { one.key_type.clone() };
        let note = if one.supported { "" } else { " (not on this platform)" };
        table.add_row([name + note, printable(&one.legacy), printable(&one.platform_safe)]);
    }
    render(table)
}
