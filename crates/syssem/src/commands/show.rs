//! `show`: shows one semaphore.

use std::fmt::Write;

use serde::Serialize;
use system_semaphore::{KeyType, NativeIpcKey, Observer};

use crate::cli::ShowArgs;
use crate::error::CliError;
use crate::output::{Output, plain_table, printable, render_table};
use crate::report::{ProcessReport, SemaphoreReport, as_text};

/// The result as JSON.
#[derive(Serialize)]
struct ShowReport {
    #[serde(serialize_with = "as_text")]
    key: NativeIpcKey,
    #[serde(rename = "type", serialize_with = "as_text")]
    key_type: KeyType,
    #[serde(flatten)]
    state: SemaphoreReport,
}

pub(crate) fn execute(args: &ShowArgs, output: &Output) -> Result<u8, CliError> {
    let observer = Observer::new(args.key.native_key()?)?;
    let key = observer.native_key();
    let report = ShowReport {
        key: key.clone(),
        key_type: key.key_type(),
        state: SemaphoreReport::from(&observer.snapshot()?),
    };
    output.print(&report, || format_report(&report))?;
    Ok(0)
}

fn format_report(ShowReport { key, state, .. }: &ShowReport) -> String {
    let mut table = plain_table();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.add_row([name, &*value]);
        }
    };
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    row("key", Some(printable(&key.to_string())));
    row("free", Some(state.available.to_string()));
    row("held", state.held.map(|held| held.to_string()));
    row(
        "held by the dead",
        number(state.held_by_dead.filter(|held| *held > 0)).map(|held| held + ", not yet recovered"),
    );
    row("initial value", number(state.initial_value));
    row("maximum", Some(state.max_permits.to_string()));
    row("waiting", number(state.waiting));
    row("users", number(state.users));
    row("last used by", number(state.last_pid));
    row("recoveries", state.recoveries.map(|recoveries| recoveries.to_string()));
    row(
        "persistent",
        state
            .persistent
            .map(|persistent| if persistent { "yes" } else { "no, its last user removes it" }.to_owned()),
    );
    row("owner", Some(format!("user {}, mode {}", state.owner, state.permissions)));
    let mut text = render_table(table);
    let lists = [("Holders", &state.holders), ("Waiters", &state.waiters)];
    for (title, processes) in lists {
        if let Some(processes) = processes.as_deref().filter(|processes| !processes.is_empty()) {
            let _ = write!(text, "\n{title}\n{}", format_processes(processes));
        }
    }
    text
}

fn format_processes(processes: &[ProcessReport]) -> String {
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
    render_table(table)
}
