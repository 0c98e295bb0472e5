//! What is known of a crate before paths are resolved.

use std::collections::{BTreeMap, BTreeSet};

/// The texts of a crate's source files by their paths, relative to the folder of the root file.
pub(crate) type Sources = BTreeMap<String, String>;

/// The segments of a path.
pub(crate) type Path = Vec<String>;

/// The number of the root module, and of its file.
pub(crate) const ROOT: usize = 0;

/// The modules of a crate.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    /// The paths of the files. An index into this list is a file's number.
    pub(crate) files: Vec<String>,
    /// The numbers of the files that are compiled for tests only.
    pub(crate) for_tests: BTreeSet<usize>,
    /// An index into this list is a module's number.
    pub(crate) modules: Vec<Module>,
}

/// A module, which is a file or a part of one.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The number of the parent module. The root is its own parent.
    pub(crate) parent: usize,
    /// The number of the file that contains the module.
    pub(crate) file: usize,
    /// What each name means. A name has several meanings on several platforms, or in several
    /// namespaces.
    pub(crate) names: BTreeMap<String, Vec<Meaning>>,
    /// The paths of the glob imports.
    pub(crate) globs: Vec<Path>,
    /// The paths in the module's text.
    pub(crate) references: Vec<Reference>,
    /// The inherent methods that the module's `impl` blocks define.
    pub(crate) methods: Vec<Method>,
}

/// What a name in a module means.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// The child module with this number.
    Module(usize),
    /// An item that the module defines.
    Item,
    /// An import of this path.
    Import(Path),
}

/// A path in the text of a module.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) line: usize,
    pub(crate) path: Path,
    /// The path as the text has it.
    pub(crate) text: String,
    /// Whether a `use` declaration contains the path. Only such a path names a module by itself.
    pub(crate) is_import: bool,
}

/// An inherent method.
#[derive(Debug)]
pub(crate) struct Method {
    /// The type that has the method, as the `impl` block names it.
    pub(crate) of: Path,
    pub(crate) name: String,
}
