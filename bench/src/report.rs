//! Tables, and the document.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::machine::Distance;
use crate::samples::{self, Run, Statistics};
use crate::shapes::{self, Series, Shape};
use crate::{Result, contestant, plot, targets};

/// What is written by hand, with places for the rest.
const FRAME: &str = include_str!("../performance.md");

/// All tables of what was measured.
pub(crate) fn tables(run: &Run) -> String {
    let sections = measured(run).map(|shape| section(run, shape, |_| String::new()));
    format!("{}## Targets\n\n{}", sections.collect::<String>(), targets::table(run))
}

/// Writes the document and the plots from the samples of the last full run.
pub(crate) fn write() -> Result<()> {
    let run = Run::load()?;
    for shape in measured(&run) {
        for series in shape.series {
            plot::draw(&run, series, &samples::directory().join(plot_of(series)))?;
        }
    }
    let image = |series: &Series| format!("![{}](performance/{})\n\n", series.title, plot_of(series));
    let sections: String = measured(&run).map(|shape| section(&run, shape, image)).collect();
    let text = FRAME
        .replace("{machine}", &run.machine)
        .replace("{rounds}", &run.rounds.to_string())
        .replace("{command}", if run.long { "bench/run --long" } else { "bench/run" })
        .replace("{targets}\n", &targets::table(&run))
        .replace("{shapes}\n", &sections);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    Ok(fs::write(file, text)?)
}

fn plot_of(series: &Series) -> String {
    format!("{}.svg", series.name)
}

fn measured(run: &Run) -> impl Iterator<Item = &'static Shape> {
    let has_samples = |shape: &&Shape| run.subjects(shape.series[0].name).next().is_some();
    shapes::ALL.iter().filter(has_samples)
}

fn section(run: &Run, shape: &Shape, image: impl Fn(&Series) -> String) -> String {
    let series = shape.series.iter().filter(|series| run.subjects(series.name).next().is_some());
    let tables =
        series.map(|series| format!("### {}\n\n{}{}\n", series.title, image(series), table(run, series)));
    format!("## `{}`\n\n{}\n\n{}", shape.name, shape.about, tables.collect::<String>())
}

/// A column: at so many, so far apart.
type Column = (u64, Distance);

/// Who was measured, in order.
pub(crate) fn rows(run: &Run, series: &Series) -> Vec<String> {
    let mut names: Vec<&String> = run.subjects(series.name).map(|subject| &subject.contestant).collect();
    names
        .sort_by_key(|name| (contestant::ALL.iter().position(|contestant| contestant.name == **name), *name));
    names.dedup();
    names.into_iter().cloned().collect()
}

fn table(run: &Run, series: &Series) -> String {
    let columns: BTreeSet<Column> =
        run.subjects(series.name).map(|subject| (subject.x, subject.distance)).collect();
    let heads = columns.iter().map(|column| head(series, *column));
    let mut text = line([series.unit.to_owned()].into_iter().chain(heads));
    text += &line((0..=columns.len()).map(|_| "---".to_owned()));
    for name in rows(run, series) {
        let cells = columns.iter().map(|column| cell(run, series, &name, *column));
        text += &line([name.clone()].into_iter().chain(cells));
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {} |\n", cells.join(" | "))
}

fn head(series: &Series, (x, distance): Column) -> String {
    let points = if series.points.is_empty() {
        String::new()
    } else {
        format!("{}: {}", series.points, number(x as f64))
    };
    [points.as_str(), distance.name()].join(" ").trim().to_owned()
}

/// The median, the quartiles, and the ratio to the reference.
fn cell(run: &Run, series: &Series, name: &str, (x, distance): Column) -> String {
    let Some(values) = run.get(series.name, x, name, distance) else { return String::new() };
    let Statistics { count, median, quartiles, largest } = values;
    let mut text = format!("{} ({}..{})", number(median), number(quartiles.0), number(quartiles.1));
    let reference = run.get(series.name, x, series.reference, distance);
    if let Some(reference) = reference.filter(|reference| reference.median != 0.0) {
        text += &format!(" **x{}**", number(median / reference.median));
    }
    if series.worst {
        text += &format!("; worst of {count}: {}", number(largest));
    }
    text
}

/// To three digits.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => return thousands(value.round() as i64),
        size if size >= 9.995 => 1,
        size if size >= 0.0995 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn thousands(value: i64) -> String {
    let digits = value.abs().to_string();
    let mut text = if value < 0 { String::from("-") } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
