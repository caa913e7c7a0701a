//! Points in the plane, side by side over the same axes.

use image::{Rgb, RgbImage};

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, INK, QUIET, RULE};
use super::chart::COLOURS;
use crate::figures::grouped;
use crate::{Error, Result};

/// Scatter plots in rows: a row shows one pair of coordinates, a column one set of points, and the axes of a row fit
/// the last set, which the others are compared with.
///
/// ```
/// use veridical::report::Scatter;
/// let (drawn, data) = ([[0.1, 0.2], [0.3, -0.1]], [[0.0, 0.0], [1.0, -1.0]]);
/// let picture = Scatter::new(["generated", "data"])
///     .row(["width / mm", "mass / g"], vec![drawn.to_vec(), data.to_vec()])
///     .render()?;
/// # Ok::<(), veridical::Error>(())
/// ```
pub struct Scatter<'a> {
    captions: Vec<String>,
    rows: Vec<Row<'a>>,
}

/// A function of the plane, of any scale.
type Plane<'a> = &'a (dyn Fn([f64; 2]) -> f64 + Sync);

struct Row<'a> {
    labels: [String; 2],
    panels: Vec<Vec<[f64; 2]>>,
    density: Option<Plane<'a>>,
}

const DENSITY: f32 = 2.0;
/// Sides of a plot.
const SIDE: f32 = 310.0;
/// Left of the first plot: its ticks; over a plot: caption and label; below it: ticks and label.
const ROOM: [f32; 3] = [76.0, 46.0, 48.0];
/// Between two plots of a row.
const GAP: f32 = 26.0;
/// Radius of a point.
const RADIUS: f32 = 1.7;
/// How much of what is below a point it hides: many together are darker.
const COVER: f32 = 0.55;
/// Sides of the squares of the background, in units.
const CELL: f32 = 1.0;
/// What is around the points of the last set, as a share of their extent.
const AIR: f64 = 0.08;
/// The background at its densest.
const DENSEST: Rgb<u8> = Rgb([0xb9, 0xc4, 0xd2]);

impl<'a> Scatter<'a> {
    /// Sets of points with these captions.
    pub fn new<S: Into<String>>(captions: impl IntoIterator<Item = S>) -> Self {
        Scatter { captions: captions.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row: the labels of its axes, and a set of points for each caption. Points that are not finite are left
    /// out, and those beyond the axes counted in the picture.
    #[must_use]
    pub fn row(mut self, [x, y]: [impl Into<String>; 2], panels: Vec<Vec<[f64; 2]>>) -> Self {
        self.rows.push(Row { labels: [x.into(), y.into()], panels, density: None });
        self
    }

    /// Puts a density behind the points of the last row, of any scale: what the points should follow.
    #[must_use]
    pub fn density(mut self, density: Plane<'a>) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.density = Some(density);
        }
        self
    }

    /// Draws the rows. Errors where there is no row or set, a row has another number of sets than there are captions,
    /// or its last set has no point, and on pictures beyond 16,384 pixels.
    pub fn render(&self) -> Result<RgbImage> {
        let (columns, rows) = (self.captions.len(), self.rows.len());
        let bad = |what: String| Err(Error::argument("Scatter::render", what));
        if columns == 0 || rows == 0 {
            return bad("no set of points, or no row".into());
        }
        if let Some(row) = self.rows.iter().find(|row| row.panels.len() != columns) {
            return bad(format!("{columns} captions and a row of {} sets", row.panels.len()));
        }
        let width = ROOM[0] + columns as f32 * (SIDE + GAP);
        let height = rows as f32 * (ROOM[1] + SIDE + ROOM[2]) + 8.0;
        let mut canvas = Canvas::new(width, height, DENSITY)?;
        for (i, row) in self.rows.iter().enumerate() {
            let Some(axes) = row.panels.last().and_then(|points| axes(points)) else {
                return bad("the last set has no point".into());
            };
            let top = i as f32 * (ROOM[1] + SIDE + ROOM[2]) + ROOM[1];
            for (j, (caption, points)) in self.captions.iter().zip(&row.panels).enumerate() {
                let left = ROOM[0] + j as f32 * (SIDE + GAP);
                plot(&mut canvas, [left, top], &axes, row, points, j);
                let caption = canvas.fit(caption, 13.0, SIDE);
                canvas.text(&caption, left, top - 26.0, 13.0, INK, Anchor::Left);
            }
            let label = canvas.fit(&row.labels[1], 12.0, SIDE);
            canvas.text(&label, ROOM[0], top - 8.0, 12.0, QUIET, Anchor::Left);
        }
        Ok(canvas.image)
    }
}

/// Axes around the points, of equal scale where their extents are nearly alike; `None` without a point.
fn axes(points: &[[f64; 2]]) -> Option<[Axis; 2]> {
    let finite: Vec<&[f64; 2]> = points.iter().filter(|p| p.iter().all(|x| x.is_finite())).collect();
    let range = |k: usize| {
        let along = || finite.iter().map(|p| p[k]);
        Some([along().reduce(f64::min)?, along().reduce(f64::max)?])
    };
    let [mut x, mut y] = [range(0)?, range(1)?];
    let [wide, high] = [x[1] - x[0], y[1] - y[0]];
    for (own, other, range) in [(wide, high, &mut x), (high, wide, &mut y)] {
        if own < other && own * 2.0 > other {
            *range = [range[0] - (other - own) / 2.0, range[1] + (other - own) / 2.0];
        }
    }
    Some([x, y].map(|[low, high]| Axis::around(low, high, AIR, false)))
}

fn plot(canvas: &mut Canvas, [left, top]: [f32; 2], [x, y]: &[Axis; 2], row: &Row, points: &[[f64; 2]], column: usize) {
    let (right, bottom) = (left + SIDE, top + SIDE);
    if let Some(density) = row.density {
        background(canvas, [left, top], [x, y], density);
    }
    for (value, label) in y.ticks(5) {
        let at = y.place(value, bottom, top);
        if row.density.is_none() {
            canvas.rect(left, at, SIDE, 0.5, RULE);
        }
        canvas.rect(left - 4.0, at, 4.0, 0.5, QUIET);
        if column == 0 {
            canvas.text(&label, left - 8.0, at + 4.0, 12.0, QUIET, Anchor::Right);
        }
    }
    for (value, label) in x.ticks(5) {
        let at = x.place(value, left, right);
        canvas.rect(at, bottom, 0.5, 4.0, QUIET);
        canvas.text(&label, at, bottom + 18.0, 12.0, QUIET, Anchor::Middle);
    }
    let label = canvas.fit(&row.labels[0], 12.0, SIDE);
    canvas.text(&label, left + SIDE / 2.0, bottom + 36.0, 12.0, QUIET, Anchor::Middle);
    let mut beyond = 0u64;
    for point in points.iter().filter(|p| p.iter().all(|x| x.is_finite())) {
        let within = |axis: &Axis, at: f64| (axis.low..=axis.high).contains(&at);
        if within(x, point[0]) && within(y, point[1]) {
            let at = [x.place(point[0], left, right), y.place(point[1], bottom, top)];
            canvas.dot(at, RADIUS, COLOURS[column % COLOURS.len()], COVER);
        } else {
            beyond += 1;
        }
    }
    if beyond > 0 {
        let text = format!("{} beyond the axes", grouped(beyond));
        canvas.text(&text, right, top - 8.0, 11.0, QUIET, Anchor::Right);
    }
    for (x, y, wide, high) in
        [(left, top, SIDE, 0.5), (left, bottom, SIDE, 0.5), (left, top, 0.5, SIDE), (right, top, 0.5, SIDE)]
    {
        canvas.rect(x, y, wide, high, QUIET);
    }
}

/// Shades of the density, by its root, so that thin parts are seen.
fn background(canvas: &mut Canvas, [left, top]: [f32; 2], [x, y]: [&Axis; 2], density: Plane) {
    use rayon::prelude::*;
    let cells = (SIDE / CELL) as usize;
    let middle = |i: usize| f64::from((i as f32 + 0.5) / cells as f32);
    let along = |axis: &Axis, share: f64| axis.low + (axis.high - axis.low) * share;
    let at = |i: usize| density([along(x, middle(i % cells)), along(y, 1.0 - middle(i / cells))]);
    let values: Vec<f64> = (0..cells * cells).into_par_iter().map(at).collect();
    let most = values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
    for (i, value) in values.into_iter().enumerate().filter(|(_, v)| v.is_finite() && *v > 0.0) {
        let share = (value / most).sqrt() as f32;
        let shade = DENSEST.0.map(|c| (255.0 - (255.0 - f32::from(c)) * share).round() as u8);
        let [px, py] = [left + (i % cells) as f32 * CELL, top + (i / cells) as f32 * CELL];
        canvas.rect(px, py, CELL, CELL, Rgb(shade));
    }
}
