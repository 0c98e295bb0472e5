//! What is seen of the semaphores that are watched.

use std::time::{Duration, Instant};

use serde::Serialize;
use system_semaphore::{ErrorKind, NativeIpcKey, Observer, Owners, list};

use crate::error::Trouble;
use crate::report::Sight;

const LISTING: Duration = Duration::from_secs(1);
const GONE: &str = "it is not there";

/// What is seen of a semaphore, as JSON.
#[derive(PartialEq, Serialize)]
pub(crate) struct Sample {
    pub(crate) key: String,
    /// Why there is nothing to be seen.
    pub(crate) error: Option<String>,
    pub(crate) sight: Option<Sight>,
}

/// What is watched.
pub(crate) struct Watched {
    /// Whether that is all there is of this user's.
    pub(crate) follows_all: bool,
    /// When it was last looked which there are.
    pub(crate) listed: Option<Instant>,
    pub(crate) subjects: Vec<Subject>,
}

impl Watched {
    pub(crate) fn samples(&mut self) -> Result<Vec<Sample>, Trouble> {
        if self.follows_all && self.listed.is_none_or(|at| at.elapsed() >= LISTING) {
            self.listed = Some(Instant::now());
            let mut keys: Vec<NativeIpcKey> =
                list(Owners::User)?.into_iter().filter_map(|one| one.native_key).collect();
            keys.sort_by_cached_key(ToString::to_string);
            self.subjects.retain(|subject| keys.contains(&subject.key));
            let is_new = |key: &NativeIpcKey| !self.subjects.iter().any(|subject| subject.key == *key);
            let new: Vec<NativeIpcKey> = keys.into_iter().filter(is_new).collect();
            self.subjects.extend(new.into_iter().map(Subject::new));
        }
        let mut samples: Vec<Sample> = self.subjects.iter_mut().map(Subject::sample).collect();
        // who asked for none by name need not hear of what is gone
        samples.retain(|sample| !self.follows_all || sample.error.as_deref() != Some(GONE));
        Ok(samples)
    }
}

/// A semaphore, which need not be there.
pub(crate) struct Subject {
    key: NativeIpcKey,
    observer: Option<Observer>,
}

impl Subject {
    pub(crate) fn new(key: NativeIpcKey) -> Self {
        Self { key, observer: None }
    }

    fn sample(&mut self) -> Sample {
        let seen = self.look();
        Sample { key: self.key.to_string(), error: seen.as_ref().err().cloned(), sight: seen.ok() }
    }

    fn look(&mut self) -> Result<Sight, String> {
        if let Some(Ok(seen)) = self.observer.as_ref().map(Observer::look) {
            return Ok(Sight::from(&seen));
        }
        // one that was removed and made anew is another one
        let again = Observer::new(&self.key).and_then(|observer| self.observer.insert(observer).look());
        again.map(|seen| Sight::from(&seen)).map_err(|error| {
            self.observer = None;
            if error.kind() == ErrorKind::NotFound { GONE.to_owned() } else { error.to_string() }
        })
    }
}
