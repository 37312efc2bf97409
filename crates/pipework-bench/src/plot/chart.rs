//! The style of a chart: a logarithmic scale for the figures, a line with points for each competitor, a thicker one for
//! pipework, and the names beside them.

use std::{error::Error, io, path::Path};

use plotters::{
    chart::ChartBuilder,
    coord::{Shift, combinators::IntoLogRange},
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, PathElement, Text},
    prelude::SVGBackend,
    series::LineSeries,
    style::{Color, RGBColor, ShapeStyle, WHITE},
};

// Sizes of a chart, and of the names of its lines, in pixels.
const WIDTH: u32 = 820;
const HEIGHT: u32 = 400;
const NAMES_WIDTH: i32 = 210;
const NAME_HEIGHT: i32 = 22;
const NAMES_TOP: i32 = 50;
const FONT: &str = "sans-serif";

/// Colours that people with a colour vision deficiency can distinguish. The first is that of pipework.
const COLOURS: [RGBColor; 9] = [
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
    RGBColor(0, 0, 0),
    RGBColor(150, 120, 60),
];

/// Lines on one pair of axes.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

/// An axis, and the format of its labels. The values of the x axis are logarithms, and only integers have a label.
#[derive(Debug)]
pub(super) struct Axis {
    name: &'static str,
    label: fn(f64) -> String,
}

impl Axis {
    pub(super) fn new(name: &'static str, label: fn(f64) -> String) -> Axis {
        Axis { name, label }
    }
}

/// The figures of a competitor.
#[derive(Debug)]
pub(super) struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// Returns `None` without figures. A logarithmic axis can show positive figures only.
    pub(super) fn new(name: &str, points: impl Iterator<Item = (f64, f64)>) -> Option<Line> {
        let points: Vec<_> = points.filter(|&(_, y)| y > 0.0).collect();
        if points.is_empty() { None } else { Some(Line { name: name.to_owned(), points }) }
    }

    /// Replaces each figure.
    pub(super) fn map(&mut self, figure: impl Fn(f64) -> f64) {
        self.points.iter_mut().for_each(|point| point.1 = figure(point.1));
    }
}

/// Draws charts one below the other, in one file.
pub(super) fn draw(path: &Path, charts: &[&Chart]) -> io::Result<()> {
    let count = u32::try_from(charts.len()).map_err(io::Error::other)?;
    let area = SVGBackend::new(path, (WIDTH, HEIGHT * count)).into_drawing_area();
    let drawn = area.fill(&WHITE).map_err(Box::from).and_then(|()| {
        let areas = area.split_evenly((charts.len(), 1));
        areas.iter().zip(charts).try_for_each(|(area, chart)| draw_one(area, chart))?;
        area.present().map_err(Box::from)
    });
    drawn.map_err(|error: Box<dyn Error>| io::Error::other(format!("{}: {error}", path.display())))
}

fn draw_one(area: &DrawingArea<SVGBackend<'_>, Shift>, chart: &Chart) -> Result<(), Box<dyn Error>> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let (x_min, x_max) = range(points().map(|point| point.0));
    let (y_min, y_max) = range(points().map(|point| point.1));
    let (plot, names) =
        area.split_horizontally(area.dim_in_pixel().0.saturating_sub(NAMES_WIDTH.unsigned_abs()));
    let mut context = ChartBuilder::on(&plot)
        .caption(&chart.title, (FONT, 17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(x_min - 0.1..x_max + 0.1, (y_min / 1.5..y_max * 1.5).log_scale())?;
    context
        .configure_mesh()
        .x_desc(chart.x.name)
        .y_desc(chart.y.name)
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|value| as_integer(*value).map(chart.x.label).unwrap_or_default())
        .y_label_formatter(&|value| (chart.y.label)(*value))
        .light_line_style(WHITE)
        .label_style((FONT, 13))
        .draw()?;
    let mut y = NAMES_TOP;
    for (index, (line, colour)) in chart.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let style: ShapeStyle = colour.stroke_width(if index == 0 { 4 } else { 2 });
        context.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        context.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        names.draw(&PathElement::new([(0, y), (20, y)], style))?;
        names.draw(&Text::new(line.name.as_str(), (26, y - 6), (FONT, 13)))?;
        y += NAME_HEIGHT;
    }
    Ok(())
}

/// The integer that this value is, if it is one. Rounding another value would give it a wrong label.
fn as_integer(value: f64) -> Option<f64> {
    let rounded = value.round();
    if (value - rounded).abs() < 1e-6 { Some(rounded) } else { None }
}

/// The smallest and the largest value.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(value), max.max(value)))
}
