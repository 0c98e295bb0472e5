//! Plots.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::contestant;
use crate::machine::Distance;
use crate::report::{number, rows};
use crate::samples::Run;
use crate::shapes::Series;

const WIDTH: u32 = 900;
/// Of the names.
const LEFT: f64 = 260.0;
/// Of the figures behind the bars.
const RIGHT: f64 = 110.0;
const BAR: i32 = 16;
const TOP: i32 = 40;
const OURS: RGBColor = RGBColor(0x1b, 0x6c, 0xa8);
const OTHERS: RGBColor = RGBColor(0x9a, 0xa0, 0xa6);
const LINES: [RGBColor; 12] = [
    RGBColor(0x1b, 0x6c, 0xa8),
    RGBColor(0x33, 0x33, 0x33),
    RGBColor(0xd1, 0x49, 0x5b),
    RGBColor(0xed, 0xae, 0x49),
    RGBColor(0x2a, 0x9d, 0x5c),
    RGBColor(0x8e, 0x5a, 0xb5),
    RGBColor(0x00, 0xa6, 0xa6),
    RGBColor(0xb0, 0x6a, 0x3b),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0x6b, 0x8e, 0x23),
    RGBColor(0x4b, 0x00, 0x82),
];

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws a series: bars, or lines where it has enough points.
pub(crate) fn draw(run: &Run, series: &Series, file: &Path) -> crate::Result<()> {
    let mut points: Vec<u64> = run.subjects(series.name).map(|subject| subject.x).collect();
    points.sort_unstable();
    points.dedup();
    if points.len() >= 3 {
        lines(run, series, &points, file)?;
    } else {
        bars(run, series, &points, file)?;
    }
    Ok(())
}

/// One for each contestant, point and distance.
fn bars(run: &Run, series: &Series, points: &[u64], file: &Path) -> Drawn<()> {
    let mut bars = Vec::new();
    for name in rows(run, series) {
        for x in points {
            for distance in [Distance::None, Distance::Near, Distance::Far] {
                if let Some(values) = run.get(series.name, *x, &name, distance) {
                    let of = if *x > 0 { format!(", {}: {x}", series.points) } else { String::new() };
                    bars.push((name.clone(), format!("{name}{of} {}", distance.name()), values.median));
                }
            }
        }
    }
    let height = TOP + BAR * bars.len() as i32 + 12;
    let area = SVGBackend::new(file, (WIDTH, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    title(&area, series, "logarithmic")?;
    let positive = || bars.iter().map(|(_, _, value)| *value).filter(|value| *value > 0.0);
    // a bar for the smallest, too
    let least = positive().fold(f64::MAX, f64::min) / 2.0;
    let most = positive().fold(least * 2.0, f64::max);
    for (index, (name, label, value)) in bars.iter().enumerate() {
        let top = TOP + BAR * index as i32;
        let part = if *value > 0.0 { (value / least).ln() / (most / least).ln() } else { 0.0 };
        let end = LEFT + part * (f64::from(WIDTH) - LEFT - RIGHT);
        let color = if is_ours(name) { OURS } else { OTHERS };
        area.draw(&Text::new(label.clone(), (8, top + 1), ("sans-serif", 12)))?;
        area.draw(&Rectangle::new([(LEFT as i32, top), (end as i32, top + BAR - 4)], color.filled()))?;
        area.draw(&Text::new(number(*value), (end as i32 + 6, top + 1), ("sans-serif", 12)))?;
    }
    area.present()
}

/// One for each contestant, over the points.
fn lines(run: &Run, series: &Series, points: &[u64], file: &Path) -> Drawn<()> {
    let area = SVGBackend::new(file, (WIDTH, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    title(&area, series, "both axes logarithmic")?;
    let names = rows(run, series);
    let of = |name: &str| -> Vec<(f64, f64)> {
        let median = |x: &u64| Some((*x as f64, run.get(series.name, *x, name, Distance::None)?.median));
        points.iter().filter_map(median).filter(|(_, y)| *y > 0.0).collect()
    };
    let values: Vec<f64> = names.iter().flat_map(|name| of(name)).map(|(_, y)| y).collect();
    let least = values.iter().copied().fold(f64::MAX, f64::min) / 1.5;
    let most = values.iter().copied().fold(0.0, f64::max) * 1.5;
    let (first, last) = (points[0] as f64, points[points.len() - 1] as f64);
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_top(TOP)
        .margin_right(220)
        .x_label_area_size(36)
        .y_label_area_size(70)
        .build_cartesian_2d((first..last).log_scale(), (least..most).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(series.points)
        .y_desc(series.unit)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, name) in names.iter().enumerate() {
        let color = LINES[index % LINES.len()];
        let style = color.stroke_width(if is_ours(name) { 3 } else { 1 });
        chart.draw_series(LineSeries::new(of(name), style).point_size(3))?;
        let at = TOP + 20 + BAR * index as i32;
        area.draw(&PathElement::new([(WIDTH as i32 - 212, at + 6), (WIDTH as i32 - 190, at + 6)], style))?;
        area.draw(&Text::new(name.clone(), (WIDTH as i32 - 184, at), ("sans-serif", 12)))?;
    }
    area.present()
}

fn title(area: &Area<'_>, series: &Series, scale: &str) -> Drawn<()> {
    let unit = if series.unit.is_empty() { String::new() } else { format!("{}, ", series.unit) };
    let text = format!("{} ({unit}{scale})", series.title);
    area.draw(&Text::new(text, (8, 10), ("sans-serif", 16)))
}

fn is_ours(name: &str) -> bool {
    name.contains(contestant::OURS) || name.contains(crate::shapes::RUN)
}
