//! Line charts: how a quantity went over the steps.

use image::{Rgb, RgbImage};

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, INK, QUIET, RULE};
use crate::Result;

/// One curve.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Points `(x, y)`, x rising. Points that are not finite are left out, and on a logarithmic axis those at or below
    /// zero.
    pub points: Vec<(f64, f64)>,
    /// Half-life, in points, of a smoothed curve drawn over the points, which then recede; `None` draws the points
    /// alone.
    pub half_life: Option<f64>,
    /// `(x, low, high)`: what is filled behind the curve, such as the spread of repeats. Left out where not finite, or
    /// on a logarithmic axis not above zero.
    pub band: Vec<(f64, f64, f64)>,
    /// `(x, low, high)`: error bars on the curve, such as standard errors. Left out where not finite; an end that a
    /// logarithmic axis does not have is cut off.
    pub bars: Vec<(f64, f64, f64)>,
}

/// A chart of one or more curves over a common axis.
#[derive(Debug, Clone)]
pub struct Chart {
    title: String,
    x_label: String,
    y_label: String,
    log_y: bool,
    series: Vec<Series>,
}

const DENSITY: f32 = 2.0;
const SIZE: [f32; 2] = [760.0, 400.0];
/// Left, top, right, bottom edges of the plot.
const PLOT: [f32; 4] = [64.0, 78.0, 736.0, 346.0];
/// Half the width of the ends of an error bar.
const CAP: f32 = 3.0;
/// How thick an error bar is.
const BAR: f32 = 1.0;
/// Okabe and Ito's palette, which all kinds of colour vision can tell apart.
pub(super) const COLOURS: [Rgb<u8>; 6] = [
    Rgb([0x00, 0x72, 0xb2]),
    Rgb([0xd5, 0x5e, 0x00]),
    Rgb([0x00, 0x9e, 0x73]),
    Rgb([0xcc, 0x79, 0xa7]),
    Rgb([0x56, 0xb4, 0xe9]),
    Rgb([0xe6, 0x9f, 0x00]),
];

impl Chart {
    /// An empty chart.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Chart {
            title: title.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            log_y: false,
            series: Vec::new(),
        }
    }

    /// Makes the vertical axis logarithmic.
    #[must_use]
    pub fn log_y(mut self) -> Self {
        self.log_y = true;
        self
    }

    /// Adds a curve.
    #[must_use]
    pub fn series(mut self, name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        self.series.push(Series { name: name.into(), points, half_life: None, band: Vec::new(), bars: Vec::new() });
        self
    }

    /// Adds a noisy curve: faint points, and over them their average with this half-life in points.
    #[must_use]
    pub fn smoothed(mut self, name: impl Into<String>, points: Vec<(f64, f64)>, half_life: f64) -> Self {
        self.series.push(Series {
            name: name.into(),
            points,
            half_life: Some(half_life),
            band: Vec::new(),
            bars: Vec::new(),
        });
        self
    }

    /// Adds a curve with a band `(x, low, high)` filled behind it.
    #[must_use]
    pub fn banded(mut self, name: impl Into<String>, points: Vec<(f64, f64)>, band: Vec<(f64, f64, f64)>) -> Self {
        self.series.push(Series { name: name.into(), points, half_life: None, band, bars: Vec::new() });
        self
    }

    /// Adds a curve with an error bar `(x, low, high)` at each of its points.
    #[must_use]
    pub fn barred(mut self, name: impl Into<String>, points: Vec<(f64, f64)>, bars: Vec<(f64, f64, f64)>) -> Self {
        self.series.push(Series { name: name.into(), points, half_life: None, band: Vec::new(), bars });
        self
    }

    /// Draws the chart, 1,520 by 800 pixels. Without a single point it says so in the picture.
    pub fn render(&self) -> Result<RgbImage> {
        let mut canvas = Canvas::new(SIZE[0], SIZE[1], DENSITY)?;
        let title = canvas.fit(&self.title, 17.0, SIZE[0] - 48.0);
        canvas.text(&title, 24.0, 32.0, 17.0, INK, Anchor::Left);
        canvas.text(&self.y_label, 24.0, 60.0, 12.0, QUIET, Anchor::Left);
        canvas.text(&self.x_label, (PLOT[0] + PLOT[2]) / 2.0, 384.0, 12.0, QUIET, Anchor::Middle);

        let curves: Vec<Curve> = self.series.iter().map(|s| Curve::of(s, self.log_y)).collect();
        let Some((x, y)) = axes(&curves, self.log_y) else {
            let middle = (PLOT[1] + PLOT[3]) / 2.0;
            canvas.text("no data", (PLOT[0] + PLOT[2]) / 2.0, middle, 14.0, QUIET, Anchor::Middle);
            return Ok(canvas.image);
        };

        for (value, label) in y.ticks(5) {
            let at = y.place(value, PLOT[3], PLOT[1]);
            canvas.rect(PLOT[0], at, PLOT[2] - PLOT[0], 0.5, RULE);
            canvas.text(&label, PLOT[0] - 8.0, at + 4.0, 12.0, QUIET, Anchor::Right);
        }
        for (value, label) in x.ticks(8) {
            let at = x.place(value, PLOT[0], PLOT[2]);
            canvas.rect(at, PLOT[3], 0.5, 5.0, QUIET);
            canvas.text(&label, at, PLOT[3] + 18.0, 12.0, QUIET, Anchor::Middle);
        }
        canvas.rect(PLOT[0], PLOT[3], PLOT[2] - PLOT[0], 0.5, QUIET);

        let place = |points: &[(f64, f64)]| -> Vec<[f32; 2]> {
            points.iter().map(|&(px, py)| [x.place(px, PLOT[0], PLOT[2]), y.place(py, PLOT[3], PLOT[1])]).collect()
        };
        let clip = [PLOT[0], PLOT[1] - 2.0, PLOT[2] + 2.0, PLOT[3]];
        let colour = |i: usize| COLOURS[i % COLOURS.len()];
        for (i, curve) in curves.iter().enumerate() {
            for ends in curve.band.windows(2) {
                let at = |v: f64| y.place(v, PLOT[3], PLOT[1]);
                let [a, b] =
                    [ends[0], ends[1]].map(|(bx, low, high)| [x.place(bx, PLOT[0], PLOT[2]), at(high), at(low)]);
                // Columns of a pixel each, between the heights at its middle.
                let first = (a[0] * DENSITY).round() as i64;
                for column in first..(b[0] * DENSITY).round() as i64 {
                    let share = (((column as f32 + 0.5) / DENSITY - a[0]) / (b[0] - a[0])).clamp(0.0, 1.0);
                    let height = |k: usize| (a[k] + (b[k] - a[k]) * share).clamp(PLOT[1], PLOT[3]);
                    canvas.rect(
                        column as f32 / DENSITY,
                        height(1),
                        1.0 / DENSITY,
                        height(2) - height(1),
                        pale(colour(i)),
                    );
                }
            }
            if curve.smooth.is_some() {
                canvas.polyline(&place(&thin(&curve.points)), 1.0, faint(colour(i)), clip);
            }
        }
        for (i, curve) in curves.iter().enumerate() {
            let points = place(&thin(curve.smooth.as_ref().unwrap_or(&curve.points)));
            canvas.polyline(&points, 2.0, colour(i), clip);
            if let [only] = points[..] {
                canvas.polyline(&[only, only], 6.0, colour(i), clip);
            }
            for &(bx, low, high) in &curve.bars {
                let at = x.place(bx, PLOT[0], PLOT[2]);
                let [top, bottom] = [high, low].map(|v| y.place(v, PLOT[3], PLOT[1]));
                canvas.rect(at - BAR / 2.0, top, BAR, bottom - top, colour(i));
                for end in [top, bottom] {
                    canvas.rect(at - CAP, end - BAR / 2.0, 2.0 * CAP, BAR, colour(i));
                }
            }
        }
        self.legend(&mut canvas, colour);
        Ok(canvas.image)
    }

    /// Names of the curves, right of the vertical axis' label, the last one at the right edge.
    fn legend(&self, canvas: &mut Canvas, colour: impl Fn(usize) -> Rgb<u8>) {
        let mut right = PLOT[2];
        // The names share what the axis' label leaves.
        let taken = canvas.text_width(&self.y_label, 12.0).min(SIZE[0] / 2.0);
        let room = (right - 24.0 - taken - 24.0) / self.series.len().max(1) as f32;
        for (i, series) in self.series.iter().enumerate().rev() {
            let name = canvas.fit(&series.name, 12.0, room - 40.0);
            canvas.text(&name, right, 60.0, 12.0, INK, Anchor::Right);
            right -= canvas.text_width(&name, 12.0) + 24.0;
            canvas.polyline(&[[right, 56.0], [right + 16.0, 56.0]], 2.5, colour(i), [0.0, 0.0, SIZE[0], SIZE[1]]);
            right -= 20.0;
        }
    }
}

/// What of a series can be drawn.
struct Curve {
    points: Vec<(f64, f64)>,
    smooth: Option<Vec<(f64, f64)>>,
    band: Vec<(f64, f64, f64)>,
    bars: Vec<(f64, f64, f64)>,
}

impl Curve {
    fn of(series: &Series, log_y: bool) -> Self {
        let drawable = |&&(x, y): &&(f64, f64)| x.is_finite() && y.is_finite() && (!log_y || y > 0.0);
        let points: Vec<_> = series.points.iter().filter(drawable).copied().collect();
        let smooth = series.half_life.filter(|h| *h > 0.0).map(|half_life| smooth(&points, half_life));
        let fits = |&&(x, low, high): &&(f64, f64, f64)| {
            x.is_finite() && low.is_finite() && high.is_finite() && low <= high && (!log_y || low > 0.0)
        };
        // On a logarithmic axis a bar to zero or below goes down to a hundredth of its top.
        let cut = |&(x, low, high): &(f64, f64, f64)| (x, if log_y { low.max(high / 100.0) } else { low }, high);
        let bars: Vec<_> = series.bars.iter().map(cut).collect();
        let [band, bars] = [&series.band, &bars].map(|of| of.iter().filter(fits).copied().collect());
        Curve { points, smooth, band, bars }
    }
}

/// An average whose weights halve every `half_life` points to either side: no lag, and O(n).
fn smooth(points: &[(f64, f64)], half_life: f64) -> Vec<(f64, f64)> {
    let keep = 0.5f64.powf(1.0 / half_life);
    // Weighted sums of everything on one side, the point itself not counted.
    let side = |ys: &mut dyn Iterator<Item = f64>| -> Vec<[f64; 2]> {
        let (mut sum, mut weight) = (0.0, 0.0);
        ys.map(|y| {
            let before = [sum, weight];
            (sum, weight) = (keep * (sum + y), keep * (weight + 1.0));
            before
        })
        .collect()
    };
    let left = side(&mut points.iter().map(|p| p.1));
    let right = side(&mut points.iter().rev().map(|p| p.1));
    let sides = left.iter().zip(right.iter().rev());
    points.iter().zip(sides).map(|(p, (l, r))| (p.0, (l[0] + p.1 + r[0]) / (l[1] + 1.0 + r[1]))).collect()
}

/// Of many points, the lowest and highest of each of some 1,400 stretches: the same picture, quickly drawn.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const STRETCHES: usize = 1400;
    if points.len() <= 2 * STRETCHES {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(STRETCHES);
    let extremes = |part: &[(f64, f64)]| {
        let low = part.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut both: Vec<_> = low.into_iter().chain(high).collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both
    };
    points.chunks(stretch).flat_map(extremes).collect()
}

/// Both axes, or nothing without a point. Rare spikes of smoothed curves (the outermost 1 %) may leave the plot.
fn axes(curves: &[Curve], log_y: bool) -> Option<(Axis, Axis)> {
    let xs: Vec<f64> = curves.iter().flat_map(|c| c.points.iter().map(|p| p.0)).collect();
    let mut ys: Vec<f64> = curves.iter().flat_map(|c| c.band.iter().chain(&c.bars).flat_map(|b| [b.1, b.2])).collect();
    for curve in curves {
        match &curve.smooth {
            None => ys.extend(curve.points.iter().map(|p| p.1)),
            Some(smooth) => {
                ys.extend(smooth.iter().map(|p| p.1));
                let mut raw: Vec<f64> = curve.points.iter().map(|p| p.1).collect();
                raw.sort_by(f64::total_cmp);
                let spared = raw.len() / 100;
                ys.extend(&raw[spared..raw.len() - spared]);
            }
        }
    }
    let range = |values: &[f64]| {
        let (low, high) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
        Some((low, high))
    };
    let (x_low, x_high) = range(&xs)?;
    let (y_low, y_high) = range(&ys)?;
    let (y_low, y_high) = if log_y { (y_low.log10(), y_high.log10()) } else { (y_low, y_high) };
    // Steps that are counted from 1 or logged every so often still begin at 0.
    let x_low = if x_low > 0.0 && x_low < 0.1 * x_high { 0.0 } else { x_low };
    let x = Axis { whole: xs.iter().all(|x| x.fract() == 0.0), ..Axis::around(x_low, x_high, 0.0, false) };
    Some((x, Axis::around(y_low, y_high, 0.04, log_y)))
}

/// A third of the colour on paper.
fn faint(colour: Rgb<u8>) -> Rgb<u8> {
    on_paper(colour, 0.3)
}

/// What is filled behind a curve.
fn pale(colour: Rgb<u8>) -> Rgb<u8> {
    on_paper(colour, 0.16)
}

fn on_paper(colour: Rgb<u8>, share: f32) -> Rgb<u8> {
    Rgb(colour.0.map(|c| (f32::from(c) * share + 255.0 * (1.0 - share)).round() as u8))
}
