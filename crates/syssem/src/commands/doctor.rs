//! `doctor`: reports what this machine supports, its limits, and what crashed processes have left.

mod key_types;
mod limits;
mod stale;
#[cfg(target_os = "linux")]
mod untracked;

use std::fmt::Write;

use serde::Serialize;

use self::key_types::{KeyTypeReport, check_key_types};
use self::limits::{Limit, limits};
use self::stale::{StaleResource, find_stale, remove_if_unused};
use crate::cli::DoctorArgs;
use crate::error::CliError;
use crate::output::{Output, plain_table, printable, render_table};

/// The result as JSON.
#[derive(Serialize)]
struct DoctorReport {
    types: Vec<KeyTypeReport>,
    limits: Vec<Limit>,
    /// `None` if this platform cannot list semaphores.
    stale: Option<Vec<StaleResource>>,
}

pub(crate) fn execute(args: &DoctorArgs, output: &Output) -> Result<u8, CliError> {
    let mut report = DoctorReport { types: check_key_types(), limits: limits(), stale: find_stale() };
    if args.clean {
        for stale in report.stale.iter_mut().flatten().filter(|stale| stale.certain) {
            stale.removed = stale.key.as_ref().is_some_and(remove_if_unused);
        }
    }
    output.print(&report, || format_report(&report))?;
    let is_healthy = report.types.iter().all(|key_type| key_type.error.is_none())
        && report.stale.iter().flatten().all(|stale| stale.removed);
    Ok(u8::from(!is_healthy))
}

fn format_report(report: &DoctorReport) -> String {
    let mut text = format_key_types(&report.types);
    if !report.limits.is_empty() {
        let _ = write!(text, "\n{}", format_limits(&report.limits));
    }
    text + &format_stale(report.stale.as_deref())
}

fn format_key_types(types: &[KeyTypeReport]) -> String {
    let mut table = plain_table();
    table.set_header(["TYPE", "WORKS", "DEATH RETURNS PERMITS", "TIMEOUT", "SEVERAL AT ONCE", "MAXIMUM"]);
    for key_type in types {
        let works = match (&key_type.error, key_type.supported) {
            (Some(error), _) => printable(error),
            (None, true) => "yes".to_owned(),
            (None, false) => "not on this platform".to_owned(),
        };
        let yes_or_no =
            |value: Option<bool>| value.map_or("", |value| if value { "yes" } else { "no" }).to_owned();
        let maximum = key_type.max_permits.map_or_else(String::new, |permits| permits.to_string());
        table.add_row([
            key_type.key_type.to_string(),
            works,
            yes_or_no(key_type.returns_on_death),
            yes_or_no(key_type.timeout),
            yes_or_no(key_type.several_at_once),
            maximum,
        ]);
    }
    render_table(table)
}

fn format_limits(limits: &[Limit]) -> String {
    let mut table = plain_table();
    for Limit { name, value, meaning } in limits {
        table.add_row([*name, value, meaning]);
    }
    render_table(table)
}

fn format_stale(stale: Option<&[StaleResource]>) -> String {
    match stale {
        None => return "\nThis platform cannot list stale semaphores.\n".to_owned(),
        Some([]) => return "\nNothing is stale.\n".to_owned(),
        Some(_) => {}
    }
    let mut text = String::new();
    for (certain, title) in [(true, "Stale"), (false, "Possibly stale")] {
        let mut group = stale.into_iter().flatten().filter(|stale| stale.certain == certain).peekable();
        if group.peek().is_some() {
            let _ = writeln!(text, "\n{title}");
        }
        for StaleResource { resource, reason, remove_with, removed, .. } in group {
            let remedy = if *removed { "removed".to_owned() } else { printable(remove_with) };
            let _ = writeln!(text, "  {}: {reason}\n    {remedy}", printable(resource));
        }
    }
    text
}
