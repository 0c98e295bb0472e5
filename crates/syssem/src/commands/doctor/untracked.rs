//! Judges whether POSIX semaphores, System V sets and key files have users. They keep no record of
//! them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use system_semaphore::{Environment, KeyType, NativeIpcKey, Observer};

use crate::report::ListEntry;

/// Returns why a POSIX semaphore or a System V set seems unused, or `None` if it seems used.
pub(crate) fn why_unused(entry: &ListEntry) -> Option<String> {
    let state = entry.state.as_ref()?;
    if state.waiting.is_some_and(|waiting| waiting > 0) {
        return None;
    }
    if entry.key_type == KeyType::Posix {
        let path = entry.path.as_deref()?;
        return (!is_mapped(path)).then(|| "no process that is visible from here has it open".to_owned());
    }
    let pid = state.last_pid?;
    let has_ended = !Path::new(&format!("/proc/{pid}")).exists();
    has_ended.then(|| format!("process {pid}, which used it last, has ended"))
}

/// Returns whether a process maps the file.
///
/// The mapping is identified by device and inode, because the creator's may show another path.
fn is_mapped(path: &Path) -> bool {
    let Ok(data) = fs::metadata(path) else { return false };
    let (device, inode) = (data.dev(), data.ino().to_string());
    let device = format!("{:02x}:{:02x}", rustix::fs::major(device), rustix::fs::minor(device));
    // The fields of a line are: address, permissions, offset, device, inode, path.
    let is_of_file = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(3);
        fields.next() == Some(&device) && fields.next() == Some(&inode)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut maps = processes.filter_map(|process| fs::read_to_string(process.path().join("maps")).ok());
    maps.any(|maps| maps.lines().any(is_of_file))
}

/// Returns the paths of the key files, Qt's and this library's, for which no System V set exists.
pub(crate) fn key_files_without_a_set(entries: &[ListEntry]) -> Vec<String> {
    let directory = Environment::current().temp_location();
    let files = fs::read_dir(&directory).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let paths =
        names.filter(|name| name.starts_with("qipc_systemsem_")).map(|name| format!("{directory}/{name}"));
    let has_set = |path: &String| {
        entries.iter().any(|entry| entry.path.as_deref() == Some(Path::new(path)))
            // The entries lack the sets of other users.
            || Observer::new(NativeIpcKey::new(path, KeyType::SYSTEM_V)).is_ok()
    };
    paths.filter(|path| !has_set(path)).collect()
}
