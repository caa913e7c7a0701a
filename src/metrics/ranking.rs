//! How well scores rank and predict any number of labels for a row.

use rayon::prelude::*;

use super::{Real, Rows, finite};
use crate::{Error, Result};

/// What the first `k` labels of a ranking are worth, as means over the rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtCutoff {
    /// How many labels are looked at.
    pub k: usize,
    /// `P@k`: the share of the first `k` that the row has.
    pub precision: f64,
    /// `R@k`: the share of the row's labels that are among the first `k`.
    pub recall: f64,
    /// `F@k`: the harmonic mean `2 P R / (P + R)` of the row's two, 0 where both are; then the mean over the rows.
    pub f: f64,
}

/// What [`ranking`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// One for each cut-off, in the order in which they were asked for.
    pub at: Vec<AtCutoff>,
    /// Mean average precision: for each row `(1/R) sum over its R labels of (labels up to its rank) / rank`.
    pub map: f64,
    /// Mean reciprocal rank of the row's label that comes first.
    pub mrr: f64,
    /// Rows that have a label, over which the means are taken.
    pub rows: usize,
    /// Rows without any, which have no place in a ranking.
    pub left_out: usize,
}

impl Ranking {
    /// The results for the cut-off `k`, if it was asked for.
    pub fn at(&self, k: usize) -> Option<AtCutoff> {
        self.at.iter().copied().find(|at| at.k == k)
    }
}

/// Ranks the labels of each row by falling score, of equal scores the first, and looks where those that the row has
/// come in it. `scores` and `targets` are `[n, labels]`, targets 0 or 1.
///
/// These are the measures of KDGAN's experiments with tags (Wang et al. 2018; its `metric.py`).
///
/// Errors on no rows, lengths that disagree, targets that are not 0 or 1, scores that are not finite, cut-offs that are
/// 0 or more than there are labels, and if no row has a label.
pub fn ranking<T: Real>(scores: &[T], targets: &[u8], labels: usize, cutoffs: &[usize]) -> Result<Ranking> {
    const NAME: &str = "ranking";
    let scores = checked(NAME, scores, targets, labels)?;
    if let Some(k) = cutoffs.iter().find(|&&k| k == 0 || k > labels) {
        return Err(Error::argument(NAME, format!("a cut-off of {k} with {labels} labels; give 1 to {labels}")));
    }
    // Each row's own numbers, then their sums in the order of the rows: the same bits on any number of threads.
    let found: Vec<Vec<usize>> =
        targets.par_chunks_exact(labels).enumerate().map(|(i, target)| ranks(scores.row(i), target)).collect();
    let mut at: Vec<AtCutoff> = cutoffs.iter().map(|&k| AtCutoff { k, precision: 0.0, recall: 0.0, f: 0.0 }).collect();
    let (mut map, mut mrr, mut rows) = (0.0, 0.0, 0);
    for ranks in found.iter().filter(|ranks| !ranks.is_empty()) {
        rows += 1;
        let positives = ranks.len() as f64;
        mrr += 1.0 / ranks[0] as f64;
        map += ranks.iter().zip(1..).map(|(&rank, hits)| f64::from(hits) / rank as f64).sum::<f64>() / positives;
        for at in &mut at {
            let hits = ranks.partition_point(|&rank| rank <= at.k) as f64;
            let (precision, recall) = (hits / at.k as f64, hits / positives);
            at.precision += precision;
            at.recall += recall;
            at.f += if hits > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        }
    }
    if rows == 0 {
        return Err(Error::argument(
            NAME,
            format!("none of {} rows has a label; there is nothing to rank", found.len()),
        ));
    }
    let mean = |sum: f64| sum / rows as f64;
    for at in &mut at {
        (at.precision, at.recall, at.f) = (mean(at.precision), mean(at.recall), mean(at.f));
    }
    Ok(Ranking { at, map: finite(NAME, mean(map))?, mrr: mean(mrr), rows, left_out: found.len() - rows })
}

/// The places from 1 on, rising, that the row's labels have.
fn ranks<T: Real>(scores: &[T], target: &[u8]) -> Vec<usize> {
    if !target.contains(&1) {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |i: usize| -> f64 { scores[i].into() };
    // A stable sort leaves equal scores in their order; + 0.0 makes one zero of two.
    order.sort_by(|&a, &b| (score(b) + 0.0).total_cmp(&(score(a) + 0.0)));
    order.into_iter().zip(1..).filter(|(label, _)| target[*label] == 1).map(|(_, rank)| rank).collect()
}

/// What [`multilabel_f1`] finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MultilabelF1 {
    /// `2 TP / (2 TP + FP + FN)` of the counts of all labels together.
    pub micro: f64,
    /// The mean over all labels of each one's own, 0 for a label that neither occurs nor is predicted.
    pub macro_mean: f64,
}

/// Predicts the labels whose score is at least `threshold`, and compares. `scores` and `targets` are `[n, labels]`,
/// targets 0 or 1.
///
/// Errors on no rows, lengths that disagree, targets that are not 0 or 1, and scores or a threshold that are not
/// finite.
pub fn multilabel_f1<T: Real>(scores: &[T], targets: &[u8], labels: usize, threshold: f64) -> Result<MultilabelF1> {
    const NAME: &str = "multilabel_f1";
    let scores = checked(NAME, scores, targets, labels)?;
    if !threshold.is_finite() {
        return Err(Error::argument(NAME, format!("a threshold of {threshold}; give a finite number")));
    }
    // For each label how often it was predicted rightly, and predictions and targets in all.
    let mut counts = vec![[0u64; 2]; labels];
    for (i, target) in targets.chunks_exact(labels).enumerate() {
        for ((counts, &score), &target) in counts.iter_mut().zip(scores.row(i)).zip(target) {
            let predicted = u8::from(score.into() >= threshold);
            counts[0] += u64::from(predicted & target);
            counts[1] += u64::from(predicted + target);
        }
    }
    // 2 TP + FP + FN is the number of predictions and targets.
    let f1 = |[right, all]: [u64; 2]| if all == 0 { 0.0 } else { 2.0 * right as f64 / all as f64 };
    let total = counts.iter().fold([0, 0], |sum, counts| [sum[0] + counts[0], sum[1] + counts[1]]);
    let macro_mean = counts.iter().map(|&counts| f1(counts)).sum::<f64>() / labels as f64;
    Ok(MultilabelF1 { micro: f1(total), macro_mean })
}

fn checked<'a, T: Real>(metric: &'static str, scores: &'a [T], targets: &[u8], labels: usize) -> Result<Rows<'a, T>> {
    let rows = Rows::check(metric, "scores", scores, labels, 1)?;
    if targets.len() != scores.len() {
        return Err(Error::shape(metric, format!("{} targets, one for each score", scores.len()), targets.len()));
    }
    match targets.iter().position(|&target| target > 1) {
        None => Ok(rows),
        Some(i) => {
            let what = format!("target {} of row {} is {}, expected 0 or 1", i % labels, i / labels, targets[i]);
            Err(Error::argument(metric, what))
        }
    }
}
