//! `doctor`: what this machine supports, its limits, and what crashes have left.

use std::fmt::Write;

use serde::Serialize;
use system_semaphore::{AccessMode, Capabilities, KeyType, NativeIpcKey, Owners, SystemSemaphore};

use crate::answer::{Answer, Trouble};
use crate::arguments::Doctor;
use crate::list::{Entry, entries, plain_table, render};
use crate::sight::{Sight, printable};

/// The answer, as JSON.
#[derive(Serialize)]
struct Report {
    types: Vec<Type>,
    limits: Vec<Limit>,
    /// `None` where the platform does not tell what there is.
    leftovers: Option<Vec<Leftover>>,
}

/// A type of semaphore, tried.
#[derive(Serialize)]
struct Type {
    #[serde(rename = "type")]
    key_type: String,
    supported: bool,
    /// Why it does not work, though it is supported.
    error: Option<String>,
    returns_on_death: Option<bool>,
    timeout: Option<bool>,
    several_at_once: Option<bool>,
    max_permits: Option<u32>,
}

/// A limit of the system.
#[derive(Serialize)]
struct Limit {
    name: &'static str,
    value: String,
    meaning: &'static str,
}

/// What nobody seems to need any more.
#[derive(Serialize)]
struct Leftover {
    what: String,
    why: String,
    /// Whether it is certain that nobody uses it.
    certain: bool,
    remove_with: String,
    removed: bool,
}

pub(crate) fn doctor(options: &Doctor, answer: &Answer) -> Result<u8, Trouble> {
    let mut report = Report { types: types(), limits: limits(), leftovers: leftovers() };
    if options.clean {
        for leftover in report.leftovers.iter_mut().flatten().filter(|leftover| leftover.certain) {
            leftover.removed = leftover.what.parse::<NativeIpcKey>().is_ok_and(clean);
        }
    }
    answer.give(&report, || text(&report))?;
    let is_well = report.types.iter().all(|one| one.error.is_none())
        && report.leftovers.iter().flatten().all(|leftover| leftover.removed);
    Ok(u8::from(!is_well))
}

/// Removes a robust semaphore if nobody uses it: who opens an existing one and finds a leftover takes it away.
fn clean(key: NativeIpcKey) -> bool {
    match SystemSemaphore::builder(key).mode(AccessMode::OpenExisting).build() {
        Ok(_) => false,
        Err(error) => error.kind() == system_semaphore::ErrorKind::NotFound,
    }
}

fn types() -> Vec<Type> {
    [KeyType::Robust, KeyType::SYSTEM_V, KeyType::Posix, KeyType::Windows].into_iter().map(try_type).collect()
}

fn try_type(key_type: KeyType) -> Type {
    let supported = SystemSemaphore::is_key_type_supported(key_type);
    let outcome = supported.then(|| try_one(key_type));
    let capabilities = outcome.as_ref().and_then(|outcome| outcome.as_ref().ok());
    let ask = |what: fn(&Capabilities) -> bool| capabilities.map(what);
    Type {
        key_type: key_type.to_string(),
        supported,
        returns_on_death: ask(|can| can.returns_on_death),
        timeout: ask(|can| can.timeout),
        several_at_once: ask(|can| can.several_at_once),
        max_permits: capabilities.map(|can| can.max_permits),
        error: outcome.and_then(Result::err).map(|error| error.to_string()),
    }
}

/// Makes one, uses it, and lets it go.
fn try_one(key_type: KeyType) -> system_semaphore::Result<Capabilities> {
    let name = format!("syssem-doctor-{}", std::process::id());
    let semaphore = SystemSemaphore::builder(name)
        .key_type(key_type)
        .mode(AccessMode::CreateNew)
        .initial_value(1)
        .build()?;
    semaphore.try_acquire()?.release()?;
    Ok(semaphore.capabilities())
}

#[cfg(target_os = "linux")]
fn limits() -> Vec<Limit> {
    let read = |path: &str| {
        std::fs::read_to_string(path).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let mut limits = Vec::new();
    let mut add = |name, value: std::io::Result<String>, meaning| {
        limits.push(Limit {
            name,
            value: value.unwrap_or_else(|error| format!("unknown ({error})")),
            meaning,
        });
    };
    add("kernel", read("/proc/sys/kernel/osrelease"), "");
    add("shared memory", shared_memory(), "where robust and POSIX semaphores are: about 4 KiB each");
    add(
        "inotify instances",
        read("/proc/sys/fs/inotify/max_user_instances"),
        "a user: one a process that waits; without one it looks for deaths ten times a second",
    );
    add(
        "inotify watches",
        read("/proc/sys/fs/inotify/max_user_watches"),
        "a user: one a semaphore that a process waits for",
    );
    add("System V semaphores", read("/proc/sys/kernel/sem"), "a set; in all; operations at once; sets");
    limits
}

#[cfg(target_os = "linux")]
fn shared_memory() -> std::io::Result<String> {
    let data = rustix::fs::statvfs("/dev/shm")?;
    let mib = |blocks: u64| blocks.saturating_mul(data.f_frsize) / (1 << 20);
    Ok(format!("/dev/shm: {} MiB, {} MiB free", mib(data.f_blocks), mib(data.f_bavail)))
}

#[cfg(not(target_os = "linux"))]
fn limits() -> Vec<Limit> {
    Vec::new()
}

fn leftovers() -> Option<Vec<Leftover>> {
    // that it is unsupported is all that can go wrong
    let entries = entries(Owners::User).ok()?;
    #[cfg(target_os = "linux")]
    let key_files = strangers::key_files_without_a_set(&entries);
    #[cfg(not(target_os = "linux"))]
    let key_files = Vec::new();
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
        _ => strangers::why_unused(entry)?,
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

/// What a shell takes for this text.
fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/:._-+@=,".contains(character);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// What has no record of its users.
#[cfg(target_os = "linux")]
mod strangers {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use system_semaphore::{Environment, KeyType, NativeIpcKey, Observer};

    use super::{Leftover, quoted};
    use crate::list::Entry;

    /// Why nobody seems to use a POSIX semaphore or a System V set, or `None`.
    pub(super) fn why_unused(entry: &Entry) -> Option<String> {
        let sight = entry.sight.as_ref()?;
        if sight.waiting.is_some_and(|waiting| waiting > 0) {
            return None;
        }
        if entry.key_type == KeyType::Posix.to_string() {
            let path = entry.path.as_deref()?;
            return (!is_mapped(path))
                .then(|| "no process that can be seen from here has it open".to_owned());
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
    pub(super) fn key_files_without_a_set(entries: &[Entry]) -> Vec<Leftover> {
        let directory = Environment::current().temp_location();
        let files = fs::read_dir(&directory).into_iter().flatten().flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let paths = names
            .filter(|name| name.starts_with("qipc_systemsem_"))
            .map(|name| format!("{directory}/{name}"));
        let is_used = |path: &String| {
            entries.iter().any(|entry| entry.path.as_ref() == Some(path))
                // another user's set, perhaps
                || Observer::new(NativeIpcKey::new(path, KeyType::SYSTEM_V)).is_ok()
        };
        paths
            .filter(|path| !is_used(path))
            .map(|path| Leftover {
                remove_with: format!("rm {}", quoted(&path)),
                what: path,
                why: "a key file of a System V semaphore that is not there".to_owned(),
                certain: false,
                removed: false,
            })
            .collect()
    }
}

fn text(report: &Report) -> String {
    let mut table = plain_table();
    table.set_header(["TYPE", "WORKS", "DEATH GIVES BACK", "TIMEOUT", "SEVERAL AT ONCE", "AT MOST"]);
    for one in &report.types {
        let works = match (&one.error, one.supported) {
            (Some(error), _) => printable(error),
            (None, true) => "yes".to_owned(),
            (None, false) => "not on this platform".to_owned(),
        };
        let yes = |answer: Option<bool>| answer.map_or("", |yes| if yes { "yes" } else { "no" }).to_owned();
        let most = one.max_permits.map_or_else(String::new, |most| most.to_string());
        table.add_row([
            one.key_type.clone(),
            works,
            yes(one.returns_on_death),
            yes(one.timeout),
            yes(one.several_at_once),
            most,
        ]);
    }
    let mut text = render(table);
    if !report.limits.is_empty() {
        let mut table = plain_table();
        for Limit { name, value, meaning } in &report.limits {
            table.add_row([*name, value, meaning]);
        }
        let _ = write!(text, "\n{}", render(table));
    }
    for (certain, title) in [(true, "Left over"), (false, "Perhaps left over")] {
        let leftovers: Vec<&Leftover> =
            report.leftovers.iter().flatten().filter(|one| one.certain == certain).collect();
        if leftovers.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{title}");
        for one in leftovers {
            let then = if one.removed { "removed".to_owned() } else { printable(&one.remove_with) };
            let _ = writeln!(text, "  {}: {}\n    {then}", printable(&one.what), one.why);
        }
    }
    match report.leftovers.as_deref() {
        None => text.push_str("\nThis platform does not tell what was left behind.\n"),
        Some([]) => text.push_str("\nNothing was left behind.\n"),
        Some(_) => {}
    }
    text
}
