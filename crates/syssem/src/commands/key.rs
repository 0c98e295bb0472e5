//! `key`: shows the keys that a name becomes.

use serde::Serialize;
use system_semaphore::{Directory, Environment, KeyType, NativeIpcKey, Platform, SystemSemaphore};

use crate::cli::NameArgs;
use crate::error::CliError;
use crate::output::{Output, plain_table, printable, render_table};
use crate::report::as_text;

/// The keys that a name becomes for one type of semaphore, as JSON.
#[derive(Serialize)]
struct KeyReport {
    #[serde(rename = "type", serialize_with = "as_text")]
    key_type: KeyType,
    number: u16,
    supported: bool,
    /// Whether a plain name means this type.
    default: bool,
    legacy: String,
    platform_safe: String,
}

pub(crate) fn execute(args: &NameArgs, output: &Output) -> Result<u8, CliError> {
    if args.name.is_empty() {
        return Err(CliError::failed("the name is empty; give the semaphore a name".to_owned()));
    }
    let types = [KeyType::Robust, KeyType::SYSTEM_V, KeyType::Posix, KeyType::Windows];
    let reports: Vec<KeyReport> =
        types.into_iter().map(|key_type| derive_keys(&args.name, key_type)).collect();
    output.print(&reports, || format_reports(&reports))?;
    Ok(0)
}

fn derive_keys(name: &str, key_type: KeyType) -> KeyReport {
    let environment = environment_for(key_type);
    let text = |key: &NativeIpcKey| NativeIpcKey::new(key.native_key(), key_type).to_string();
    KeyReport {
        key_type,
        number: key_type.number(),
        supported: SystemSemaphore::is_key_type_supported(key_type),
        default: key_type == NativeIpcKey::best_type(),
        legacy: text(&environment.legacy_native_key(name, key_type)),
        platform_safe: text(&environment.platform_safe_key(name, key_type)),
    }
}

/// Returns this platform's environment if it has the type, or else that of a platform that does.
///
/// The environment never creates a directory.
fn environment_for(key_type: KeyType) -> Environment<'static> {
    match key_type {
        KeyType::Windows if !cfg!(windows) => Environment::of(Platform::Windows),
        KeyType::Robust | KeyType::SystemV(_) | KeyType::Posix if cfg!(windows) => {
            Environment::of(Platform::Linux)
        }
        _ => {
            let mut environment = Environment::current();
            environment.directories = Box::new(stat_directory);
            environment
        }
    }
}

#[cfg(unix)]
fn stat_directory(path: &str) -> Directory {
    use std::os::unix::fs::MetadataExt;
    match std::fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => Directory::Real {
            owned: data.uid() == rustix::process::geteuid().as_raw(),
            mode: data.mode() & 0o7777,
        },
        Ok(_) => Directory::NoDirectory,
        // The first user of the key creates the directory.
        Err(_) => Directory::Missing { creatable: true },
    }
}

#[cfg(not(unix))]
fn stat_directory(_: &str) -> Directory {
    Directory::Missing { creatable: true }
}

fn format_reports(reports: &[KeyReport]) -> String {
    let mut table = plain_table();
    table.set_header(["TYPE", "KEY OF THE PLAIN NAME (QT'S LEGACY KEY)", "PLATFORM-SAFE KEY"]);
    for report in reports {
        let name = if report.default {
            format!("{} (default)", report.key_type)
        } else {
            report.key_type.to_string()
        };
        let note = if report.supported { "" } else { " (not on this platform)" };
        table.add_row([name + note, printable(&report.legacy), printable(&report.platform_safe)]);
    }
    render_table(table)
}
