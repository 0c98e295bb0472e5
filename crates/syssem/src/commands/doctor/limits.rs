//! Reads the system's limits that concern semaphores.

use serde::Serialize;

/// A limit of the system as JSON.
#[derive(Serialize)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) meaning: &'static str,
}

/// Reads all limits that this platform publishes.
#[cfg(target_os = "linux")]
pub(crate) fn limits() -> Vec<Limit> {
    let read = |path: &str| {
        std::fs::read_to_string(path).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let limit = |name, value: std::io::Result<String>, meaning| Limit {
        name,
        value: value.unwrap_or_else(|error| format!("unknown ({error})")),
        meaning,
    };
    vec![
        limit("kernel", read("/proc/sys/kernel/osrelease"), ""),
        limit("shared memory", shared_memory(), "contains the robust and POSIX semaphores, about 4 KiB each"),
        limit(
            "inotify instances",
            read("/proc/sys/fs/inotify/max_user_instances"),
            "per user; one per waiting process, which otherwise polls for deaths ten times a second",
        ),
        limit(
            "inotify watches",
            read("/proc/sys/fs/inotify/max_user_watches"),
            "per user; one per semaphore that a process waits for",
        ),
        limit(
            "System V semaphores",
            read("/proc/sys/kernel/sem"),
            "semaphores per set, semaphores in total, operations per call, sets in total",
        ),
    ]
}

#[cfg(target_os = "linux")]
fn shared_memory() -> std::io::Result<String> {
    let data = rustix::fs::statvfs("/dev/shm")?;
    let mib = |blocks: u64| blocks.saturating_mul(data.f_frsize) / (1 << 20);
    Ok(format!("/dev/shm: {} MiB, {} MiB free", mib(data.f_blocks), mib(data.f_bavail)))
}

/// Reads all limits that this platform publishes.
#[cfg(not(target_os = "linux"))]
pub(crate) fn limits() -> Vec<Limit> {
    Vec::new()
}
