//! What has no record of its users.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use system_semaphore::{Environment, KeyType, NativeIpcKey, Observer};

use crate::report::Entry;

/// Why nobody seems to use a POSIX semaphore or a System V set, or `None`.
pub(crate) fn why_unused(entry: &Entry) -> Option<String> {
    let sight = entry.sight.as_ref()?;
    if sight.waiting.is_some_and(|waiting| waiting > 0) {
        return None;
    }
    if entry.key_type == KeyType::Posix.to_string() {
        let path = entry.path.as_deref()?;
        return (!is_mapped(path)).then(|| "no process that can be seen from here has it open".to_owned());
    }
    let pid = sight.last_pid?;
    let is_gone = !Path::new(&format!("/proc/{pid}")).exists();
    is_gone.then(|| format!("process {pid}, which used it last, has ended"))
}

/// Whether a process has the file mapped. Its maker may have it under another name.
fn is_mapped(path: &str) -> bool {
    let Ok(data) = fs::metadata(path) else { return false };
    let (device, inode) = (data.dev(), data.ino().to_string());
    let device = format!("{:02x}:{:02x}", rustix::fs::major(device), rustix::fs::minor(device));
    // address, permissions, offset, device, inode, path
    let is_of_file = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(3);
        fields.next() == Some(&device) && fields.next() == Some(&inode)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut maps = processes.filter_map(|process| fs::read_to_string(process.path().join("maps")).ok());
    maps.any(|maps| maps.lines().any(is_of_file))
}

/// Key files of Qt's and this library's on which there is no set.
pub(crate) fn key_files_without_a_set(entries: &[Entry]) -> Vec<String> {
    let directory = Environment::current().temp_location();
    let files = fs::read_dir(&directory).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let paths =
        names.filter(|name| name.starts_with("qipc_systemsem_")).map(|name| format!("{directory}/{name}"));
    let is_used = |path: &String| {
        entries.iter().any(|entry| entry.path.as_ref() == Some(path))
            // another user's set, perhaps
            || Observer::new(NativeIpcKey::new(path, KeyType::SYSTEM_V)).is_ok()
    };
    paths.filter(|path| !is_used(path)).collect()
}
