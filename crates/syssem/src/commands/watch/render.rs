//! Samples as text.

use crate::commands::watch::sampler::Sample;
use crate::output::printable;
use crate::report::{Process, Sight};

/// A line for who does not watch in a terminal.
pub(crate) fn line(sample: &Sample) -> String {
    let state = match (&sample.sight, &sample.error) {
        (Some(sight), _) => {
            let names = |processes: &Option<Vec<Process>>| {
                let names = processes.iter().flatten().map(Process::name).collect::<Vec<_>>();
                if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
            };
            let held = sight.held.map(|held| format!(", {held} held{}", names(&sight.holders)));
            let waiting =
                sight.waiting.map(|waiting| format!(", {waiting} waiting{}", names(&sight.waiters)));
            format!("{} free{}{}", sight.available, held.unwrap_or_default(), waiting.unwrap_or_default())
        }
        (None, error) => error.as_deref().map_or_else(String::new, printable),
    };
    format!("{}: {state}\n", printable(&sample.key))
}

/// A semaphore on the screen.
pub(crate) fn paragraph(sample: &Sample, width: usize) -> Vec<String> {
    let Some(sight) = &sample.sight else { return vec![line(sample).trim_end().to_owned(), String::new()] };
    let mut lines = vec![printable(&sample.key), format!("  {}", bar(sight, width.saturating_sub(2)))];
    let mut name = |title: &str, processes: &Option<Vec<Process>>| {
        for process in processes.iter().flatten() {
            let permits =
                process.permits.filter(|permits| *permits != 1).map(|permits| format!(", {permits} permits"));
            let age = process.age().map(|age| format!(", for {age}"));
            let (permits, age) = (permits.unwrap_or_default(), age.unwrap_or_default());
            lines.push(format!("  {title} {}{permits}{age}", process.name()));
        }
    };
    name("held by", &sight.holders);
    name("waits: ", &sight.waiters);
    if let (None, Some(waiting)) = (&sight.waiters, sight.waiting.filter(|waiting| *waiting > 0)) {
        lines.push(format!("  {waiting} waiting"));
    }
    lines.push(String::new());
    lines
}

/// Permits as a bar: a held one is full, a free one empty.
fn bar(sight: &Sight, width: usize) -> String {
    let held = sight.held.unwrap_or(0);
    let total = held + u64::from(sight.available);
    let text = match sight.held {
        Some(_) => format!(" {} of {total} free", sight.available),
        None => format!(" {} free", sight.available),
    };
    let room = width.saturating_sub(text.len()).min(40) as u64;
    // one column a permit, as long as there is room
    let (full, empty) =
        if total <= room { (held, total - held) } else { (held * room / total, room - held * room / total) };
    format!("{}{}{text}", "█".repeat(full as usize), "░".repeat(empty as usize))
}
