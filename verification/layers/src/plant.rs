//! Plants backward imports, each of which the checks must find.

use crate::check::Findings;
use crate::model::{Crate, Meaning, ROOT, Sources};
use crate::table::Layers;

/// A change of the sources that makes a low file import a high one.
struct Defect {
    form: &'static str,
    /// What is added at the end of the low file: one line.
    low: String,
    /// What is added at the end of the root file.
    root: String,
}

/// Plants each defect in a copy of the sources; returns how many the checks found and how many they
/// missed.
pub(crate) fn plant(sources: &Sources, layers: &Layers) -> Result<(usize, usize), String> {
    let Findings { krate, imports, .. } = Findings::new(sources, layers)?;
    // the lowest file that a higher layer imports, and the highest of the files that import it
    let pair = imports.iter().filter_map(|import| {
        let (high, low) = (layers.layer_of(&krate, import.from)?, layers.layer_of(&krate, import.to)?);
        (high < low && import.from != ROOT && import.to != ROOT).then_some((low, usize::MAX - high, import))
    });
    let (_, _, import) =
        pair.max_by_key(|(low, high, _)| (*low, *high)).ok_or("no layer imports a lower one")?;
    let (low, high) = (import.to, import.from);
    let (mut found, mut missed) = (0, 0);
    for defect in defects(&krate, low, high) {
        let mut sources = sources.clone();
        append(&mut sources, &krate.files[ROOT], &defect.root);
        let line = append(&mut sources, &krate.files[low], &defect.low);
        let is_found = Findings::new(&sources, layers)?.rejects(low, line, high);
        let (result, count) = if is_found { ("found ", &mut found) } else { ("MISSED", &mut missed) };
        *count += 1;
        println!(
            "{result} {}: `{}` in {} -> {}",
            defect.form, defect.low, krate.files[low], krate.files[high]
        );
    }
    Ok((found, missed))
}

fn defects(krate: &Crate, low: usize, high: usize) -> [Defect; 4] {
    let (low, high) = (path_to(krate, low), path_to(krate, high).join("::"));
    let root = vec!["super"; low.len()].join("::");
    let defect = |form, low: String| Defect { form, low, root: String::new() };
    [
        defect("use", format!("use crate::{high}::planted;")),
        defect("inline path", format!("fn planted() {{ let _ = crate::{high}::planted(); }}")),
        defect("nested use", format!("use {root}::{{{high}::{{self as high, planted}}}};")),
        Defect {
            form: "re-export",
            low: "use crate::planted;".into(),
            root: format!("pub(crate) use {high}::planted;"),
        },
    ]
}

/// The path from the root module to the module that a file contains.
fn path_to(krate: &Crate, file: usize) -> Vec<&str> {
    let mut path = Vec::new();
    let mut module = krate.modules.iter().position(|module| module.file == file).unwrap_or(ROOT);
    while module != ROOT {
        let parent = krate.modules[module].parent;
        let is_child = |meaning: &Meaning| matches!(meaning, Meaning::Module(child) if *child == module);
        let mut names = krate.modules[parent].names.iter();
        path.extend(names.find(|(_, meanings)| meanings.iter().any(is_child)).map(|(name, _)| name.as_str()));
        module = parent;
    }
    path.reverse();
    path
}

/// Adds a line to a file; returns the line's number.
fn append(sources: &mut Sources, file: &str, line: &str) -> usize {
    let text = sources.entry(file.into()).or_default();
    text.push_str(line);
    text.push('\n');
    text.lines().count()
}
