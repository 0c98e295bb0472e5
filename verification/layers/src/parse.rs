//! Reads the sources of a crate into its modules: which names each declares, and which paths it
//! contains.
//!
//! Modules of all platforms are read. What only exists in tests is left out.

use syn::ext::IdentExt;
use syn::{Item, ItemMod};

use crate::attributes::{is_for_tests, path_attributes};
use crate::collect::collect;
use crate::model::{Crate, Meaning, Module, ROOT, Sources};

/// Reads the modules that are reachable from the root file.
pub(crate) fn read(sources: &Sources, root: &str) -> Result<Crate, String> {
    let mut reader = Reader { sources, krate: Crate::default() };
    reader.file(root, ROOT, folder(root), false)?;
    Ok(reader.krate)
}

/// Reads files and their modules.
struct Reader<'a> {
    sources: &'a Sources,
    krate: Crate,
}

/// Where a module's text is.
#[derive(Clone, Copy)]
struct Site<'a> {
    module: usize,
    file: &'a str,
    /// The folder of the files of child modules.
    children: &'a str,
    /// Whether the text is inside a `mod name { }`.
    is_inline: bool,
}

impl Reader<'_> {
    /// Reads a file as a new module; returns the module's number.
    fn file(&mut self, path: &str, parent: usize, children: &str, is_test: bool) -> Result<usize, String> {
        let text = self.sources.get(path).ok_or_else(|| format!("{path}: no such file"))?;
        let syntax = syn::parse_file(text)
            .map_err(|error| format!("{path}:{}: {error}", error.span().start().line))?;
        let number = self.krate.files.len();
        self.krate.files.push(path.into());
        if is_test {
            self.krate.for_tests.insert(number);
        }
        let module = self.module(parent, number);
        self.items(&syntax.items, Site { module, file: path, children, is_inline: false }, is_test)?;
        Ok(module)
    }

    fn module(&mut self, parent: usize, file: usize) -> usize {
        self.krate.modules.push(Module { parent, file, ..Module::default() });
        self.krate.modules.len() - 1
    }

    fn items(&mut self, items: &[Item], place: Site<'_>, is_test: bool) -> Result<(), String> {
        for item in items {
            let is_test = is_test || is_for_tests(item);
            if let Item::Mod(child) = item {
                self.child(child, place, is_test)?;
                continue;
            }
            // a macro whose input has the form of items usually defines these items
            if let Item::Macro(call) = item
                && call.ident.is_none()
                && let Ok(file) = call.mac.parse_body::<syn::File>()
            {
                self.items(&file.items, place, is_test)?;
            }
            if is_test {
                continue;
            }
            let module = &mut self.krate.modules[place.module];
            for name in defined_names(item) {
                module.names.entry(name).or_default().push(Meaning::Item);
            }
            collect(item, module);
        }
        Ok(())
    }

    /// Reads a child module: one file or several, of which each platform has one.
    fn child(&mut self, child: &ItemMod, place: Site<'_>, is_test: bool) -> Result<(), String> {
        let name = child.ident.unraw().to_string();
        let children = join(place.children, &name);
        let mut numbers = Vec::new();
        if let Some((_, items)) = &child.content {
            let number = self.module(place.module, self.krate.modules[place.module].file);
            let inner = Site { module: number, children: &children, is_inline: true, ..place };
            self.items(items, inner, is_test)?;
            numbers.push(number);
        }
        for path in path_attributes(&child.attrs) {
            let file = join(if place.is_inline { place.children } else { folder(place.file) }, &path);
            numbers.push(self.file(&file, place.module, folder(&file), is_test)?);
        }
        if numbers.is_empty() {
            let candidates = [format!("{children}.rs"), format!("{children}/mod.rs")];
            let file = candidates.iter().find(|path| self.sources.contains_key(*path));
            let line = child.ident.span().start().line;
            let file = file.ok_or_else(|| format!("{}:{line}: no file of module `{name}`", place.file))?;
            numbers.push(self.file(file, place.module, &children, is_test)?);
        }
        // outside of tests, the name of a module for tests has no meaning
        if !is_test {
            let meanings = self.krate.modules[place.module].names.entry(name).or_default();
            meanings.extend(numbers.into_iter().map(Meaning::Module));
        }
        Ok(())
    }
}

/// The folder that contains a file.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path, relative to a folder.
fn join(folder: &str, path: &str) -> String {
    let mut segments: Vec<&str> = folder.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in path.split('/') {
        match segment {
            ".." => drop(segments.pop()),
            "." => {}
            _ => segments.push(segment),
        }
    }
    segments.join("/")
}

fn defined_names(item: &Item) -> Vec<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => return item.ident.iter().map(ToString::to_string).collect(),
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return Vec::new(),
    };
    vec![ident.unraw().to_string()]
}
