//! `doctor`: what this machine supports, its limits, and what crashes have left.

mod key_types;
mod limits;
mod stale;
#[cfg(target_os = "linux")]
mod untracked;

use std::fmt::Write;

use serde::Serialize;
use system_semaphore::NativeIpcKey;

use self::key_types::{Type, types};
use self::limits::{Limit, limits};
use self::stale::{Leftover, clean, leftovers};
use crate::cli::Doctor;
use crate::error::Trouble;
use crate::output::{Answer, plain_table, printable, render};

/// The answer, as JSON.
#[derive(Serialize)]
struct Report {
    types: Vec<Type>,
    limits: Vec<Limit>,
    /// `None` where the platform does not tell what there is.
    leftovers: Option<Vec<Leftover>>,
}

pub(crate) fn doctor(options: &Doctor, answer: &Answer) -> Result<u8, Trouble> {
    let mut report = Report { types: types(), limits: limits(), leftovers: leftovers() };
    if options.clean {
        for leftover in report.leftovers.iter_mut().flatten().filter(|leftover| leftover.certain) {
            leftover.removed = leftover.what.parse::<NativeIpcKey>().is_ok_and(clean);
        }
    }
    answer.give(&report, || text(&report))?;
    let is_well = report.types.iter().all(|one| one.error.is_none())
        && report.leftovers.iter().flatten().all(|leftover| leftover.removed);
    Ok(u8::from(!is_well))
}

fn text(report: &Report) -> String {
    let mut table = plain_table();
    table.set_header(["TYPE", "WORKS", "DEATH GIVES BACK", "TIMEOUT", "SEVERAL AT ONCE", "AT MOST"]);
    for one in &report.types {
        let works = match (&one.error, one.supported) {
            (Some(error), _) => printable(error),
            (None, true) => "yes".to_owned(),
            (None, false) => "not on this platform".to_owned(),
        };
        let yes = |answer: Option<bool>| answer.map_or("", |yes| if yes { "yes" } else { "no" }).to_owned();
        let most = one.max_permits.map_or_else(String::new, |most| most.to_string());
        table.add_row([
            one.key_type.clone(),
            works,
            yes(one.returns_on_death),
            yes(one.timeout),
            yes(one.several_at_once),
            most,
        ]);
    }
    let mut text = render(table);
    if !report.limits.is_empty() {
        let mut table = plain_table();
        for Limit { name, value, meaning } in &report.limits {
            table.add_row([*name, value, meaning]);
        }
        let _ = write!(text, "\n{}", render(table));
    }
    for (certain, title) in [(true, "Left over"), (false, "Perhaps left over")] {
        let leftovers: Vec<&Leftover> =
            report.leftovers.iter().flatten().filter(|one| one.certain == certain).collect();
        if leftovers.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{title}");
        for one in leftovers {
            let then = if one.removed { "removed".to_owned() } else { printable(&one.remove_with) };
            let _ = writeln!(text, "  {}: {}\n    {then}", printable(&one.what), one.why);
        }
    }
    match report.leftovers.as_deref() {
        None => text.push_str("\nThis platform does not tell what was left behind.\n"),
        Some([]) => text.push_str("\nNothing was left behind.\n"),
        Some(_) => {}
    }
    text
}
