//! `show`: one semaphore.

use std::fmt::Write;

use serde::Serialize;
use system_semaphore::Observer;

use crate::cli::Show;
use crate::error::Trouble;
use crate::output::{Answer, plain_table, printable, render};
use crate::report::{Process, Sight};

/// The answer, as JSON.
#[derive(Serialize)]
struct Shown {
    key: String,
    #[serde(rename = "type")]
    key_type: String,
    #[serde(flatten)]
    sight: Sight,
}

pub(crate) fn show(options: &Show, answer: &Answer) -> Result<u8, Trouble> {
    let observer = Observer::new(options.which.native()?)?;
    let key = observer.native_key();
    let shown = Shown {
        key: key.to_string(),
        key_type: key.key_type().to_string(),
        sight: Sight::from(&observer.look()?),
    };
    answer.give(&shown, || text(&shown))?;
    Ok(0)
}

fn text(Shown { key, sight, .. }: &Shown) -> String {
    let mut table = plain_table();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.add_row([name, &*value]);
        }
    };
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    row("key", Some(printable(key)));
    row("free", Some(sight.available.to_string()));
    row("held", sight.held.map(|held| held.to_string()));
    row(
        "held by the dead",
        number(sight.held_by_dead.filter(|held| *held > 0)).map(|held| held + ", about to come back"),
    );
    row("made with", number(sight.initial_value));
    row("at most", Some(sight.max_permits.to_string()));
    row("waiting", number(sight.waiting));
    row("users", number(sight.users));
    row("last used by", number(sight.last_pid));
    row("recoveries", sight.recoveries.map(|recoveries| recoveries.to_string()));
    row(
        "stays",
        sight.persistent.map(|stays| if stays { "yes" } else { "until its last user leaves" }.to_owned()),
    );
    row("owner", Some(format!("user {}, mode {}", sight.owner, sight.permissions)));
    let mut text = render(table);
    let lists = [("Holders", &sight.holders), ("Waiters", &sight.waiters)];
    for (title, processes) in lists {
        if let Some(processes) = processes.as_deref().filter(|processes| !processes.is_empty()) {
            let _ = write!(text, "\n{title}\n{}", processes_table(processes));
        }
    }
    text
}

fn processes_table(processes: &[Process]) -> String {
    let mut table = plain_table();
    for process in processes {
        let count = match (process.permits, process.threads) {
            (Some(1), _) => "1 permit".to_owned(),
            (Some(permits), _) => format!("{permits} permits"),
            (None, Some(1) | None) => String::new(),
            (None, Some(threads)) => format!("{threads} threads"),
        };
        let age = process.age().map_or_else(String::new, |age| format!("for {age}"));
        table.add_row([process.name(), count, age]);
    }
    render(table)
}
