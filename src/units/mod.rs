//! What the numbers of a data set mean: how those of files become what a model sees, and back.

mod anscombe;
mod transform;

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::figures::significant;
use crate::{Error, Result};

pub use anscombe::Detector;
pub use transform::Transform;

/// What files of a data set hold, and what is written of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// Whole numbers from 0 to 255.
    Uint8,
    /// Whole numbers from 0 to 65535.
    Uint16,
    /// Whole numbers from -32768 to 32767.
    Int16,
    /// Any numbers.
    Float,
}

impl Numbers {
    /// The least and the greatest of whole numbers.
    pub fn bounds(self) -> Option<[f64; 2]> {
        match self {
            Numbers::Uint8 => Some([0.0, 255.0]),
            Numbers::Uint16 => Some([0.0, 65535.0]),
            Numbers::Int16 => Some([-32768.0, 32767.0]),
            Numbers::Float => None,
        }
    }

    /// The number next to `x` that is one of these.
    pub fn nearest(self, x: f64) -> f64 {
        self.bounds().map_or(x, |[low, high]| x.round_ties_even().clamp(low, high))
    }
}

/// The units of a data set: a number `x` of its files is `(x - offset) / scale` to a model, with an offset and a scale
/// for all channels or one of each for every channel.
///
/// Bytes are spread over [-1, 1]; floating-point images of about that size, and points of about unit size, are taken as
/// they are; all others are standardised, so that their standard deviation is 0.5, as of images in [-1, 1].
///
/// Where noise is that of counts, or multiplies, numbers are [transformed](Transform) before that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    numbers: Numbers,
    offset: Vec<f64>,
    scale: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transform: Option<Transform>,
}

/// The standard deviation of data that were standardised: that of images in [-1, 1].
const DEVIATION: f64 = 0.5;

impl Units {
    /// Numbers that are taken as they are.
    pub fn plain() -> Self {
        Units { numbers: Numbers::Float, offset: vec![0.0], scale: vec![1.0], transform: None }
    }

    /// Bytes: 0 becomes -1 and 255 becomes 1.
    pub fn bytes() -> Self {
        Self::spread(Numbers::Uint8, [0.0, 255.0])
    }

    /// `low` becomes -1 and `high` becomes 1.
    pub(crate) fn spread(numbers: Numbers, [low, high]: [f64; 2]) -> Self {
        Units { numbers, offset: vec![(low + high) / 2.0], scale: vec![(high - low) / 2.0], transform: None }
    }

    /// With an offset and a scale for all channels, or one for each. Errors unless every scale is positive and all are
    /// finite.
    pub fn new(numbers: Numbers, offset: Vec<f64>, scale: Vec<f64>) -> Result<Self> {
        let units = Units { numbers, offset, scale, transform: None };
        units.check().map_err(|what| Error::argument("Units::new", what))?;
        Ok(units)
    }

    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let same = self.offset.len() == self.scale.len() && !self.scale.is_empty();
        let sound = self.scale.iter().all(|scale| scale.is_finite() && *scale > 0.0);
        match same && sound && self.offset.iter().all(|offset| offset.is_finite()) {
            true => self.transform.as_ref().map_or(Ok(()), Transform::check),
            false => Err(format!("offsets {:?} and scales {:?}: scales must be above 0", self.offset, self.scale)),
        }
    }

    /// Those that bring channels of these means and standard deviations to mean 0 and deviation 0.5. The error names
    /// the channel in which all numbers are equal.
    pub(crate) fn standardising(numbers: Numbers, moments: &[[f64; 2]]) -> std::result::Result<Self, usize> {
        match moments.iter().position(is_constant) {
            Some(channel) => Err(channel),
            None => Ok(Units {
                numbers,
                offset: moments.iter().map(|[mean, _]| short(*mean, moments)).collect(),
                scale: moments.iter().map(|[_, deviation]| digits(deviation / DEVIATION, 4)).collect(),
                transform: None,
            }),
        }
    }

    /// The same for one channel more, which is spread as `alpha` is.
    #[cfg(feature = "formats")]
    pub(crate) fn beside_alpha(&self, channels: usize, alpha: &Units) -> Self {
        let of = |i: usize| if i + 1 == channels { alpha.of(0) } else { self.of(i) };
        let (offset, scale) = (0..channels).map(of).unzip();
        Units { numbers: self.numbers, offset, scale, transform: None }
    }

    /// The same behind a transform, of whose results offset and scale are then those.
    #[must_use]
    pub fn after(self, transform: Transform) -> Self {
        Units { transform: Some(transform), ..self }
    }

    /// What is done to numbers before they are shifted and scaled.
    pub fn transform(&self) -> Option<&Transform> {
        self.transform.as_ref()
    }

    /// What files hold.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Whether numbers are taken as they are.
    pub fn is_plain(&self) -> bool {
        self.transform.is_none()
            && self.offset.iter().all(|offset| *offset == 0.0)
            && self.scale.iter().all(|scale| *scale == 1.0)
    }

    /// Whether a model sees these numbers as they are or spread over [-1, 1].
    pub fn is_unit_size(&self) -> bool {
        self.is_plain() || self.ends().is_some()
    }

    /// The numbers that become -1 and 1, where these are the ends of what images can hold: all that whole numbers of
    /// their kind can be, 0 and 1 of truth values, 0 and 255 of floating-point images.
    pub fn ends(&self) -> Option<[f64; 2]> {
        let (&[offset], &[scale]) = (&self.offset[..], &self.scale[..]) else { return None };
        if self.transform.is_some() {
            return None;
        }
        let ends = [offset - scale, offset + scale];
        let of_float = self.numbers == Numbers::Float && ends == [0.0, 255.0];
        (self.numbers == Numbers::Uint8 || self.numbers.bounds() == Some(ends) || of_float).then_some(ends)
    }

    /// Offset and scale of a channel.
    fn of(&self, channel: usize) -> (f64, f64) {
        let i = if self.scale.len() == 1 { 0 } else { channel };
        (self.offset[i], self.scale[i])
    }

    /// A number of a file as a model sees it: one without noise, where there is a transform.
    pub fn to_model(&self, x: f64, channel: usize) -> f64 {
        let (offset, scale) = self.of(channel);
        (self.transform.as_ref().map_or(x, |transform| transform.of_mean(x)) - offset) / scale
    }

    /// As [`to_model`](Self::to_model), of a number that has noise; `sigma` is its level, which only that of
    /// multiplicative noise matters of.
    pub(crate) fn noisy_to_model(&self, x: f64, sigma: f64, channel: usize) -> f64 {
        let (offset, scale) = self.of(channel);
        (self.transform.as_ref().map_or(x, |transform| transform.of_noisy(x, sigma)) - offset) / scale
    }

    /// What a model gives, as a file of the data set would hold it but for rounding to whole numbers.
    pub fn to_user(&self, x: f64, channel: usize) -> f64 {
        let (offset, scale) = self.of(channel);
        let x = x * scale + offset;
        self.transform.as_ref().map_or(x, |transform| transform.to_mean(x)[0])
    }

    /// Values of a model with `channels` innermost, in these units.
    pub fn all_to_user(&self, values: &[f32], channels: usize) -> Vec<f32> {
        match self.is_plain() {
            true => values.to_vec(),
            false => {
                let user = |(i, &x): (usize, &f32)| self.to_user(x.into(), i % channels) as f32;
                values.iter().enumerate().map(user).collect()
            }
        }
    }

    /// As [`all_to_user`](Self::all_to_user), in f64.
    pub fn all_to_user_f64(&self, values: &[f32], channels: usize) -> Vec<f64> {
        values.iter().enumerate().map(|(i, &x)| self.to_user(x.into(), i % channels)).collect()
    }

    /// Whether 32 bits are too few for these numbers: their spread would be lost beside their offset.
    pub fn need_f64(&self) -> bool {
        let far = |(offset, scale): (&f64, &f64)| offset.abs() > 1e4 * scale;
        let extreme = |x: &f64| !(1e-30..1e30).contains(x);
        match &self.transform {
            Some(transform) => transform.needs_f64(&self.offset, &self.scale),
            None => self.offset.iter().zip(&self.scale).any(far) || self.scale.iter().any(extreme),
        }
    }

    /// What a noise level in units of the user is divided by for the model. Of bytes it is 1, for their noise is said
    /// in [-1, 1]; where channels have scales of their own a level is in standard deviations of each; behind a
    /// transform it is of what that gives.
    pub fn of_noise(&self) -> f64 {
        match (self.numbers, &self.scale[..]) {
            (_, &[scale]) if self.transform.is_some() => scale,
            (Numbers::Uint8, _) => 1.0,
            _ if self.are_of_channels() => 1.0 / DEVIATION,
            (_, scale) => scale.first().copied().unwrap_or(1.0),
        }
    }

    /// In words what a distance between what a model sees is in, once it is multiplied by
    /// [`of_noise`](Self::of_noise).
    pub fn of_distances(&self) -> String {
        match (self.numbers, self.ends()) {
            (Numbers::Uint8, Some([low, high])) => format!("on the scale of [-1, 1] for {low} to {high}"),
            _ if self.are_of_channels() => "in standard deviations of each column or channel".into(),
            _ => "in the units of the data".into(),
        }
    }

    /// Whether channels have scales of their own.
    pub fn are_of_channels(&self) -> bool {
        self.scale.iter().any(|scale| *scale != self.scale[0])
    }

    /// `ln` of the volume that a model's unit volume at a sample `x` of it has in these units, with `channels`
    /// innermost: what a log-density of the model is above that of the user's numbers.
    pub fn log_volume(&self, x: &[f32], channels: usize) -> f64 {
        let of = |(i, &x): (usize, &f32)| {
            let (offset, scale) = self.of(i % channels);
            let x = f64::from(x) * scale + offset;
            scale.ln() + self.transform.as_ref().map_or(0.0, |transform| transform.to_mean(x)[1].ln())
        };
        x.iter().enumerate().map(of).sum()
    }

    /// Errors unless these are units for so many channels.
    pub(crate) fn check_channels(&self, channels: usize) -> Result<()> {
        self.check().map_err(|what| Error::argument("units", what))?;
        match self.scale.len() == 1 || self.scale.len() == channels {
            true => Ok(()),
            false => Err(Error::argument("units", format!("{} scales for {channels} channels", self.scale.len()))),
        }
    }
}

/// Whether numbers of this mean and standard deviation are all the same: what is left of rounding is no spread.
pub(crate) fn is_constant([mean, deviation]: &[f64; 2]) -> bool {
    *deviation <= 1e-14 * mean.abs() || !deviation.is_normal()
}

fn formula(offset: f64, scale: f64) -> String {
    format!("(x - {}) / {}", significant(offset, 15), significant(scale, 6))
}

/// A mean to as many digits as matter beside the smallest spread.
fn short(mean: f64, moments: &[[f64; 2]]) -> f64 {
    let least = moments.iter().map(|[_, deviation]| *deviation).fold(f64::INFINITY, f64::min);
    let needed = (mean.abs() / least).log10().ceil().clamp(0.0, 12.0) as usize + 3;
    digits(mean, needed)
}

/// To so many digits.
fn digits(x: f64, count: usize) -> f64 {
    format!("{x:.*e}", count - 1).parse().unwrap_or(x)
}

impl Default for Units {
    fn default() -> Self {
        Self::plain()
    }
}

impl Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.is_plain() {
            return write!(f, "taken as they are");
        }
        if let Some(transform) = &self.transform {
            write!(f, "{transform}, then ")?;
        }
        match (self.ends(), &self.offset[..], &self.scale[..]) {
            (Some([low, high]), _, _) => write!(f, "{low} to {high} is read as [-1, 1]"),
            (_, &[offset], &[scale]) => write!(f, "standardised: {}", formula(offset, scale)),
            (_, offsets, scales) => {
                let shown = offsets.iter().zip(scales).take(3).map(|(&offset, &scale)| formula(offset, scale));
                let more = if scales.len() > 3 { ", …" } else { "" };
                write!(f, "each channel standardised: {}{more}", shown.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_what_a_model_sees() {
        let units = Units::standardising(Numbers::Float, &[[1200.0, 300.0], [-3e-5, 2e-6]]).unwrap();
        assert_eq!(units, Units::new(Numbers::Float, vec![1200.0, -3e-5], vec![600.0, 4e-6]).unwrap());
        for (x, channel, seen) in [(1500.0, 0, 0.5), (-2.8e-5, 1, 0.5)] {
            approx::assert_relative_eq!(units.to_model(x, channel), seen, max_relative = 1e-9);
            approx::assert_relative_eq!(units.to_user(seen, channel), x, max_relative = 1e-9);
        }
        assert_eq!(units.all_to_user(&[0.5, 0.0], 2), [1500.0, -3e-5]);
        approx::assert_relative_eq!(
            units.log_volume(&[0.0; 4], 2),
            2.0 * (600f64.ln() + 4e-6f64.ln()),
            max_relative = 1e-12
        );
        assert_eq!((units.of_noise(), units.are_of_channels()), (2.0, true));
        assert_eq!(Units::bytes().to_model(255.0, 7), 1.0);
        assert_eq!((Units::bytes().of_noise(), Units::plain().of_noise()), (1.0, 1.0));
        assert_eq!(Units::new(Numbers::Uint16, vec![400.0], vec![50.0]).unwrap().of_noise(), 50.0);
    }

    #[test]
    fn what_they_are_can_be_read() {
        assert_eq!(Units::bytes().to_string(), "0 to 255 is read as [-1, 1]");
        assert_eq!(Units::plain().to_string(), "taken as they are");
        let counts = Units::standardising(Numbers::Uint16, &[[352.1234, 141.98765]]).unwrap();
        assert_eq!(counts.to_string(), "standardised: (x - 352.1) / 284");
        let words = Units::spread(Numbers::Uint16, [0.0, 65535.0]);
        assert_eq!(words.to_string(), "0 to 65535 is read as [-1, 1]");
        assert_eq!(Units::bytes().of_distances(), "on the scale of [-1, 1] for 0 to 255");
        assert_eq!([counts, words].map(|units| units.of_distances()), ["in the units of the data"; 2]);
        let columns = Units::standardising(Numbers::Float, &[[0.0, 1.0], [5.0, 2.0]]).unwrap();
        assert_eq!(columns.of_distances(), "in standard deviations of each column or channel");
    }

    #[test]
    fn a_constant_channel_has_no_scale() {
        assert_eq!(Units::standardising(Numbers::Float, &[[0.0, 1.0], [5.0, 0.0]]), Err(1));
        assert_eq!(Units::standardising(Numbers::Float, &[[1e9, 1e-7]]), Err(0));
        let far = Units::standardising(Numbers::Float, &[[1e12, 0.8]]).unwrap();
        approx::assert_relative_eq!(far.to_model(1e12 + 0.8, 0), 0.5, max_relative = 1e-3);
        assert!(Units::new(Numbers::Float, vec![0.0], vec![0.0]).is_err());
        assert!(Units::new(Numbers::Float, vec![0.0], vec![]).is_err());
    }

    #[test]
    fn what_is_written_is_of_the_data_set_s_kind() {
        assert_eq!(Numbers::Uint8.nearest(255.9), 255.0);
        assert_eq!(Numbers::Int16.nearest(-7.6), -8.0);
        assert_eq!(Numbers::Float.nearest(0.25), 0.25);
    }

    #[test]
    fn a_transform_comes_first_and_is_kept() {
        let detector = Detector { gain: 2.5, offset: 100.0, read_noise: 3.0 };
        let counts = Units::new(Numbers::Uint16, vec![12.0], vec![8.0]).unwrap().after(Transform::counts(detector));
        let logarithms = Units::new(Numbers::Float, vec![-2.0], vec![3.0]).unwrap().after(Transform::logarithm());
        for (units, x) in [(&counts, 350.0), (&logarithms, 0.02)] {
            approx::assert_relative_eq!(units.to_user(units.to_model(x, 0), 0), x, max_relative = 1e-7);
            assert!(!units.is_plain() && !units.is_unit_size() && units.ends().is_none() && !units.need_f64());
            assert_eq!(&serde_json::from_str::<Units>(&serde_json::to_string(units).unwrap()).unwrap(), units);
            // The slope of the inverse, in the volume.
            let (seen, h) = (units.to_model(x, 0), 1e-3);
            let slope = (units.to_user(seen + h, 0) - units.to_user(seen - h, 0)) / (2.0 * h);
            approx::assert_relative_eq!(units.log_volume(&[seen as f32], 1), slope.ln(), epsilon = 1e-4);
        }
        assert_eq!((counts.of_noise(), logarithms.of_noise()), (8.0, 3.0));
        approx::assert_relative_eq!(logarithms.to_model(0.5, 0), (0.5f64.ln() + 2.0) / 3.0, max_relative = 1e-12);
        // Multiplicative noise of mean 1 has log-mean -sigma^2/2.
        approx::assert_relative_eq!(logarithms.noisy_to_model(0.5, 0.4, 0), (0.5f64.ln() + 2.08) / 3.0);
        let said = "stabilised as counts (gain 2.5, offset 100, read-out noise 3), then standardised: (x - 12) / 8";
        assert_eq!(counts.to_string(), said);
        let bad = Units::plain().after(Transform::counts(Detector { gain: 0.0, ..detector }));
        assert!(bad.check().unwrap_err().contains("gain 0"));
        assert_eq!(
            Units::plain(),
            serde_json::from_str(r#"{"numbers":"float","offset":[0.0],"scale":[1.0]}"#).unwrap()
        );
    }
}
