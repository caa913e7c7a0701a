//! What the numbers of an array are to a model: chosen from their type, their range and their spread.

use super::axes::Axes;
use super::npy::{Array, Kind, Type, Values};
use super::{Numbers, ReadOptions, Standardise, Units};
use crate::escape::escaped;
use crate::units::is_constant;

/// Floating-point images within this are taken to be in [-1, 1], for noise and samples leave it a little.
const NEAR_ONE: f64 = 2.0;
/// As far as values of images without a scale of their own may go.
const FAR: f64 = 16.0;
/// The brightest value of floating-point images from 0 to 255 is no smaller.
const BRIGHT: f64 = 64.0;
/// Numbers whose standard deviation lies between these are about unit size.
const UNIT: [f64; 2] = [0.1, 3.0];
/// Whole numbers that take up less than one part in so many of what their type holds are counts, not grey levels.
const NARROW: f64 = 8.0;

/// The units of numbers that nothing else says the units of. Errors, in words, where all are the same.
pub fn units(
    array: &Array,
    numbers: Type,
    axes: &Axes,
    [least, most]: [f64; 2],
    options: &ReadOptions,
) -> Result<Units, String> {
    let whole = match (numbers.kind, numbers.width) {
        (Kind::Unsigned, 1) => Numbers::Uint8,
        (Kind::Unsigned, 2) => Numbers::Uint16,
        (Kind::Signed, 2) => Numbers::Int16,
        _ => Numbers::Float,
    };
    if options.exact && whole == Numbers::Float && numbers.kind != Kind::Bool {
        return Ok(Units::plain());
    }
    let fits_bytes = least >= 0.0 && most <= 255.0;
    if let Some(of) = options.units.as_ref().filter(|of| of.ends().is_some()) {
        // The same numbers mean the same: words beside words, and truth values that came back as bytes.
        let truth = whole == Numbers::Uint8 && of.ends() == Some([0.0, 1.0]) && most <= 1.0;
        if truth || whole == of.numbers() && whole != Numbers::Float && whole != Numbers::Uint8 {
            return Ok(of.clone());
        }
    }
    match (options.standardise, numbers.kind) {
        (_, Kind::Bool) => return Ok(Units::spread(Numbers::Uint8, [0.0, 1.0])),
        (Standardise::None, Kind::Unsigned) if numbers.width == 1 => return Ok(Units::bytes()),
        (Standardise::None, _) => return Ok(Units::plain()),
        (Standardise::Auto, Kind::Unsigned) if numbers.width == 1 => return Ok(Units::bytes()),
        (Standardise::Auto, kind)
            if kind != Kind::Float && whole != Numbers::Uint16 && fits_bytes && !axes.are_points() =>
        {
            return Ok(Units::bytes());
        }
        _ => {}
    }
    if let (Standardise::Auto, Some([low, high]), false) = (options.standardise, whole.bounds(), axes.are_points())
        && most - least >= (high - low) / NARROW
    {
        return Ok(Units::spread(whole, [low, high]));
    }
    let each = match options.standardise {
        Standardise::Channel => true,
        Standardise::All => false,
        _ => axes.are_points(),
    };
    let moments = moments(array, axes, each);
    if let (Some(of), Kind::Float) = (&options.units, numbers.kind) {
        // Beside images of whole numbers floating-point numbers are of [-1, 1] or of those, whatever noise they have.
        let ends = of.ends().filter(|[low, high]| high - low > 2.0);
        let possible = ends.is_some_and(|[low, high]| match options.noisy {
            true => moments.iter().all(|[mean, _]| (low..=high).contains(mean)),
            false => least >= low && most <= high,
        });
        let spread = ends.is_some_and(|[low, high]| moments.iter().any(|[_, d]| *d >= (high - low) / 32.0));
        let bright = possible && spread;
        let far = match options.noisy {
            true => moments.iter().any(|[mean, _]| mean.abs() > FAR),
            false => least < -FAR || most > FAR,
        };
        if !bright && far {
            return Err(format!(
                "numbers from {least} to {most}, but the data (or the model) that they belong to are of about unit size: {of}"
            ));
        }
        return Ok(match (bright, of.numbers()) {
            (true, Numbers::Uint8) => Units::spread(Numbers::Float, [0.0, 255.0]),
            (true, _) => of.clone(),
            (false, _) => Units::plain(),
        });
    }
    if options.standardise == Standardise::Auto && numbers.kind == Kind::Float {
        let unit = |&[mean, deviation]: &[f64; 2]| {
            let spread = least == most || is_constant(&[mean, deviation]) || (UNIT[0]..=UNIT[1]).contains(&deviation);
            spread && mean.abs() <= UNIT[1].max(10.0 * deviation)
        };
        let plain = match (axes.are_points(), least < 0.0) {
            (true, _) => moments.iter().all(unit),
            (false, true) if options.noisy => {
                moments.iter().all(|[mean, deviation]| mean.abs() <= NEAR_ONE.max(deviation / 2.0))
            }
            (false, true) => least >= -FAR && most <= FAR && moments.iter().all(unit),
            (false, false) => most <= NEAR_ONE && moments.iter().all(unit),
        };
        if plain {
            return Ok(Units::plain());
        }
        if !axes.are_points() && least >= 0.0 && (BRIGHT..=255.0).contains(&most) {
            return Ok(Units::spread(Numbers::Float, [0.0, 255.0]));
        }
    }
    Units::standardising(whole, &moments).map_err(|channel| {
        let which = match (moments.len(), axes.are_points()) {
            (1, _) => "all numbers".into(),
            (_, true) => match options.columns.get(channel) {
                Some(name) => format!("all numbers of the column {}", escaped(name)),
                None => format!("all numbers of column {} (counted from 1)", channel + 1),
            },
            (_, false) => format!("all numbers of channel {channel} (counted from 0)"),
        };
        let rest = if moments.len() > 1 { "take it away, or set" } else { "there is nothing to learn; set" };
        format!(
            "{which} are {}, which has no scale: {rest} data.standardise = \"none\" to take them as they are",
            moments[channel][0]
        )
    })
}

/// Words on numbers that hardly belong to the data whose units they are to be in.
pub fn strange(array: &Array, axes: &Axes, units: &Units) -> Option<String> {
    // More than any noise that models are made for.
    const MOST: f64 = 100.0;
    // Data of the same kind have their mean within some standard deviations, which are 0.5.
    const OFF: f64 = 4.0;
    let far = |(channel, [mean, deviation]): (usize, &[f64; 2])| {
        let one = units.to_model(1.0, channel) - units.to_model(0.0, channel);
        deviation * one > MOST || units.to_model(*mean, channel).abs() > OFF
    };
    let moments = moments(array, axes, true);
    moments.iter().enumerate().any(far).then(|| {
        "these numbers lie so far from those that they are to belong to, by place or by spread, that they seem to be something else".into()
    })
}

/// Words on channels or columns in which nothing varies, beside others.
pub fn constant(array: &Array, axes: &Axes, options: &ReadOptions) -> Option<String> {
    let moments = moments(array, axes, true);
    let which: Vec<String> =
        (0..moments.len()).filter(|i| is_constant(&moments[*i])).map(|i| named(i, options)).collect();
    (!which.is_empty() && which.len() < moments.len()).then(|| {
        let what = if axes.are_points() { "column" } else { "channel" };
        format!("all numbers of {what} {} are the same: there is nothing to learn in them", which.join(", "))
    })
}

/// A channel by the name of its column, or counted from 1.
fn named(channel: usize, options: &ReadOptions) -> String {
    options.columns.get(channel).map_or_else(|| (channel + 1).to_string(), |name| escaped(name).to_string())
}

/// Mean and standard deviation of all numbers, or of those of each channel.
fn moments(array: &Array, axes: &Axes, each: bool) -> Vec<[f64; 2]> {
    let channels = if each { axes.size[2] } else { 1 };
    let channel = |place: usize| if each { axes.channel(place) } else { 0 };
    // Squares of tiny numbers would vanish, those of huge ones overflow.
    let largest = match &array.values {
        Values::F64(v) => v.iter().fold(0f64, |most, x| most.max(x.abs())),
        _ => 1.0,
    };
    let unit = if (1e-100..1e100).contains(&largest) || largest == 0.0 { 1.0 } else { largest };
    // Sums of large numbers round by more than those vary: what they are all near goes first.
    let mut near = vec![None; channels];
    let sums = |of: &mut dyn FnMut(usize, f64) -> f64| {
        let mut sums = vec![0f64; channels];
        let mut add = |(place, x): (usize, f64)| sums[channel(place)] += of(channel(place), x);
        match &array.values {
            Values::U8(v) => v.iter().map(|&x| x.into()).enumerate().for_each(&mut add),
            Values::I64(v) => v.iter().map(|&x| x as f64).enumerate().for_each(&mut add),
            Values::F32(v) => v.iter().map(|&x| x.into()).enumerate().for_each(&mut add),
            Values::F64(v) => v.iter().map(|x| x / unit).enumerate().for_each(&mut add),
        }
        let count = array.values.len() as f64 / channels as f64;
        sums.into_iter().map(|sum| sum / count).collect::<Vec<f64>>()
    };
    let off = sums(&mut |channel, x| x - *near[channel].get_or_insert(x));
    let near: Vec<f64> = near.into_iter().map(|near| near.unwrap_or(0.0)).collect();
    let variances = sums(&mut |channel, x| (x - near[channel] - off[channel]).powi(2));
    let moments = near.iter().zip(off).zip(variances);
    moments.map(|((near, off), variance)| [(near + off) * unit, variance.sqrt() * unit]).collect()
}

/// The mean correlation of neighbouring columns of a table.
pub fn resemblance(array: &Array) -> f64 {
    const ROWS: usize = 2000;
    let &[n, d] = &array.shape[..] else { return 0.0 };
    let stride = n.div_ceil(ROWS).max(1);
    let all = |i: usize| match &array.values {
        Values::U8(v) => v[i].into(),
        Values::I64(v) => v[i] as f64,
        Values::F32(v) => v[i].into(),
        Values::F64(v) => v[i],
    };
    let rows: Vec<usize> = (0..n).step_by(stride).collect();
    let column = |c: usize| -> Vec<f64> {
        let values: Vec<f64> = rows.iter().map(|row| all(row * d + c)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let centred: Vec<f64> = values.iter().map(|x| x - mean).collect();
        let norm = centred.iter().map(|x| x * x).sum::<f64>().sqrt();
        centred.iter().map(|x| if norm > 0.0 { x / norm } else { 0.0 }).collect()
    };
    let columns: Vec<Vec<f64>> = (0..d).map(column).collect();
    let product = |pair: &[Vec<f64>]| pair[0].iter().zip(&pair[1]).map(|(a, b)| a * b).sum::<f64>();
    columns.windows(2).map(product).sum::<f64>() / (d.max(2) - 1) as f64
}
