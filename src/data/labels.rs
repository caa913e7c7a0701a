//! From arrays of numbers to classes.

use super::npy::{Array, Values};

/// More classes than any data have: a number beyond is no label. Networks take as many.
pub(super) const MAX_CLASSES: usize = 1 << 20;
/// A class is missed by chance, not on purpose, where each has so many images on average.
const ENOUGH: usize = 10;

/// The class of each of `count` images, and how many classes there are at least: whole numbers `[n]` or `[n, 1]`, or
/// one-hot `[n, classes]`.
///
/// Errors, in words, on anything else.
pub(super) fn classes(labels: &Array, count: usize) -> Result<(Vec<u32>, usize), String> {
    let shape = &labels.shape;
    let (rows, width) = match shape[..] {
        [n] => (n, 1),
        [n, width] => (n, width),
        _ => return Err(format!("labels {shape:?}, expected [n], [n, 1], or one-hot [n, classes]")),
    };
    if rows != count {
        return Err(format!("{rows} labels {shape:?} for {count} images; there must be one for each"));
    }
    if width > 1 {
        return one_hot(labels, width);
    }
    let label = |row: usize, x: f64, shown: String| {
        let what = format!("labels are classes from 0 to {}", MAX_CLASSES - 1);
        match x.fract() == 0.0 && (0.0..MAX_CLASSES as f64).contains(&x) {
            true => Ok(x as u32),
            false => Err(format!("label {shown} of row {row}; {what}")),
        }
    };
    let found: Result<Vec<u32>, String> = match &labels.values {
        Values::I64(v) => v.iter().enumerate().map(|(row, &x)| label(row, x as f64, x.to_string())).collect(),
        _ => labels.to_f64().into_iter().enumerate().map(|(row, x)| label(row, x, x.to_string())).collect(),
    };
    let found = found?;
    let classes = 1 + found.iter().copied().max().unwrap_or(0) as usize;
    Ok((found, classes))
}

fn one_hot(labels: &Array, width: usize) -> Result<(Vec<u32>, usize), String> {
    if width > MAX_CLASSES {
        return Err(format!("labels {:?}: {width} classes, at most {MAX_CLASSES}", labels.shape));
    }
    let class = |(row, values): (usize, &[f64])| {
        let mut set = values.iter().enumerate().filter(|(_, x)| **x != 0.0);
        match (set.next(), set.next()) {
            (Some((class, 1.0)), None) => Ok(class as u32),
            _ => Err(format!(
                "labels {:?}: row {row} is not one-hot, which is zeros and a single 1; labels are [n], or one-hot [n, classes]",
                labels.shape
            )),
        }
    };
    let found: Result<Vec<u32>, String> = labels.to_f64().chunks_exact(width).enumerate().map(class).collect();
    Ok((found?, width))
}

/// Labels of a data set that may count from 1, as those of EMNIST's letters do.
///
/// They are taken to do so if there are two classes at least, all from 1 to the last occur, 0 does not, and that is no
/// chance: each label is then less by one, and `names` the numbers in the file. Else nothing happens.
pub(super) fn from_one(parts: &mut [&mut Vec<u32>], classes: &mut usize) -> Option<(Vec<String>, String)> {
    let last = *classes - 1;
    let count = parts.iter().map(|labels| labels.len()).sum::<usize>();
    if last < 2 || count < ENOUGH * last {
        return None;
    }
    let mut occurs = vec![false; *classes];
    parts.iter().flat_map(|labels| labels.iter()).for_each(|&label| occurs[label as usize] = true);
    if occurs[0] || !occurs[1..].iter().all(|&occurs| occurs) {
        return None;
    }
    parts.iter_mut().flat_map(|labels| labels.iter_mut()).for_each(|label| *label -= 1);
    *classes = last;
    let names = (1..=last).map(|label| label.to_string()).collect();
    Some((names, format!("labels 1 to {last} count from 0 here, and their classes are named by them")))
}
