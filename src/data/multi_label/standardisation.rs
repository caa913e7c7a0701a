use std::fmt::{self, Display};

use super::{MultiLabel, MultiLabelSet};
use crate::escape::escaped;
use crate::{Error, Result};

/// What makes mean 0 and standard deviation 1 of the features of a set, to be applied to others as well.
///
/// Printed it says what it does, a line for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardisation {
    /// Mean of each feature; 0 for a constant one.
    pub mean: Vec<f64>,
    /// Population standard deviation of each feature; 1 for a constant one.
    pub deviation: Vec<f64>,
    /// Features that are the same in all rows, which are left as they are.
    pub constant: Vec<usize>,
    names: Vec<String>,
}

impl Standardisation {
    /// Of the rows of a set: those that are trained on. Sums are in f64, row after row.
    pub fn of(rows: &MultiLabel) -> Self {
        let (n, dims) = (rows.len() as f64, rows.dims());
        let mut mean = vec![0.0; dims];
        let (mut least, mut most) = (vec![f32::INFINITY; dims], vec![f32::NEG_INFINITY; dims]);
        for row in rows.features().chunks_exact(dims) {
            for (column, &value) in row.iter().enumerate() {
                mean[column] += f64::from(value) / n;
                least[column] = least[column].min(value);
                most[column] = most[column].max(value);
            }
        }
        let mut square = vec![0.0; dims];
        for row in rows.features().chunks_exact(dims) {
            for ((square, &mean), &value) in square.iter_mut().zip(&mean).zip(row) {
                *square += (f64::from(value) - mean).powi(2) / n;
            }
        }
        let mut deviation: Vec<f64> = square.into_iter().map(f64::sqrt).collect();
        let constant: Vec<usize> = (0..dims).filter(|&column| least[column] == most[column]).collect();
        let mut names = Vec::new();
        for &column in &constant {
            (mean[column], deviation[column]) = (0.0, 1.0);
            if names.len() < 3 {
                names.push(escaped(&rows.feature_names()[column]).to_string());
            }
        }
        Standardisation { mean, deviation, constant, names }
    }

    /// Replaces each feature by (feature - mean) / deviation.
    ///
    /// Errors if the rows have another number of features, or a result is beyond what f32 holds, in which case nothing
    /// is changed.
    pub fn apply(&self, rows: &mut MultiLabel) -> Result<()> {
        let dims = rows.dims();
        if dims != self.mean.len() {
            return Err(Error::shape("Standardisation::apply", format!("{} features", self.mean.len()), dims));
        }
        let scaled =
            |i: usize, value: f32| ((f64::from(value) - self.mean[i % dims]) / self.deviation[i % dims]) as f32;
        if let Some(i) = (0..rows.features().len()).find(|&i| !scaled(i, rows.features()[i]).is_finite()) {
            let what = format!("standardised feature {} of row {}", i % dims, i / dims);
            return Err(Error::NonFinite { what, found: "a value beyond f32; is it a mistake?".into() });
        }
        rows.features_mut().iter_mut().enumerate().for_each(|(i, value)| *value = scaled(i, *value));
        Ok(())
    }
}

impl Display for Standardisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = self.mean.len() - self.constant.len();
        write!(
            f,
            "{changed} of {} features have mean 0 and standard deviation 1 over the training rows",
            self.mean.len()
        )?;
        if self.constant.is_empty() {
            return Ok(());
        }
        let more = if self.constant.len() > self.names.len() { ", …" } else { "" };
        write!(f, "; {} constant ones are left as they are ({}{more})", self.constant.len(), self.names.join(", "))
    }
}

impl MultiLabelSet {
    /// Standardises both parts by the mean and the deviation of the training rows, and adds a line to the account.
    ///
    /// Errors as [`Standardisation::apply`].
    pub fn standardise(&mut self) -> Result<Standardisation> {
        let standardisation = Standardisation::of(&self.train);
        standardisation.apply(&mut self.train)?;
        standardisation.apply(&mut self.test)?;
        self.account.push(format!("standardised: {standardisation}"));
        Ok(standardisation)
    }
}
