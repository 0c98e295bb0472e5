//! Checks the imports between the source files of each crate that `layers.toml` names: they form no
//! cycle, and no file imports one of a higher layer.
//!
//! usage: layers [--plant] [ROOT]
//!
//! ROOT is the folder of the repository to check. With `--plant`, backward imports are added to a
//! copy of the sources in memory, and the checks must find each of them.

mod attributes;
mod check;
mod collect;
mod graph;
mod model;
mod parse;
mod plant;
mod resolve;
mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use check::Findings;
use model::Sources;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const TABLE: &str = include_str!("../layers.toml");

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let plants = arguments.first().is_some_and(|argument| argument == "--plant");
    arguments.drain(..usize::from(plants));
    let root = arguments.pop().unwrap_or_else(|| REPOSITORY.into());
    if !arguments.is_empty() || root.starts_with('-') {
        eprintln!("usage: layers [--plant] [ROOT]");
        return ExitCode::from(2);
    }
    match run(Path::new(&root), plants) {
        Ok((passed, failed)) => {
            println!("{passed} passed, {failed} failed");
            ExitCode::from(u8::from(failed > 0))
        }
        Err(error) => {
            eprintln!("layers: {error}");
            ExitCode::from(2)
        }
    }
}

/// Checks all crates; returns how many checks passed and how many failed.
fn run(root: &Path, plants: bool) -> Result<(usize, usize), String> {
    let table = table::read(TABLE)?;
    let (mut passed, mut failed) = (0, 0);
    for (name, layers) in &table {
        println!("== {name}: {}", layers.root);
        let file = root.join(&layers.root);
        let sources = sources(file.parent().unwrap_or(root))?;
        let counts = if plants {
            plant::plant(&sources, layers)
        } else {
            Findings::new(&sources, layers).map(|findings| findings.report())
        };
        let (more_passed, more_failed) = counts.unwrap_or_else(|error| {
            println!("FAILED {error}");
            (0, 1)
        });
        (passed, failed) = (passed + more_passed, failed + more_failed);
    }
    Ok((passed, failed))
}

/// Reads all Rust files in a folder and below.
fn sources(folder: &Path) -> Result<Sources, String> {
    let mut sources = Sources::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            open.extend(entries.map_err(|error| at(&path, &error))?.iter().map(fs::DirEntry::path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name: PathBuf = path.strip_prefix(folder).unwrap_or(&path).into();
            sources.insert(name.to_string_lossy().replace('\\', "/"), text(&path)?);
        }
    }
    Ok(sources)
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
