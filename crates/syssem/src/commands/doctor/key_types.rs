//! Which types of semaphores work here.

use serde::Serialize;
use system_semaphore::{AccessMode, Capabilities, KeyType, SystemSemaphore};

/// A type of semaphore, tried.
#[derive(Serialize)]
pub(crate) struct Type {
    #[serde(rename = "type")]
    pub(crate) key_type: String,
    pub(crate) supported: bool,
    /// Why it does not work, though it is supported.
    pub(crate) error: Option<String>,
    pub(crate) returns_on_death: Option<bool>,
    pub(crate) timeout: Option<bool>,
    pub(crate) several_at_once: Option<bool>,
    pub(crate) max_permits: Option<u32>,
}

pub(crate) fn types() -> Vec<Type> {
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
