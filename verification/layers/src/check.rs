//! The checks of one crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph;
use crate::model::{Crate, Sources};
use crate::parse;
use crate::resolve::{self, Import};
use crate::table::Layers;

/// What the checks of a crate found.
pub(crate) struct Findings {
    pub(crate) krate: Crate,
    pub(crate) imports: BTreeSet<Import>,
    /// Errors of the table, and differences between the table and the files.
    errors: Vec<String>,
    /// The imports that the table does not allow.
    backward: BTreeSet<Import>,
    /// The sets of files that import each other, directly or through others of the set.
    cycles: BTreeSet<BTreeSet<usize>>,
}

impl Findings {
    pub(crate) fn new(sources: &Sources, layers: &Layers) -> Result<Self, String> {
        let root = layers.root.rsplit('/').next().unwrap_or_default();
        let krate = parse::read(sources, root)?;
        let imports = resolve::imports(&krate);
        let backward = imports.iter().filter(|import| !layers.allow(&krate, import)).cloned().collect();
        let cycles = graph::cycles(&imports.iter().map(|import| (import.from, import.to)).collect());
        Ok(Self { errors: layers.errors(&krate, sources), krate, imports, backward, cycles })
    }

    /// Whether an import is backward and part of a cycle.
    pub(crate) fn rejects(&self, from: usize, line: usize, to: usize) -> bool {
        self.backward.iter().any(|import| (import.from, import.line, import.to) == (from, line, to))
            && self.cycles.iter().any(|cycle| cycle.contains(&from) && cycle.contains(&to))
    }

    /// Prints the result of each check; returns how many passed and how many failed.
    pub(crate) fn report(&self) -> (usize, usize) {
        let files = self.krate.files.len() - self.krate.for_tests.len();
        let edges = self.edges(&self.imports).len();
        println!("{files} files, {edges} pairs of an importing and an imported file");
        let facts = ["each file is in one layer", "the layers allow all imports", "no imports form a cycle"];
        let problems = self.problems();
        for (fact, problems) in facts.iter().zip(&problems) {
            println!("{} {fact}", if problems.is_empty() { "ok    " } else { "FAILED" });
            problems.iter().for_each(|problem| println!("       {problem}"));
        }
        let passed = problems.iter().filter(|problems| problems.is_empty()).count();
        (passed, problems.len() - passed)
    }

    /// Describes the problems that each check found: errors, backward imports and cycles.
    pub(crate) fn problems(&self) -> [Vec<String>; 3] {
        let cycles = self.cycles.iter().flat_map(|cycle| {
            let files: Vec<&str> = cycle.iter().map(|file| self.krate.files[*file].as_str()).collect();
            let inside = |import: &&Import| cycle.contains(&import.from) && cycle.contains(&import.to);
            let first = format!("{} files import each other: {}", files.len(), files.join(", "));
            [first].into_iter().chain(self.edges(self.imports.iter().filter(inside)))
        });
        [self.errors.clone(), self.edges(&self.backward), cycles.collect()]
    }

    /// Describes each pair of an importing and an imported file by its first import.
    fn edges<'a>(&self, imports: impl IntoIterator<Item = &'a Import>) -> Vec<String> {
        let mut edges: BTreeMap<(usize, usize), Vec<&Import>> = BTreeMap::new();
        for import in imports {
            edges.entry((import.from, import.to)).or_default().push(import);
        }
        let describe = |((from, to), imports): ((usize, usize), Vec<&Import>)| {
            let (from, to, first) = (&self.krate.files[from], &self.krate.files[to], imports[0]);
            let more =
                if imports.len() > 1 { format!(" and {} more", imports.len() - 1) } else { String::new() };
            format!("{from}:{}: `{}`{more} -> {to}", first.line, first.text)
        };
        edges.into_iter().map(describe).collect()
    }
}
