//! What was measured.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::machine::Distance;

/// What a sample is a sample of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) series: String,
    /// How many of what the series is about: permits, processes, semaphores. 0 if of nothing.
    pub(crate) x: u64,
    pub(crate) contestant: String,
    pub(crate) distance: Distance,
}

/// All samples of a run, in the file as a list of subjects with their values.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) machine: String,
    pub(crate) rounds: usize,
    /// Whether it was with the worst of 1,000 deaths, and the longest wait of a minute.
    pub(crate) long: bool,
    #[serde(with = "as_list")]
    samples: BTreeMap<Subject, Vec<f64>>,
}

impl Run {
    pub(crate) fn new(machine: String, rounds: usize, long: bool) -> Self {
        Self { machine, rounds, long, samples: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, series: &str, x: u64, contestant: &str, distance: Distance, value: f64) {
        let subject = Subject { series: series.to_owned(), x, contestant: contestant.to_owned(), distance };
        self.samples.entry(subject).or_default().push(value);
    }

    pub(crate) fn get(
        &self,
        series: &str,
        x: u64,
        contestant: &str,
        distance: Distance,
    ) -> Option<Statistics> {
        let subject = Subject { series: series.to_owned(), x, contestant: contestant.to_owned(), distance };
        self.samples.get(&subject).map(|values| Statistics::of(values))
    }

    /// What there is of a series: for each subject in order.
    pub(crate) fn subjects(&self, series: &str) -> impl Iterator<Item = &Subject> {
        self.samples.keys().filter(move |subject| subject.series == series)
    }

    pub(crate) fn save(&self) -> Result<()> {
        fs::create_dir_all(directory())?;
        Ok(serde_json::to_writer(File::create(file())?, self)?)
    }

    pub(crate) fn load() -> Result<Self> {
        Ok(serde_json::from_reader(File::open(file())?)?)
    }
}

/// Where plots and samples are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance")
}

fn file() -> PathBuf {
    directory().join("samples.json")
}

/// Of some values.
#[derive(Clone, Copy)]
pub(crate) struct Statistics {
    pub(crate) count: usize,
    pub(crate) median: f64,
    pub(crate) quartiles: (f64, f64),
    pub(crate) largest: f64,
}

impl Statistics {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part).round() as usize];
        Self { count: sorted.len(), median: at(0.5), quartiles: (at(0.25), at(0.75)), largest: at(1.0) }
    }
}

mod as_list {
    //! JSON has no maps with such keys.
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Subject;

    pub(super) fn serialize<S: Serializer>(
        samples: &BTreeMap<Subject, Vec<f64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        samples.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Subject, Vec<f64>>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}
