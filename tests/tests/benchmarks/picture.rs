//! Groups of bars as SVG, for light and dark pages alike: the same bytes for the same results.

use crate::{
    charts::{Chart, Layout},
    results::{Results, grouped},
};
use anyhow::{Context, Result, anyhow, ensure};
use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, cartesian::Cartesian2d, ranged1d::Ranged, types::RangedCoordf64},
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Rectangle, Text},
    prelude::{IntoLogRange, SVGBackend},
    style::{
        Color, FontDesc, FontFamily, FontStyle, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// Pixels.
const WIDTH: u32 = 900;
/// Room for the names of groups.
const LEFT: u32 = 250;
/// Height of a bar.
const BAR: u32 = 11;
/// Between groups.
const GAP: u32 = 7;
/// Room above: title, what color means what.
const TOP: u32 = 58;
/// Room below: the axis.
const BOTTOM: u32 = 52;
/// Room to the right of the longest bar, for what is written beside it.
const BESIDE: u32 = 120;

/// Behind everything.
const PAGE: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Letters.
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
/// Lines of the grid.
const GRID: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
/// Bars, in the order of their series; told apart on either page.
const BARS: [RGBColor; 4] = [
    RGBColor(0x8c, 0x95, 0x9f),
    RGBColor(0xbf, 0x87, 0x00),
    RGBColor(0x21, 0x8b, 0xff),
    RGBColor(0x2d, 0xa4, 0x4e),
];
/// Where a reader prefers dark pages, the first three colors are others.
const DARK: &str = "<style>@media (prefers-color-scheme: dark) {\
    [fill=\"#FFFFFF\"] { fill: #0D1117 } [fill=\"#24292F\"] { fill: #E6EDF3 } \
    [stroke=\"#D0D7DE\"] { stroke: #30363D } [stroke=\"#24292F\"] { stroke: #E6EDF3 } }</style>\n";

/// The canvas.
type Page<'p> = DrawingArea<SVGBackend<'p>, Shift>;

/// Bars that belong together.
struct Group {
    name: String,
    bars: Vec<Option<Bar>>,
}

/// A value, and what is written beside it.
struct Bar {
    value: f64,
    label: String,
}

/// The picture of some results.
pub(crate) fn draw(chart: &Chart, results: &Results) -> Result<String> {
    let (series, groups) = match &chart.layout {
        Layout::Rows { groups, bars, only } => rows(results, groups, bars, *only)?,
        Layout::Columns(columns) => columns_of(results, columns)?,
    };
    ensure!(!groups.is_empty(), "nothing to draw");
    ensure!(series.len() <= BARS.len(), "more series than colors");
    let bars = groups.iter().flat_map(|group| group.bars.iter().flatten());
    let largest = bars.map(|bar| bar.value).fold(0.0, f64::max);
    let height = groups.len() as u32 * (series.len() as u32 * BAR + GAP) + TOP + BOTTOM;
    let mut svg = String::new();
    {
        let page = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        page.fill(&PAGE).map_err(drawing)?;
        write(&page, chart.title, 17, (16, 10), HPos::Left)?;
        legend(&page, &series)?;
        let mut builder = ChartBuilder::on(&page);
        builder
            .margin_top(TOP)
            .margin_left(LEFT)
            .margin_right(BESIDE)
            .x_label_area_size(BOTTOM);
        let rows = 0.0..groups.len() as f64;
        if chart.from > 0.0 {
            let range = (chart.from..largest).log_scale();
            let mut context = builder.build_cartesian_2d(range, rows).map_err(drawing)?;
            axis(&mut context, chart)?;
            fill(&page, &mut context, chart.from, &groups)?;
        } else {
            let mut context = builder
                .build_cartesian_2d(0.0..largest, rows)
                .map_err(drawing)?;
            axis(&mut context, chart)?;
            fill(&page, &mut context, 0.0, &groups)?;
        }
        page.present().map_err(drawing)?;
    }
    let (start, rest) = svg.split_once(">\n").context("not an SVG")?;
    Ok(format!("{start}>\n{DARK}{rest}"))
}

/// A group for each row.
fn rows(
    results: &Results,
    names: &[&str],
    bars: &[(&str, Option<&str>)],
    only: Option<(&str, &str)>,
) -> Result<(Vec<String>, Vec<Group>)> {
    let names = columns(results, names)?;
    let only = only
        .map(|(head, cell)| anyhow::Ok((results.column(head)?, cell)))
        .transpose()?;
    let mut groups = Vec::new();
    for row in &results.rows {
        if only.is_some_and(|(at, cell)| row[at] != cell) {
            continue;
        }
        let names: Vec<&str> = names.iter().map(|at| row[*at].as_str()).collect();
        let mut drawn = Vec::new();
        for (head, ratio) in bars {
            let cell = &row[results.column(head)?];
            let ratio = ratio.map(|ratio| results.column(ratio)).transpose()?;
            drawn.push(bar(cell, ratio.map(|at| row[at].as_str()))?);
        }
        groups.push(Group {
            name: names.join(", "),
            bars: drawn,
        });
    }
    let series = bars.iter().map(|(head, _)| head.replace('`', ""));
    Ok((series.collect(), groups))
}

/// A group for each of the columns.
fn columns_of(results: &Results, heads: &[&str]) -> Result<(Vec<String>, Vec<Group>)> {
    let mut groups = Vec::new();
    for (head, at) in heads.iter().zip(columns(results, heads)?) {
        let mut bars = Vec::new();
        for row in &results.rows {
            bars.push(bar(&row[at], None)?);
        }
        if let [Some(first), .., Some(last)] = bars.as_mut_slice() {
            last.label += &format!(" ({:.1}x)", last.value / first.value);
        }
        groups.push(Group {
            name: (*head).to_owned(),
            bars,
        });
    }
    let series = results.rows.iter().map(|row| row[0].clone());
    Ok((series.collect(), groups))
}

/// Where columns are.
fn columns(results: &Results, heads: &[&str]) -> Result<Vec<usize>> {
    heads.iter().map(|head| results.column(head)).collect()
}

/// A cell as a bar; `None` where nothing was measured.
fn bar(cell: &str, ratio: Option<&str>) -> Result<Option<Bar>> {
    if matches!(cell, "" | "-") {
        return Ok(None);
    }
    let value = cell
        .parse()
        .with_context(|| format!("not a number: {cell}"))?;
    let mut label = grouped(cell);
    if let Some(ratio) = ratio.filter(|ratio| !matches!(*ratio, "" | "-")) {
        label += &format!(" ({ratio}x)");
    }
    Ok(Some(Bar { value, label }))
}

/// What color means what, under the title.
fn legend(page: &Page<'_>, series: &[String]) -> Result<()> {
    let mut left = 16;
    for (name, color) in series.iter().zip(BARS) {
        let square = Rectangle::new([(left, 37), (left + 10, 47)], color.filled());
        page.draw(&square).map_err(drawing)?;
        write(page, name, 13, (left + 16, 36), HPos::Left)?;
        left += 40 + name.len() as i32 * 7;
    }
    Ok(())
}

/// The grid and the axis, in words.
fn axis<'p, X>(
    context: &mut ChartContext<'_, SVGBackend<'p>, Cartesian2d<X, RangedCoordf64>>,
    chart: &Chart,
) -> Result<()>
where
    X: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
{
    context
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(PAGE)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .x_labels(8)
        .x_label_formatter(&|value| grouped(&format!("{value}")))
        .x_label_style(style(12, HPos::Center))
        .x_desc(chart.axis)
        .axis_desc_style(style(13, HPos::Center))
        .draw()
        .map_err(drawing)
}

/// Bars, the names of their groups, and what is beside them.
fn fill<'p, X>(
    page: &Page<'p>,
    context: &mut ChartContext<'_, SVGBackend<'p>, Cartesian2d<X, RangedCoordf64>>,
    from: f64,
    groups: &[Group],
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
{
    for (at, group) in groups.iter().enumerate() {
        // The first group is on top; a little of each one's room is left between them.
        let (left, middle) = context
            .plotting_area()
            .map_coordinate(&(from, groups.len() as f64 - at as f64 - 0.5));
        write(page, &group.name, 13, (left - 10, middle - 7), HPos::Right)?;
        let bars = group.bars.iter().zip(BARS);
        let bars: Vec<_> = bars
            .filter_map(|(bar, color)| Some((bar.as_ref()?, color)))
            .collect();
        let mut top = middle - (bars.len() as u32 * BAR / 2) as i32;
        for (bar, color) in bars {
            let (right, _) = context
                .plotting_area()
                .map_coordinate(&(bar.value.max(from), 0.0));
            let corners = [(left, top + 1), (right.max(left + 1), top + BAR as i32)];
            page.draw(&Rectangle::new(corners, color.filled()))
                .map_err(drawing)?;
            write(page, &bar.label, 11, (right + 5, top + 1), HPos::Left)?;
            top += BAR as i32;
        }
    }
    Ok(())
}

/// Writes a line whose upper edge is there.
fn write(page: &Page<'_>, text: &str, size: u32, at: (i32, i32), side: HPos) -> Result<()> {
    page.draw(&Text::new(text.to_owned(), at, style(size, side)))
        .map_err(drawing)
}

/// Letters of some size.
fn style(size: u32, side: HPos) -> TextStyle<'static> {
    FontDesc::new(FontFamily::SansSerif, size.into(), FontStyle::Normal)
        .color(&INK)
        .pos(Pos::new(side, VPos::Top))
}

/// The library's errors borrow the page.
fn drawing(error: impl core::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}
