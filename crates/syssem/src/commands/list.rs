//! `list`: lists the semaphores on this machine.

use system_semaphore::Owners;

use crate::cli::ListArgs;
use crate::error::CliError;
use crate::output::{Output, plain_table, printable, render_table};
use crate::report::{ListEntry, SemaphoreReport, list_entries};

pub(crate) fn execute(args: &ListArgs, output: &Output) -> Result<u8, CliError> {
    let entries = list_entries(if args.all { Owners::All } else { Owners::User })?;
    output.print(&entries, || format_entries(&entries, args.all))?;
    Ok(0)
}

fn format_entries(entries: &[ListEntry], with_owner: bool) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut table = plain_table();
    let owner = |text: String| with_owner.then_some(text);
    let columns = ["KEY", "FREE", "HELD", "WAITING", "USERS"].map(str::to_owned).into_iter();
    table.set_header(columns.chain(owner("OWNER".to_owned())).chain(["NOTE".to_owned()]));
    for entry in entries {
        let state = entry.state.as_ref();
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let row = [
            entry.label(),
            number(state.map(|state| state.available.into())),
            number(state.and_then(|state| state.held)),
            number(state.and_then(|state| state.waiting).map(u64::from)),
            number(state.and_then(|state| state.users).map(u64::from)),
        ];
        table.add_row(row.into_iter().chain(owner(entry.owner.to_string())).chain([note(entry)]));
    }
    render_table(table)
}

fn note(entry: &ListEntry) -> String {
    match (&entry.state, &entry.error) {
        (Some(SemaphoreReport { stale: Some(true), .. }), _) => "stale".to_owned(),
        (Some(SemaphoreReport { persistent: Some(true), .. }), _) => "persistent".to_owned(),
        (None, Some(error)) => printable(error),
        _ => String::new(),
    }
}
