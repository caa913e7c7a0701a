//! Rows of features with any number of labels each: what tagging is learnt from.
//!
//! [`MultiLabelSet::open`] reads the sets of Mulan (G. Tsoumakas et al. 2011, *Mulan: a Java library for multi-label
//! learning*), ARFF with a list of labels in XML beside it; [`MultiLabel::new`] takes rows of your own.

mod coding;
mod files;
mod open;
mod options;
mod standardisation;
#[cfg(feature = "formats")]
mod xml;

pub use open::MultiLabelSet;
pub use options::{Labels, Missing, MultiLabelOptions};
pub use standardisation::Standardisation;

use crate::{Error, Result};

/// Rows in memory: features `[n, dims]` in f32, and for each row which of the labels it has, `[n, labels]` bytes 0 or
/// 1.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabel {
    features: Vec<f32>,
    targets: Vec<u8>,
    feature_names: Vec<String>,
    label_names: Vec<String>,
}

impl MultiLabel {
    /// Takes features `[n, dims]` and targets `[n, labels]`; the names say how many of each there are.
    ///
    /// Errors if there are no rows, features or labels, the lengths disagree, a feature is not finite or a target is
    /// neither 0 nor 1.
    pub fn new(
        features: Vec<f32>,
        targets: Vec<u8>,
        feature_names: Vec<String>,
        label_names: Vec<String>,
    ) -> Result<Self> {
        const NAME: &str = "MultiLabel::new";
        let (dims, labels) = (feature_names.len(), label_names.len());
        if dims == 0 || labels == 0 || features.is_empty() {
            let what =
                format!("{} values of {dims} features and {labels} labels; at least one of each", features.len());
            return Err(Error::argument(NAME, what));
        }
        if !features.len().is_multiple_of(dims) || features.len() / dims * labels != targets.len() {
            let got = format!("{} features and {} targets", features.len(), targets.len());
            return Err(Error::shape(NAME, format!("features [n, {dims}] and targets [n, {labels}]"), got));
        }
        if let Some(i) = features.iter().position(|value| !value.is_finite()) {
            let what = format!("feature {} of row {}", i % dims, i / dims);
            return Err(Error::NonFinite { what, found: features[i].to_string() });
        }
        if let Some(i) = targets.iter().position(|&target| target > 1) {
            let what = format!("target {} of row {} is {}, expected 0 or 1", i % labels, i / labels, targets[i]);
            return Err(Error::argument(NAME, what));
        }
        Ok(MultiLabel { features, targets, feature_names, label_names })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.targets.len() / self.labels()
    }

    /// Never true: a set holds at least one row.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Number of features of a row.
    pub fn dims(&self) -> usize {
        self.feature_names.len()
    }

    /// Number of labels that a row may have.
    pub fn labels(&self) -> usize {
        self.label_names.len()
    }

    /// All features, `[n, dims]`.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// All targets, `[n, labels]`: 1 where the row has the label.
    pub fn targets(&self) -> &[u8] {
        &self.targets
    }

    /// Names of the features, in order. They come from a file: [`escaped`](crate::escape::escaped) makes them
    /// printable.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// Names of the labels, in order. They come from a file: [`escaped`](crate::escape::escaped) makes them printable.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// Labels of a row on average.
    pub fn cardinality(&self) -> f64 {
        let ones: u64 = self.targets.iter().map(|&target| u64::from(target)).sum();
        ones as f64 / self.len() as f64
    }

    /// Number of rows that have each label.
    pub fn label_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels()];
        for row in self.targets.chunks_exact(self.labels()) {
            counts.iter_mut().zip(row).for_each(|(count, &target)| *count += usize::from(target));
        }
        counts
    }

    /// The features `[indices, dims]` and targets `[indices, labels]` of the rows at `indices`, in that order.
    ///
    /// Errors if an index is out of range.
    pub fn gather(&self, indices: &[u32]) -> Result<(Vec<f32>, Vec<u8>)> {
        let (dims, labels) = (self.dims(), self.labels());
        let (mut features, mut targets) = (Vec::new(), Vec::new());
        features.reserve_exact(indices.len() * dims);
        targets.reserve_exact(indices.len() * labels);
        for i in indices.iter().map(|&index| index as usize) {
            if i >= self.len() {
                return Err(Error::argument("MultiLabel::gather", format!("index {i} of {} rows", self.len())));
            }
            features.extend_from_slice(&self.features[i * dims..(i + 1) * dims]);
            targets.extend_from_slice(&self.targets[i * labels..(i + 1) * labels]);
        }
        Ok((features, targets))
    }

    /// The rows at `indices`, in that order, as a set of their own.
    ///
    /// Errors if there are none or an index is out of range.
    pub fn select(&self, indices: &[u32]) -> Result<Self> {
        let (features, targets) = self.gather(indices)?;
        Self::new(features, targets, self.feature_names.clone(), self.label_names.clone())
    }

    /// A short text that changes when anything of the rows does: extents and checksums (CRC-32) of features and
    /// targets.
    pub fn fingerprint(&self) -> String {
        let (mut features, mut targets) = (flate2::Crc::new(), flate2::Crc::new());
        features.update(bytemuck::cast_slice(&self.features));
        targets.update(&self.targets);
        let (n, dims, labels) = (self.len(), self.dims(), self.labels());
        format!("{n}x{dims} f32, {labels} labels, {:08x}-{:08x}", features.sum(), targets.sum())
    }

    /// Features to be changed by this room, which keeps them finite.
    fn features_mut(&mut self) -> &mut [f32] {
        &mut self.features
    }
}
