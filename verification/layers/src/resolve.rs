//! Finds the files that the paths of a module lead to.
//!
//! A path leads to the file that defines what it names, and to each file with a `use` declaration
//! through which it passes. A parent module that only contains the declaration `mod child;` gives
//! no import on the way to the child.
//!
//! Where rules of the language about scopes would tell two meanings of a name apart, all are taken.
//! A call of a method is found if its receiver is `self` and the method is inherent. Other calls of
//! methods have no path, nor has the use of a macro through `#[macro_use]`.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Crate, Meaning, Path, ROOT, Reference};

/// An import of one file by another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) from: usize,
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) to: usize,
}

/// Finds all imports between different files of a crate.
pub(crate) fn imports(krate: &Crate) -> BTreeSet<Import> {
    let resolver = Resolver::new(krate);
    let mut imports = BTreeSet::new();
    for (number, module) in krate.modules.iter().enumerate() {
        for Reference { line, path, text, is_import } in &module.references {
            let found = resolver.find(number, path, *is_import);
            let others = found.files.into_iter().filter(|to| *to != module.file);
            imports.extend(others.map(|to| Import {
                from: module.file,
                line: *line,
                text: text.clone(),
                to,
            }));
        }
    }
    imports
}

/// An item: the module that defines it, and its name.
type Definition = (usize, String);

struct Resolver<'a> {
    krate: &'a Crate,
    /// The modules whose names each module imports by globs.
    globs: Vec<BTreeSet<usize>>,
    /// The files that define each method.
    methods: BTreeMap<(Definition, &'a str), BTreeSet<usize>>,
}

impl<'a> Resolver<'a> {
    fn new(krate: &'a Crate) -> Self {
        let globs = vec![BTreeSet::new(); krate.modules.len()];
        let mut resolver = Self { krate, globs, methods: BTreeMap::new() };
        // a glob can bring the first name of the path of another
        loop {
            let globs = krate.modules.iter().enumerate().map(|(number, module)| {
                module.globs.iter().flat_map(|path| resolver.find(number, path, true).modules).collect()
            });
            let globs = globs.collect();
            if resolver.globs == globs {
                break;
            }
            resolver.globs = globs;
        }
        let mut methods: BTreeMap<_, BTreeSet<usize>> = BTreeMap::new();
        for (number, module) in krate.modules.iter().enumerate() {
            for method in &module.methods {
                for of in resolver.find(number, &method.of, false).items {
                    methods.entry((of, method.name.as_str())).or_default().insert(module.file);
                }
            }
        }
        resolver.methods = methods;
        resolver
    }

    fn find(&self, module: usize, path: &[String], is_import: bool) -> Found {
        let (seen, followed) = (BTreeSet::new(), BTreeSet::new());
        let mut search = Search { resolver: self, is_import, seen, followed, found: Found::default() };
        search.path(module, path);
        search.found
    }

    /// Whether a module has a name, by itself or through a glob.
    fn has(&self, module: usize, name: &str, seen: &mut BTreeSet<usize>) -> bool {
        seen.insert(module)
            && (self.krate.modules[module].names.contains_key(name)
                || self.globs[module].iter().any(|module| self.has(*module, name, seen)))
    }
}

/// What a path leads to.
#[derive(Default)]
struct Found {
    files: BTreeSet<usize>,
    modules: BTreeSet<usize>,
    items: BTreeSet<Definition>,
}

/// The search for what one path leads to.
struct Search<'a> {
    resolver: &'a Resolver<'a>,
    is_import: bool,
    /// The modules in which paths were searched, since globs can form a circle.
    seen: BTreeSet<(usize, Path)>,
    /// The imports that were followed, since `use name::name` can lead to itself.
    followed: BTreeSet<(usize, &'a Path)>,
    found: Found,
}

impl Search<'_> {
    /// Follows a path as `module` has it.
    fn path(&mut self, mut module: usize, mut path: &[String]) {
        let mut is_local = false;
        while let Some((first, rest)) = path.split_first() {
            module = match first.as_str() {
                "crate" => ROOT,
                "self" => module,
                "super" => self.resolver.krate.modules[module].parent,
                _ => break,
            };
            (is_local, path) = (true, rest);
        }
        // other first names are those of crates, of the prelude or of local variables
        if is_local || path.first().is_some_and(|name| self.resolver.has(module, name, &mut BTreeSet::new()))
        {
            self.below(module, path);
        }
    }

    /// Follows a path that begins with a name in `module`.
    fn below(&mut self, module: usize, path: &[String]) {
        if !self.seen.insert((module, path.to_vec())) {
            return;
        }
        let resolver = self.resolver;
        let data = &resolver.krate.modules[module];
        let Some((name, rest)) = path.split_first() else {
            self.found.modules.insert(module);
            if self.is_import {
                self.found.files.insert(data.file);
            }
            return;
        };
        let Some(meanings) = data.names.get(name) else {
            // the name comes through a glob, or a macro defines it
            self.found.files.insert(data.file);
            for target in &resolver.globs[module] {
                if resolver.has(*target, name, &mut BTreeSet::new()) {
                    self.below(*target, path);
                }
            }
            return;
        };
        for meaning in meanings {
            match meaning {
                Meaning::Module(child) => self.below(*child, rest),
                Meaning::Import(path) => {
                    self.found.files.insert(data.file);
                    if self.followed.insert((module, path)) {
                        self.path(module, &[path, rest].concat());
                    }
                }
                Meaning::Item => {
                    self.found.files.insert(data.file);
                    let definition = (module, name.clone());
                    if let Some(method) = rest.first()
                        && let Some(files) = resolver.methods.get(&(definition.clone(), method))
                    {
                        self.found.files.extend(files);
                    }
                    self.found.items.insert(definition);
                }
            }
        }
    }
}
