//! `list`: the semaphores on this machine.

use comfy_table::{Table, presets};
use serde::Serialize;
use system_semaphore::{Listed, Owners, Result, list as all};

use crate::answer::{Answer, Trouble};
use crate::arguments::List;
use crate::sight::{Sight, printable};

/// An entry, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) key: Option<String>,
    #[serde(rename = "type")]
    pub(crate) key_type: String,
    pub(crate) name: String,
    pub(crate) path: Option<String>,
    pub(crate) owner: u32,
    pub(crate) error: Option<String>,
    pub(crate) sight: Option<Sight>,
}

impl From<&Listed> for Entry {
    fn from(listed: &Listed) -> Self {
        Self {
            key: listed.native_key.as_ref().map(ToString::to_string),
            key_type: listed.key_type.to_string(),
            name: listed.name.clone(),
            path: listed.path.as_ref().map(|path| path.display().to_string()),
            owner: listed.owner,
            error: listed.snapshot.as_ref().err().map(ToString::to_string),
            sight: listed.snapshot.as_ref().ok().map(Sight::from),
        }
    }
}

impl Entry {
    /// What people call it: the key that opens it, if there is one.
    pub(crate) fn label(&self) -> String {
        match &self.key {
            Some(key) => printable(key),
            None => format!("{}: {}", self.key_type, printable(&self.name)),
        }
    }
}

/// All that there are, in order.
pub(crate) fn entries(owners: Owners) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = all(owners)?.iter().map(Entry::from).collect();
    entries.sort_by_cached_key(|entry| (entry.key_type.clone(), entry.label()));
    Ok(entries)
}

pub(crate) fn list(options: &List, answer: &Answer) -> Result<u8, Trouble> {
    let entries = entries(if options.all { Owners::All } else { Owners::User })?;
    answer.give(&entries, || table(&entries, options.all))?;
    Ok(0)
}

fn table(entries: &[Entry], with_owner: bool) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut table = plain_table();
    let owner = |text: String| with_owner.then_some(text);
    let columns = ["KEY", "FREE", "HELD", "WAITING", "USERS"].map(str::to_owned).into_iter();
    table.set_header(columns.chain(owner("OWNER".to_owned())).chain(["NOTE".to_owned()]));
    for entry in entries {
        let sight = entry.sight.as_ref();
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let row = [
            entry.label(),
            number(sight.map(|sight| sight.available.into())),
            number(sight.and_then(|sight| sight.held)),
            number(sight.and_then(|sight| sight.waiting).map(u64::from)),
            number(sight.and_then(|sight| sight.users).map(u64::from)),
        ];
        table.add_row(row.into_iter().chain(owner(entry.owner.to_string())).chain([note(entry)]));
    }
    render(table)
}

fn note(entry: &Entry) -> String {
    match (&entry.sight, &entry.error) {
        (Some(Sight { leftover: Some(true), .. }), _) => "left over".to_owned(),
        (Some(Sight { persistent: Some(true), .. }), _) => "stays".to_owned(),
        (None, Some(error)) => printable(error),
        _ => String::new(),
    }
}

/// A table without lines.
pub(crate) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

/// Its lines.
pub(crate) fn render(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}
