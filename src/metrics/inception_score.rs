//! The inception score (Salimans et al. 2016, arXiv 1606.03498), of any classifier's probabilities.

use super::{Real, Rows};
use crate::{Error, Result};

/// The score over the splits of a sample.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct InceptionScore {
    /// Mean over the splits.
    pub mean: f64,
    /// Standard deviation over the splits, divided by their number.
    pub std: f64,
}

/// `exp(mean_x KL(p(k|x) || p(k)))` over contiguous splits of the rows, usually 10; `probabilities` are `n` rows of
/// `classes`, used as they are.
///
/// High where each sample is classified clearly and all classes occur; it does not look at real data at all. Only on
/// probabilities of the Inception network is it the published score.
///
/// Errors on probabilities outside `[0, 1]`, rows that are not whole, and unless there is a row for each split.
pub fn inception_score<T: Real>(probabilities: &[T], classes: usize, splits: usize) -> Result<InceptionScore> {
    const NAME: &str = "inception_score";
    if splits == 0 {
        return Err(Error::argument(NAME, "splits must be at least 1, got 0"));
    }
    let rows = Rows::check(NAME, "probabilities", probabilities, classes, splits)?;
    if let Some(i) = probabilities.iter().position(|&p| !(0.0..=1.0 + 1e-5).contains(&p.into())) {
        let what = format!("row {}, class {}: {} is no probability", i / classes, i % classes, probabilities[i].into());
        return Err(Error::argument(NAME, what));
    }
    let n = rows.len();
    let scores: Vec<f64> = (0..splits)
        .map(|split| {
            let range = split * n / splits..(split + 1) * n / splits;
            let count = range.len() as f64;
            let mut marginal = vec![0.0; classes];
            for i in range.clone() {
                marginal.iter_mut().zip(rows.row(i)).for_each(|(sum, &p)| *sum += p.into());
            }
            marginal.iter_mut().for_each(|sum| *sum /= count);
            let divergence = |i: usize| -> f64 {
                let terms = rows.row(i).iter().zip(&marginal).map(|(&p, &q)| (p.into(), q));
                terms.filter(|&(p, _)| p > 0.0).map(|(p, q): (f64, f64)| p * (p.ln() - q.ln())).sum()
            };
            (range.map(divergence).sum::<f64>() / count).exp()
        })
        .collect();
    let mean = scores.iter().sum::<f64>() / splits as f64;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / splits as f64;
    Ok(InceptionScore { mean, std: variance.sqrt() })
}
