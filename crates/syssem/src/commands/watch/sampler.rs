//! Samples the state of the watched semaphores.

use std::fmt;
use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeStruct, Serializer};
use system_semaphore::{Error, ErrorKind, NativeIpcKey, Observer, Owners, list};

use crate::error::CliError;
use crate::report::SemaphoreReport;

/// How often the sampler lists the user's semaphores, in a watch of all of them.
///
/// A listing opens and closes each semaphore, which a sample does not.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// The state of one semaphore at one moment.
#[derive(PartialEq)]
pub(crate) struct Sample {
    pub(crate) key: String,
    pub(crate) state: Result<SemaphoreReport, Unavailable>,
}

/// Serialises as `{"key", "error", "state"}`, of which either `error` or `state` is null.
impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Sample", 3)?;
        fields.serialize_field("key", &self.key)?;
        fields.serialize_field("error", &self.state.as_ref().err().map(ToString::to_string))?;
        fields.serialize_field("state", &self.state.as_ref().ok())?;
        fields.end()
    }
}

/// Why a sample has no state.
#[derive(PartialEq)]
pub(crate) enum Unavailable {
    /// No semaphore has this key.
    Missing,
    /// The semaphore cannot be read, for the reason given.
    Unreadable(String),
}

impl From<Error> for Unavailable {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such semaphore"),
            Self::Unreadable(reason) => f.write_str(reason),
        }
    }
}

/// Samples either the given keys or all semaphores of this user.
pub(crate) struct Sampler {
    follows_all: bool,
    /// When the sampler last listed the user's semaphores.
    listed_at: Option<Instant>,
    watched: Vec<WatchedKey>,
}

impl Sampler {
    /// Creates a sampler of the keys. Without keys it follows all semaphores of this user.
    pub(crate) fn new(keys: Vec<NativeIpcKey>) -> Self {
        Self {
            follows_all: keys.is_empty(),
            listed_at: None,
            watched: keys.into_iter().map(WatchedKey::new).collect(),
        }
    }

    /// Takes one sample of each semaphore.
    pub(crate) fn sample(&mut self) -> Result<Vec<Sample>, CliError> {
        if self.follows_all && self.listed_at.is_none_or(|at| at.elapsed() >= LIST_INTERVAL) {
            self.listed_at = Some(Instant::now());
            self.update_list()?;
        }
        let mut samples: Vec<Sample> = self.watched.iter_mut().map(WatchedKey::sample).collect();
        // A user who named no key did not ask for removed semaphores.
        samples.retain(|sample| !self.follows_all || sample.state != Err(Unavailable::Missing));
        Ok(samples)
    }

    /// Lists the user's semaphores. Those that were watched before keep their observers.
    fn update_list(&mut self) -> Result<(), CliError> {
        let mut keys: Vec<NativeIpcKey> =
            list(Owners::User)?.into_iter().filter_map(|listed| listed.native_key).collect();
        keys.sort_by_cached_key(ToString::to_string);
        self.watched.retain(|watched| keys.contains(&watched.key));
        let is_new = |key: &NativeIpcKey| !self.watched.iter().any(|watched| watched.key == *key);
        let new: Vec<NativeIpcKey> = keys.into_iter().filter(is_new).collect();
        self.watched.extend(new.into_iter().map(WatchedKey::new));
        Ok(())
    }
}

/// A key that is watched, whether its semaphore exists or not.
struct WatchedKey {
    key: NativeIpcKey,
    observer: Option<Observer>,
}

impl WatchedKey {
    fn new(key: NativeIpcKey) -> Self {
        Self { key, observer: None }
    }

    fn sample(&mut self) -> Sample {
        Sample { key: self.key.to_string(), state: self.observe() }
    }

    fn observe(&mut self) -> Result<SemaphoreReport, Unavailable> {
        if let Some(Ok(snapshot)) = self.observer.as_ref().map(Observer::snapshot) {
            return Ok(SemaphoreReport::from(&snapshot));
        }
        // The semaphore may have been removed and created again, which needs a new observer.
        let snapshot =
            Observer::new(&self.key).and_then(|observer| self.observer.insert(observer).snapshot());
        snapshot.map(|snapshot| SemaphoreReport::from(&snapshot)).map_err(|error| {
            self.observer = None;
            Unavailable::from(error)
        })
    }
}
