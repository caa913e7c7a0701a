//! How well a classifier does: accuracy, likelihood, calibration, confusions.

use super::{Real, Rows};
use crate::{Error, Result};

/// What [`classification`] finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Classification {
    /// Share of rows whose largest logit is at the label; of equal logits the first counts.
    pub accuracy: f64,
    /// Mean of `-log softmax(logits)[label]`, in nats.
    pub nll: f64,
    /// Expected calibration error: `sum_b (n_b/n) |accuracy_b - confidence_b|` over equal bins `(b/bins, (b+1)/bins]`
    /// of the largest probability.
    pub ece: f64,
}

/// Scores logits `[n, classes]` against `n` labels. `bins` is for the calibration error; 15 is usual.
///
/// Errors on no rows, labels out of range, lengths that disagree, no bins, and logits that are not finite.
pub fn classification<T: Real>(logits: &[T], classes: usize, labels: &[u32], bins: usize) -> Result<Classification> {
    const NAME: &str = "classification";
    let rows = Rows::check(NAME, "logits", logits, classes, 1)?;
    check_labels(NAME, labels, rows.len(), classes)?;
    if bins == 0 {
        return Err(Error::argument(NAME, "0 bins; give at least 1"));
    }
    let (mut hits, mut nll) = (0usize, 0.0);
    let mut calibration = vec![(0.0, 0.0); bins];
    for (i, &label) in labels.iter().enumerate() {
        let row: Vec<f64> = rows.row(i).iter().map(|&v| v.into()).collect();
        let best = argmax(&row);
        let total: f64 = row.iter().map(|v| (v - row[best]).exp()).sum();
        let hit = best == label as usize;
        hits += usize::from(hit);
        nll += total.ln() - (row[label as usize] - row[best]);
        let confidence = 1.0 / total;
        let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        calibration[bin].0 += f64::from(u8::from(hit));
        calibration[bin].1 += confidence;
    }
    let n = labels.len() as f64;
    let ece = calibration.iter().map(|(hits, confidence)| (hits - confidence).abs()).sum::<f64>() / n;
    Ok(Classification { accuracy: hits as f64 / n, nll: nll / n, ece })
}

const MAX_CONFUSED: usize = 4096;

/// How often each class was taken for each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Confusion {
    counts: Vec<u64>,
    classes: usize,
}

impl Confusion {
    /// Counts the arg max of logits `[n, classes]` (of equal logits the first) against `n` labels.
    ///
    /// Errors as [`classification`], and on more than 4,096 classes.
    pub fn new<T: Real>(logits: &[T], classes: usize, labels: &[u32]) -> Result<Self> {
        const NAME: &str = "Confusion::new";
        let rows = Rows::check(NAME, "logits", logits, classes, 1)?;
        check_labels(NAME, labels, rows.len(), classes)?;
        if classes > MAX_CONFUSED {
            return Err(Error::argument(
                NAME,
                format!("{classes} classes make a table too large; at most {MAX_CONFUSED}"),
            ));
        }
        let mut counts = vec![0; classes * classes];
        for (i, &label) in labels.iter().enumerate() {
            let row: Vec<f64> = rows.row(i).iter().map(|&v| v.into()).collect();
            counts[label as usize * classes + argmax(&row)] += 1;
        }
        Ok(Confusion { counts, classes })
    }

    /// How many rows of class `label` were predicted to be `predicted`; 0 for classes out of range.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        if predicted < self.classes {
            self.counts.get(label * self.classes + predicted).copied().unwrap_or(0)
        } else {
            0
        }
    }

    /// Share of all rows on the diagonal.
    pub fn accuracy(&self) -> f64 {
        let diagonal: u64 = (0..self.classes).map(|c| self.count(c, c)).sum();
        diagonal as f64 / self.counts.iter().sum::<u64>() as f64
    }

    /// Share of the rows of each class that were recognised; `None` for a class without rows.
    pub fn recall(&self) -> Vec<Option<f64>> {
        (0..self.classes)
            .map(|c| {
                let rows: u64 = (0..self.classes).map(|other| self.count(c, other)).sum();
                (rows > 0).then(|| self.count(c, c) as f64 / rows as f64)
            })
            .collect()
    }
}

fn check_labels(metric: &'static str, labels: &[u32], rows: usize, classes: usize) -> Result<()> {
    if labels.len() != rows {
        return Err(Error::shape(metric, format!("{rows} labels"), labels.len()));
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(i) => Err(Error::argument(metric, format!("label {} of row {i} with {classes} classes", labels[i]))),
        None => Ok(()),
    }
}

fn argmax(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}
