//! `list`: the semaphores on this machine.

use system_semaphore::Owners;

use crate::cli::List;
use crate::error::Trouble;
use crate::output::{Answer, plain_table, printable, render};
use crate::report::{Entry, Sight, entries};

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
