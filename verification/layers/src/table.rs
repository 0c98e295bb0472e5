//! The table of layers: which files of a crate may import which.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::model::{Crate, Sources};
use crate::resolve::Import;

/// The layers of each crate by its name.
pub(crate) type Table = BTreeMap<String, Layers>;

/// The layers of a crate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layers {
    /// The path of the crate's root file, relative to the folder of the repository.
    pub(crate) root: String,
    /// The layers, the highest first.
    pub(crate) layers: Vec<Layer>,
}

/// Files that may import each other and the files of lower layers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    pub(crate) name: String,
    /// The paths of the files, relative to the folder of the root file.
    pub(crate) files: Vec<String>,
    /// If present, the only lower layers whose files this layer's files may import.
    pub(crate) may: Option<Vec<String>>,
}

pub(crate) fn read(text: &str) -> Result<Table, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

impl Layers {
    /// Finds the differences between the table and the files of the crate, and the table's own
    /// errors.
    pub(crate) fn errors(&self, krate: &Crate, sources: &Sources) -> Vec<String> {
        let mut errors = Vec::new();
        let numbers = (0..krate.files.len()).filter(|number| !krate.for_tests.contains(number));
        let files: BTreeSet<&String> = numbers.map(|number| &krate.files[number]).collect();
        let mut named = BTreeSet::new();
        for (position, layer) in self.layers.iter().enumerate() {
            for file in &layer.files {
                if !named.insert(file) {
                    errors.push(format!("{file}: named twice"));
                }
                if !files.contains(file) {
                    errors.push(format!("{file}: named by layer `{}`, but not a source file", layer.name));
                }
            }
            for name in layer.may.iter().flatten() {
                if !self.layers[position + 1..].iter().any(|lower| lower.name == *name) {
                    errors.push(format!("layer `{}` may import `{name}`: no lower layer", layer.name));
                }
            }
        }
        errors.extend(files.difference(&named).map(|file| format!("{file}: in no layer")));
        let unread = sources.keys().filter(|file| !krate.files.contains(file));
        errors.extend(unread.map(|file| format!("{file}: no module declares it")));
        errors
    }

    /// Whether a file may import another. Files without a layer are errors by themselves.
    pub(crate) fn allow(&self, krate: &Crate, import: &Import) -> bool {
        let (Some(from), Some(to)) = (self.layer_of(krate, import.from), self.layer_of(krate, import.to))
        else {
            return true;
        };
        let is_listed = |may: &Vec<String>| may.contains(&self.layers[to].name);
        from == to || from < to && self.layers[from].may.as_ref().is_none_or(is_listed)
    }

    /// The position of the layer that names a file.
    pub(crate) fn layer_of(&self, krate: &Crate, file: usize) -> Option<usize> {
        self.layers.iter().position(|layer| layer.files.contains(&krate.files[file]))
    }
}
