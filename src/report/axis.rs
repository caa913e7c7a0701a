//! Axes: the range that one covers, and round numbers on it.

/// One axis: the range it covers, in logarithms if it is logarithmic.
pub(super) struct Axis {
    pub low: f64,
    pub high: f64,
    pub log: bool,
    /// What is counted (steps, rounds) has ticks at whole numbers only.
    pub whole: bool,
}

impl Axis {
    pub fn around(low: f64, high: f64, air: f64, log: bool) -> Self {
        let mut half = (high / 2.0 - low / 2.0) * (1.0 + 2.0 * air);
        let middle = low / 2.0 + high / 2.0;
        if half <= middle.abs() * 1e-9 {
            half = if log || middle == 0.0 { 0.5 } else { middle.abs() * 0.1 };
        }
        Axis { low: middle - half, high: middle + half, log, whole: false }
    }

    /// The position of `value` on the stretch `from..to` of the picture; far outside values stay near it.
    pub fn place(&self, value: f64, from: f32, to: f32) -> f32 {
        let value = if self.log { value.log10() } else { value };
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        from + (to - from) * share.clamp(-1.0, 2.0) as f32
    }

    /// About `wanted` round values inside the axis, with their labels.
    pub fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
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
