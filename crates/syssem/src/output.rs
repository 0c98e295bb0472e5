//! Prints results as text or JSON, and messages on standard error.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;
use system_semaphore::SystemSemaphore;

/// Prints results in the format that the user chose.
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Creates an output that prints JSON or text.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Returns whether results are printed as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `value` as one line of JSON, or else `text`, on standard output.
    pub(crate) fn print(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)?;
        } else {
            out.write_all(text().as_bytes())?;
        }
        out.flush()
    }

    /// Prints the key and the free permits of a changed semaphore as JSON. Text output stays empty.
    pub(crate) fn print_result(&self, semaphore: &SystemSemaphore) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        let key = semaphore.native_key().to_string();
        self.print(&json!({ "key": key, "available": semaphore.available_permits().ok() }), String::new)
    }
}

/// Prints a message on standard error.
pub(crate) fn warn(message: impl Display) {
    let _ = writeln!(io::stderr(), "syssem: {message}");
}

/// Creates a table without borders.
pub(crate) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

/// Renders a plain table, with a newline after each row.
pub(crate) fn render_table(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}

/// Escapes control characters, so that a name chosen by another process cannot control a terminal.
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
