//! Renders samples as text.

use crate::commands::watch::sampler::Sample;
use crate::output::printable;
use crate::report::{ProcessReport, SemaphoreReport};

/// Renders a sample as one line.
pub(crate) fn render_line(sample: &Sample) -> String {
    let text = match &sample.state {
        Ok(state) => render_state(state),
        Err(unavailable) => printable(&unavailable.to_string()),
    };
    format!("{}: {text}\n", printable(&sample.key))
}

fn render_state(state: &SemaphoreReport) -> String {
    let names = |processes: &Option<Vec<ProcessReport>>| {
        let names = processes.iter().flatten().map(ProcessReport::name).collect::<Vec<_>>();
        if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
    };
    let held = state.held.map(|held| format!(", {held} held{}", names(&state.holders)));
    let waiting = state.waiting.map(|waiting| format!(", {waiting} waiting{}", names(&state.waiters)));
    format!("{} free{}{}", state.available, held.unwrap_or_default(), waiting.unwrap_or_default())
}

/// Renders a sample as several lines for a screen of this width. The last line is empty.
pub(crate) fn render_paragraph(sample: &Sample, width: usize) -> Vec<String> {
    let Ok(state) = &sample.state else {
        return vec![render_line(sample).trim_end().to_owned(), String::new()];
    };
    let mut lines = vec![printable(&sample.key), format!("  {}", render_bar(state, width.saturating_sub(2)))];
    let mut add_processes = |title: &str, processes: &Option<Vec<ProcessReport>>| {
        for process in processes.iter().flatten() {
            let permits =
                process.permits.filter(|permits| *permits != 1).map(|permits| format!(", {permits} permits"));
            let age = process.age().map(|age| format!(", for {age}"));
            let (permits, age) = (permits.unwrap_or_default(), age.unwrap_or_default());
            lines.push(format!("  {title} {}{permits}{age}", process.name()));
        }
    };
    add_processes("held by", &state.holders);
    add_processes("waits: ", &state.waiters);
    if let (None, Some(waiting)) = (&state.waiters, state.waiting.filter(|waiting| *waiting > 0)) {
        lines.push(format!("  {waiting} waiting"));
    }
    lines.push(String::new());
    lines
}

/// Renders the permits as a bar, in which held permits are full and free ones are light.
fn render_bar(state: &SemaphoreReport, width: usize) -> String {
    let held = state.held.unwrap_or(0);
    let total = held + u64::from(state.available);
    let text = match state.held {
        Some(_) => format!(" {} of {total} free", state.available),
        None => format!(" {} free", state.available),
    };
    let columns = width.saturating_sub(text.len()).min(40) as u64;
    // If the bar has enough columns, each permit gets one. Otherwise the bar shows the proportion.
    let (full, light) = if total <= columns {
        (held, total - held)
    } else {
        (held * columns / total, columns - held * columns / total)
    };
    format!("{}{}{text}", "█".repeat(full as usize), "░".repeat(light as usize))
}
