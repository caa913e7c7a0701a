//! Line charts: how a quantity went over the steps.

use image::{Rgb, RgbImage};

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
/// Okabe and Ito's palette, which all kinds of colour vision can tell apart.
const COLOURS: [Rgb<u8>; 6] = [
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
        self.series.push(Series { name: name.into(), points, half_life: None, band: Vec::new() });
        self
    }

    /// Adds a noisy curve: faint points, and over them their average with this half-life in points.
    #[must_use]
    pub fn smoothed(mut self, name: impl Into<String>, points: Vec<(f64, f64)>, half_life: f64) -> Self {
        self.series.push(Series { name: name.into(), points, half_life: Some(half_life), band: Vec::new() });
        self
    }

    /// Adds a curve with a band `(x, low, high)` filled behind it.
    #[must_use]
    pub fn banded(mut self, name: impl Into<String>, points: Vec<(f64, f64)>, band: Vec<(f64, f64, f64)>) -> Self {
        self.series.push(Series { name: name.into(), points, half_life: None, band });
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
}

impl Curve {
    fn of(series: &Series, log_y: bool) -> Self {
        let drawable = |&&(x, y): &&(f64, f64)| x.is_finite() && y.is_finite() && (!log_y || y > 0.0);
        let points: Vec<_> = series.points.iter().filter(drawable).copied().collect();
        let smooth = series.half_life.filter(|h| *h > 0.0).map(|half_life| smooth(&points, half_life));
        let fits = |&&(x, low, high): &&(f64, f64, f64)| {
            x.is_finite() && low.is_finite() && high.is_finite() && low <= high && (!log_y || low > 0.0)
        };
        Curve { points, smooth, band: series.band.iter().filter(fits).copied().collect() }
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

/// One axis: the range it covers, in logarithms if it is logarithmic.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// What is counted (steps, rounds) has ticks at whole numbers only.
    whole: bool,
}

/// Both axes, or nothing without a point. Rare spikes of smoothed curves (the outermost 1 %) may leave the plot.
fn axes(curves: &[Curve], log_y: bool) -> Option<(Axis, Axis)> {
    let xs: Vec<f64> = curves.iter().flat_map(|c| c.points.iter().map(|p| p.0)).collect();
    let mut ys: Vec<f64> = curves.iter().flat_map(|c| c.band.iter().flat_map(|b| [b.1, b.2])).collect();
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

impl Axis {
    fn around(low: f64, high: f64, air: f64, log: bool) -> Self {
        let mut half = (high / 2.0 - low / 2.0) * (1.0 + 2.0 * air);
        let middle = low / 2.0 + high / 2.0;
        if half <= middle.abs() * 1e-9 {
            half = if log || middle == 0.0 { 0.5 } else { middle.abs() * 0.1 };
        }
        Axis { low: middle - half, high: middle + half, log, whole: false }
    }

    /// The position of `value` on the stretch `from..to` of the picture; far outside values stay near it.
    fn place(&self, value: f64, from: f32, to: f32) -> f32 {
        let value = if self.log { value.log10() } else { value };
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        from + (to - from) * share.clamp(-1.0, 2.0) as f32
    }

    /// About `wanted` round values inside the axis, with their labels.
    fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        if self.log && self.high - self.low >= 0.7 {
            let decades = self.high - self.low;
            let steps: &[f64] = match decades {
                ..1.5 => &[1.0, 2.0, 3.0, 5.0, 7.0],
                1.5..3.5 => &[1.0, 3.0],
                _ => &[1.0],
            };
            let every = (decades / 8.0).ceil().max(1.0) as i32;
            return (self.low.floor() as i32..=self.high.ceil() as i32)
                .filter(|decade| decade.rem_euclid(every) == 0)
                .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
                .filter(|v| (self.low..=self.high).contains(&v.log10()))
                .map(|v| (v, number(v, 10f64.powf(v.log10().floor()), v)))
                .collect();
        }
        let (low, high) = if self.log { (10f64.powf(self.low), 10f64.powf(self.high)) } else { (self.low, self.high) };
        let rough = high / wanted as f64 - low / wanted as f64;
        if !rough.is_normal() || low + rough == low || high - rough == high {
            return vec![(low, number(low, low.abs() * 1e-3, low.abs()))];
        }
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * power).find(|s| *s >= rough).unwrap_or(rough);
        let step = if self.whole { step.max(1.0) } else { step };
        let first = (low / step).ceil();
        let count = ((high / step).floor() - first).clamp(0.0, 20.0) as usize;
        let largest = low.abs().max(high.abs());
        (0..=count).map(|i| (first + i as f64) * step).map(|v| (v, number(v, step, largest))).collect()
    }
}

/// A label with the digits that tell ticks `step` apart; scientific where the largest on the axis is very large or
/// small.
fn number(value: f64, step: f64, largest: f64) -> String {
    if value.abs() < step * 1e-6 {
        return "0".into();
    }
    let decade = |v: f64| if v > 0.0 { (v.log10() + 1e-9).floor() } else { 0.0 };
    if !(1e-3..1e7).contains(&largest) {
        let digits = (decade(value.abs()) - decade(step)).clamp(0.0, 6.0) as usize;
        return format!("{value:.digits$e}");
    }
    let (value, step, suffix) =
        if step >= 1e3 && largest >= 1e4 { (value / 1e3, step / 1e3, "k") } else { (value, step, "") };
    format!("{value:.*}{suffix}", (-decade(step)).clamp(0.0, 6.0) as usize)
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
