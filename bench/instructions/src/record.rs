//! What is on record.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::Command;

use crate::Result;

const FILE: &str = "bench/instructions/counts.txt";

const RUSTC: &str = "rustc";

pub(crate) struct Record {
    /// The compiler by which it was.
    pub(crate) rustc: String,
    /// The instructions of each path.
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Record {
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        let mut record = Self { rustc: String::new(), counts: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(' ').ok_or_else(|| format!("{FILE}: {line:?}?"))?;
            if name == RUSTC {
                record.rustc = line.to_owned();
            } else {
                record.counts.insert(name.to_owned(), value.parse()?);
            }
        }
        Ok(record)
    }

    pub(crate) fn write(&self) -> Result<()> {
        Ok(fs::write(FILE, self.to_string())?)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Instructions an operation, by bench/instructions/run --write.")?;
        writeln!(f, "{}", self.rustc)?;
        self.counts.iter().try_for_each(|(name, count)| writeln!(f, "{name} {count}"))
    }
}

/// The compiler, as it calls itself.
pub(crate) fn rustc() -> Result<String> {
    let output = Command::new(RUSTC).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
