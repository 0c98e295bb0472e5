//! What is printed: tables for people, JSON for programs.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;
use system_semaphore::SystemSemaphore;

/// How answers are printed.
pub(crate) struct Answer {
    json: bool,
}

impl Answer {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a value as JSON, or what people read.
    pub(crate) fn give(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)?;
        } else {
            out.write_all(text().as_bytes())?;
        }
        out.flush()
    }
}

/// Says something to people, on standard error.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "syssem: {text}");
}

/// Tells programs what has become of it; people see that nothing went wrong.
pub(crate) fn tell(semaphore: &SystemSemaphore, answer: &Answer) -> io::Result<u8> {
    if answer.is_json() {
        let key = semaphore.native_key().to_string();
        answer.give(&json!({ "key": key, "available": semaphore.available_permits().ok() }), String::new)?;
    }
    Ok(0)
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

/// Text that others have chosen, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| -> Box<dyn Iterator<Item = char>> {
            if character.is_control() {
                Box::new(character.escape_default())
            } else {
                Box::new(std::iter::once(character))
            }
        })
        .collect()
}
