//! Signals as curves: small plots in rows and columns, all over the same axes.

use image::RgbImage;

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, INK, QUIET, RULE};
use super::chart::COLOURS;
use crate::{Error, Result};

/// Signals in panels side by side, a small plot for each and a curve in it for each channel; the axes fit the last
/// panel, which the others are compared with.
#[derive(Debug, Clone)]
pub struct Curves {
    channels: usize,
    columns: usize,
    row_labels: Vec<String>,
    panels: Vec<(String, Vec<Vec<f64>>)>,
}

const DENSITY: f32 = 2.0;
/// Width and height of a small plot.
const CELL: [f32; 2] = [150.0, 78.0];
const GAP: f32 = 10.0;
const PANEL_GAP: f32 = 30.0;
const MARGIN: f32 = 20.0;
/// Left of a row: its ticks.
const TICKS: f32 = 56.0;
/// Over the plots: captions; below: ticks and a label.
const ROOM: [f32; 2] = [28.0, 44.0];

impl Curves {
    /// Signals `[length, channels]` in so many columns a panel.
    pub fn new(channels: usize, columns: usize) -> Self {
        Curves { channels, columns, row_labels: Vec::new(), panels: Vec::new() }
    }

    /// Labels left of the rows.
    #[must_use]
    pub fn row_labels(mut self, labels: impl IntoIterator<Item = String>) -> Self {
        self.row_labels = labels.into_iter().collect();
        self
    }

    /// Adds a panel of signals, row by row. Numbers that are not finite interrupt a curve.
    #[must_use]
    pub fn panel(mut self, caption: impl Into<String>, signals: Vec<Vec<f64>>) -> Self {
        self.panels.push((caption.into(), signals));
        self
    }

    /// Draws the panels. Errors on signals that are not of whole channels, without a signal or a finite number in the
    /// last panel, and on pictures beyond 16,384 pixels.
    pub fn render(&self) -> Result<RgbImage> {
        let Curves { channels, columns, .. } = *self;
        let bad = |what: &str| Err(Error::argument("Curves::render", what.to_string()));
        let signals = || self.panels.iter().flat_map(|(_, signals)| signals);
        if channels == 0 || columns == 0 || signals().any(|s| s.is_empty() || !s.len().is_multiple_of(channels)) {
            return bad("signals of whole channels are expected, in one column or more");
        }
        let Some((_, last)) = self.panels.last() else { return bad("no panel to draw") };
        let values = || last.iter().flatten().copied().filter(|x| x.is_finite());
        let (Some(low), Some(high)) = (values().reduce(f64::min), values().reduce(f64::max)) else {
            return bad("the last panel has no signal with a finite number");
        };
        let length = signals().map(|signal| signal.len() / channels).max().unwrap_or(1);
        let x = Axis { whole: true, ..Axis::around(1.0, length as f64, 0.0, false) };
        let y = Axis::around(low, high, 0.08, false);
        let rows = self.panels.iter().map(|(_, signals)| signals.len().div_ceil(columns)).max().unwrap_or(1).max(1);
        let ruler = Canvas::new(1.0, 1.0, DENSITY)?;
        let labels = self.row_labels.iter().map(|label| ruler.text_width(label, 13.0)).fold(0.0, f32::max).min(160.0);
        let left = MARGIN + TICKS + if labels > 0.0 { labels + 10.0 } else { 0.0 };
        let panel = columns as f32 * (CELL[0] + GAP) - GAP;
        let width = left + self.panels.len() as f32 * (panel + PANEL_GAP) - PANEL_GAP + MARGIN;
        let height = MARGIN + ROOM[0] + rows as f32 * (CELL[1] + GAP) + ROOM[1];
        let mut canvas = Canvas::new(width, height, DENSITY)?;
        let top = |row: usize| MARGIN + ROOM[0] + row as f32 * (CELL[1] + GAP);
        for row in 0..rows {
            if let Some(label) = self.row_labels.get(row) {
                let label = canvas.fit(label, 13.0, labels);
                canvas.text(&label, MARGIN, top(row) + CELL[1] / 2.0 + 4.5, 13.0, QUIET, Anchor::Left);
            }
            for (value, label) in y.ticks(3) {
                let at = y.place(value, top(row) + CELL[1], top(row));
                canvas.text(&label, left - 6.0, at + 4.0, 11.0, QUIET, Anchor::Right);
            }
        }
        for (i, (caption, signals)) in self.panels.iter().enumerate() {
            let from = left + i as f32 * (panel + PANEL_GAP);
            let caption = canvas.fit(caption, 13.0, panel);
            canvas.text(&caption, from, MARGIN + 14.0, 13.0, INK, Anchor::Left);
            for (k, signal) in signals.iter().enumerate() {
                let at = [from + (k % columns) as f32 * (CELL[0] + GAP), top(k / columns)];
                plot(&mut canvas, at, [&x, &y], signal, channels);
            }
            for column in 0..columns.min(signals.len()) {
                let from = from + column as f32 * (CELL[0] + GAP);
                for (value, label) in x.ticks(3) {
                    let at = x.place(value, from, from + CELL[0]);
                    canvas.text(&label, at, top(rows) + 4.0, 11.0, QUIET, Anchor::Middle);
                }
            }
            let label =
                if channels > 1 { "place in the signal; a colour for each channel" } else { "place in the signal" };
            let label = canvas.fit(label, 12.0, panel);
            canvas.text(&label, from + panel / 2.0, top(rows) + 24.0, 12.0, QUIET, Anchor::Middle);
        }
        Ok(canvas.image)
    }
}

fn plot(canvas: &mut Canvas, [left, top]: [f32; 2], [x, y]: [&Axis; 2], signal: &[f64], channels: usize) {
    let (right, bottom) = (left + CELL[0], top + CELL[1]);
    for (value, _) in y.ticks(3) {
        canvas.rect(left, y.place(value, bottom, top), CELL[0], 0.5, RULE);
    }
    for (a, b, wide, high) in [(left, bottom, CELL[0], 0.5), (left, top, 0.5, CELL[1])] {
        canvas.rect(a, b, wide, high, QUIET);
    }
    for channel in 0..channels {
        let values: Vec<(usize, f64)> = signal.iter().copied().skip(channel).step_by(channels).enumerate().collect();
        for part in values.split(|(_, value)| !value.is_finite()) {
            let place = |&(i, v): &(usize, f64)| [x.place((i + 1) as f64, left, right), y.place(v, bottom, top)];
            let points: Vec<[f32; 2]> = part.iter().map(place).collect();
            canvas.polyline(&points, 1.2, COLOURS[channel % COLOURS.len()], [left, top, right, bottom]);
        }
    }
}
