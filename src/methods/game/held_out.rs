//! How well a player does on what nobody is trained on.

use serde::{Deserialize, Serialize};

use crate::autograd::Var;
use crate::error::Result;
use crate::metrics::{Confusion, classification, ranking};
use crate::tensor::{Device, Tensor};

/// Rows that nothing is trained on.
#[derive(Debug, Clone)]
pub struct HeldOut {
    /// The student's view, `[n, ...]`, on the CPU.
    pub student: Tensor,
    /// The teacher's.
    pub teacher: Tensor,
    /// What is true of them.
    pub truth: Truth,
}

/// What is true of rows.
#[derive(Debug, Clone)]
pub enum Truth {
    /// The class of each.
    Class(Vec<u32>),
    /// Which labels each has, `[n, k]` of 0 and 1.
    Labels(Vec<u8>),
}

/// How well logits do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scores {
    /// Of rows with one class each.
    Class {
        /// Share of rows whose class has the largest logit.
        accuracy: f64,
        /// Mean of `-log p` of the class, in nats.
        nll: f64,
        /// Expected calibration error over 15 bins.
        ece: f64,
        /// How often each class (row) was taken for each (column); empty where the classes are too many for a table.
        confusion: Vec<Vec<u64>>,
    },
    /// Of rows with any number of labels each, as their ranking by logits.
    Labels {
        /// Share of the first 3 that the row has.
        p_at_3: f64,
        /// Share of the first 5.
        p_at_5: f64,
        /// Harmonic mean of precision and recall of the first 3.
        f_at_3: f64,
        /// Of the first 5.
        f_at_5: f64,
        /// Mean average precision.
        map: f64,
        /// Mean reciprocal rank.
        mrr: f64,
        /// Rows without a label, which have no place in a ranking.
        left_out: usize,
    },
}

/// Classes of which a table of confusions is kept at most: of more nobody reads it, and a file of it is large.
const MOST_CONFUSED: usize = 1000;

/// Rows that a network sees at once outside of training.
const AT_ONCE: usize = 500;

impl Scores {
    /// The figure that a curve shows: accuracy, or mean average precision.
    pub fn headline(&self) -> f64 {
        match self {
            Scores::Class { accuracy, .. } => *accuracy,
            Scores::Labels { map, .. } => *map,
        }
    }

    /// Share of rows whose class is recognised, where rows have one class.
    pub fn accuracy(&self) -> Option<f64> {
        match self {
            Scores::Class { accuracy, .. } => Some(*accuracy),
            Scores::Labels { .. } => None,
        }
    }

    /// The figures that a table shows, with their names.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        match self {
            Scores::Class { accuracy, nll, ece, .. } => {
                vec![("accuracy", *accuracy), ("nats a label", *nll), ("calibration error", *ece)]
            }
            Scores::Labels { p_at_3, p_at_5, f_at_3, f_at_5, map, mrr, .. } => vec![
                ("P@3", *p_at_3),
                ("P@5", *p_at_5),
                ("F@3", *f_at_3),
                ("F@5", *f_at_5),
                ("MAP", *map),
                ("MRR", *mrr),
            ],
        }
    }
}

impl HeldOut {
    /// Scores of what `logits` makes of a view, `[n, ...]` to `[n, k]`.
    pub fn scores(&self, view: &Tensor, device: &Device, logits: impl Fn(&Tensor) -> Result<Var>) -> Result<Scores> {
        let rows = view.shape().first().copied().unwrap_or(0);
        let (mut all, mut k) = (Vec::new(), 0);
        for first in (0..rows).step_by(AT_ONCE) {
            let part = view.narrow(first, AT_ONCE.min(rows - first))?.to_device(device)?;
            let part = logits(&part)?;
            k = part.shape().last().copied().unwrap_or(0);
            all.extend(part.value().to_vec::<f32>()?);
        }
        self.truth.scores(&all, k)
    }
}

impl Truth {
    fn scores(&self, logits: &[f32], k: usize) -> Result<Scores> {
        let labels = match self {
            Truth::Class(labels) => labels,
            Truth::Labels(targets) => return ranks(logits, targets, k),
        };
        let found = classification(logits, k, labels, 15)?;
        let confusion = match k <= MOST_CONFUSED {
            true => {
                let counts = Confusion::new(logits, k, labels)?;
                let row = |label: usize| (0..k).map(|taken| counts.count(label, taken)).collect();
                (0..k).map(row).collect()
            }
            false => Vec::new(),
        };
        Ok(Scores::Class { accuracy: found.accuracy, nll: found.nll, ece: found.ece, confusion })
    }
}

fn ranks(logits: &[f32], targets: &[u8], k: usize) -> Result<Scores> {
    let cutoffs = [3, 5].map(|cutoff: usize| cutoff.min(k));
    let found = ranking(logits, targets, k, &cutoffs)?;
    let at = |which: usize| found.at.get(which).map_or((f64::NAN, f64::NAN), |at| (at.precision, at.f));
    let ((p_at_3, f_at_3), (p_at_5, f_at_5)) = (at(0), at(1));
    let (map, mrr, left_out) = (found.map, found.mrr, found.left_out);
    Ok(Scores::Labels { p_at_3, p_at_5, f_at_3, f_at_5, map, mrr, left_out })
}
