//! Limits of the system.

use serde::Serialize;

/// A limit of the system.
#[derive(Serialize)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) meaning: &'static str,
}

#[cfg(target_os = "linux")]
pub(crate) fn limits() -> Vec<Limit> {
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
pub(crate) fn limits() -> Vec<Limit> {
    Vec::new()
}
