//! What distances are measured on: rows of numbers, of images themselves or of what a network makes of them.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::classifier::ImageClassifier;
use crate::data::{Images, Kind};
use crate::distributed::Ranks;
use crate::error::{Error, Result};
use crate::random::{Purpose, RandomKey, permutation};
use crate::tensor::Device;

/// The kind of numbers that distances are measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measured {
    /// Pixels of pictures.
    #[serde(rename = "pixels")]
    Pixels,
    /// Values of signals.
    #[serde(rename = "values")]
    Values,
    /// Coordinates of points, columns of tables.
    #[serde(rename = "coordinates")]
    Coordinates,
    /// What a classifier makes of images before its last layer.
    #[serde(rename = "a classifier's features")]
    Classifier,
    /// Features from elsewhere.
    #[serde(rename = "the features given")]
    Given,
}

impl Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Measured::Pixels => "pixels",
            Measured::Values => "values",
            Measured::Coordinates => "coordinates",
            Measured::Classifier => "a classifier's features",
            Measured::Given => "the features given",
        })
    }
}

impl Measured {
    /// What the numbers of data of `[height, width, channels]` are.
    pub fn of(size: [usize; 3]) -> Self {
        match Kind::of(size) {
            Kind::Points => Measured::Coordinates,
            Kind::Signals => Measured::Values,
            Kind::Pictures => Measured::Pixels,
        }
    }

    /// What a row stands for, in the plural.
    pub fn rows(self) -> &'static str {
        match self {
            Measured::Pixels | Measured::Classifier => "images",
            Measured::Values => "signals",
            Measured::Coordinates => "points",
            Measured::Given => "rows",
        }
    }
}

/// What distances are measured on. None of these is the Inception network, so no figure here is "the FID" unless the
/// features given are that network's.
#[derive(Debug, Clone)]
pub enum FeatureSpace {
    /// The numbers of the data themselves: pixels, values of signals, coordinates of points.
    Pixels,
    /// The last features of a classifier of such images.
    Classifier(Box<ImageClassifier>),
}

/// A sample's features: `n` rows of `dims`, in f64 as every metric is: f32 would round features far from zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// What they are.
    pub measured: Measured,
    /// Rows, one after the other.
    pub values: Vec<f64>,
    /// Numbers in a row.
    pub dims: usize,
    /// Class probabilities of the rows and the number of classes, where a classifier made the features.
    pub probabilities: Option<(Vec<f64>, usize)>,
    /// What a distance of 1 between rows is in the units of [`scale_of`](Self::scale_of).
    pub scale: f64,
    /// The units of distances in words; empty where there is nothing to say.
    pub scale_of: String,
}

impl Features {
    /// Features from elsewhere, `[n, dims]`.
    pub fn given(values: Vec<f64>, dims: usize) -> Self {
        Features { measured: Measured::Given, values, dims, probabilities: None, scale: 1.0, scale_of: String::new() }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.values.len() / self.dims.max(1)
    }

    /// The first row and column that holds NaN or infinity, and what it holds.
    pub fn not_finite(&self) -> Option<(usize, usize, f64)> {
        let at = self.values.iter().position(|value| !value.is_finite())?;
        Some((at / self.dims, at % self.dims, self.values[at]))
    }

    /// At most `most` of the rows, chosen at random and in random order, a pure function of seed and count. Data often
    /// come sorted by class, while blocks, splits and parts are to be like the whole. Errors on more than 2^32 rows.
    pub fn sample(&self, most: usize, seed: u64) -> Result<Self> {
        let count = self.rows();
        let length =
            u32::try_from(count).map_err(|_| Error::argument("compare", format!("{count} rows; at most 2^32 - 1")))?;
        let order = permutation(&RandomKey::new(seed, Purpose::Metrics).stream()?, length);
        let rows = |values: &[f64], dims: usize| -> Vec<f64> {
            order
                .iter()
                .take(most)
                .flat_map(|&i| &values[i as usize * dims..(i as usize + 1) * dims])
                .copied()
                .collect()
        };
        Ok(Features {
            values: rows(&self.values, self.dims),
            dims: self.dims,
            probabilities: self.probabilities.as_ref().map(|(p, classes)| (rows(p, *classes), *classes)),
            scale_of: self.scale_of.clone(),
            ..*self
        })
    }
}

impl FeatureSpace {
    /// Where the features are made.
    pub fn device(&self) -> Device {
        match self {
            FeatureSpace::Pixels => Device::Cpu,
            FeatureSpace::Classifier(classifier) => classifier.device(),
        }
    }

    /// What tells it from others. Errors where the classifier's weights cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        match self {
            FeatureSpace::Pixels => Ok("pixels".into()),
            FeatureSpace::Classifier(classifier) => classifier.fingerprint(),
        }
    }

    /// The features of images. Errors if the classifier is made for images of another size.
    pub fn of(&self, images: &Images) -> Result<Features> {
        self.of_on(images, &Ranks::alone())
    }

    /// As [`of`](Self::of), the network's work shared by `ranks`, all of which get the whole. Errors also if a rank is
    /// lost.
    pub fn of_on(&self, images: &Images, ranks: &Ranks) -> Result<Features> {
        match self {
            FeatureSpace::Pixels => Ok(Features {
                measured: Measured::of(images.size()),
                values: images.pixels()?.iter().map(|&x| x.into()).collect(),
                dims: images.values(),
                probabilities: None,
                scale: images.units().of_noise(),
                scale_of: images.units().of_distances(),
            }),
            FeatureSpace::Classifier(classifier) => {
                if classifier.size() != images.size() {
                    return Err(Error::shape(
                        "features",
                        format!("images of {:?} (height, width, channels), as the classifier takes", classifier.size()),
                        format!("{:?}", images.size()),
                    ));
                }
                let pixels = images.pixels()?;
                let classes = classifier.classes();
                let (values, logits) = classifier.features_and_logits_on(&pixels, ranks)?;
                Ok(Features {
                    measured: Measured::Classifier,
                    values: values.into_iter().map(f64::from).collect(),
                    dims: classifier.feature_dims(),
                    probabilities: Some((softmax(&logits, classes), classes)),
                    scale: 1.0,
                    scale_of: String::new(),
                })
            }
        }
    }
}

/// Rows of logits to rows of probabilities.
fn softmax(logits: &[f32], classes: usize) -> Vec<f64> {
    let mut probabilities: Vec<f64> = logits.iter().map(|&x| x.into()).collect();
    for row in probabilities.chunks_exact_mut(classes.max(1)) {
        let largest = row.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(x));
        row.iter_mut().for_each(|x| *x = (*x - largest).exp());
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
    probabilities
}
