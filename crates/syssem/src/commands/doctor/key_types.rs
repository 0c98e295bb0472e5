//! Tries each type of semaphore.

use serde::Serialize;
use system_semaphore::{AccessMode, Capabilities, KeyType, SystemSemaphore};

use crate::report::as_text;

/// What a type of semaphore can do here, as JSON.
#[derive(Serialize)]
pub(crate) struct KeyTypeReport {
    #[serde(rename = "type", serialize_with = "as_text")]
    pub(crate) key_type: KeyType,
    pub(crate) supported: bool,
    /// Why the type does not work, although the platform supports it.
    pub(crate) error: Option<String>,
    pub(crate) returns_on_death: Option<bool>,
    pub(crate) timeout: Option<bool>,
    pub(crate) several_at_once: Option<bool>,
    pub(crate) max_permits: Option<u32>,
}

/// Checks all types.
pub(crate) fn check_key_types() -> Vec<KeyTypeReport> {
    [KeyType::Robust, KeyType::SYSTEM_V, KeyType::Posix, KeyType::Windows]
        .into_iter()
        .map(check_key_type)
        .collect()
}

fn check_key_type(key_type: KeyType) -> KeyTypeReport {
    let supported = SystemSemaphore::is_key_type_supported(key_type);
    let outcome = supported.then(|| use_semaphore(key_type));
    let capabilities = outcome.as_ref().and_then(|outcome| outcome.as_ref().ok());
    let capability = |field: fn(&Capabilities) -> bool| capabilities.map(field);
    KeyTypeReport {
        key_type,
        supported,
        returns_on_death: capability(|can| can.returns_on_death),
        timeout: capability(|can| can.timeout),
        several_at_once: capability(|can| can.several_at_once),
        max_permits: capabilities.map(|can| can.max_permits),
        error: outcome.and_then(Result::err).map(|error| error.to_string()),
    }
}

/// Creates a semaphore, acquires and releases a permit, and removes the semaphore.
fn use_semaphore(key_type: KeyType) -> system_semaphore::Result<Capabilities> {
    let name = format!("syssem-doctor-{}", std::process::id());
    let semaphore = SystemSemaphore::builder(name)
        .key_type(key_type)
        .mode(AccessMode::CreateNew)
        .initial_value(1)
        .build()?;
    semaphore.try_acquire()?.release()?;
    Ok(semaphore.capabilities())
}
