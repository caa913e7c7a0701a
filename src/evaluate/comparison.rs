//! How far generated samples are from real ones: every metric, on features of one kind.

use serde::{Deserialize, Serialize};

use super::classifier::ImageClassifier;
use crate::data::Images;
use crate::error::{Error, Result};
use crate::memory;
use crate::metrics::{self, Blocks, Kernel};
use crate::random::{Purpose, RandomKey, permutation};

/// KID is the mean over blocks of about so many rows of the smaller sample.
const KID_BLOCK: usize = 1000;
/// Neighbours of precision and recall, and of density and coverage, as in their papers.
const NEIGHBOURS: (usize, usize) = (3, 5);
/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 500;
/// Parts of the inception score.
const SPLITS: usize = 10;

/// Rows that every metric can do with.
const LEAST_ROWS: usize = NEIGHBOURS.1 + 1;

/// What distances are measured on. None of these is the Inception network, so no figure here is "the FID" unless the
/// features given are that network's.
#[derive(Debug, Clone)]
pub enum FeatureSpace {
    /// The pixels themselves, in `[-1, 1]`.
    Pixels,
    /// The last features of a classifier of such images.
    Classifier(Box<ImageClassifier>),
}

/// A sample's features: `n` rows of `dims`, in f64 as every metric is: f32 would round features far from zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// What they are, for tables.
    pub name: String,
    /// Rows, one after the other.
    pub values: Vec<f64>,
    /// Numbers in a row.
    pub dims: usize,
    /// Class probabilities of the rows and the number of classes, where a classifier made the features.
    pub probabilities: Option<(Vec<f64>, usize)>,
}

impl Features {
    /// The first row and column that holds NaN or infinity, and what it holds.
    pub fn not_finite(&self) -> Option<(usize, usize, f64)> {
        let at = self.values.iter().position(|value| !value.is_finite())?;
        Some((at / self.dims, at % self.dims, self.values[at]))
    }

    /// At most `most` of the rows, chosen at random and in random order, a pure function of seed and count. Data often
    /// come sorted by class, while blocks, splits and parts are to be like the whole. Errors on more than 2^32 rows.
    pub fn sample(&self, most: usize, seed: u64) -> Result<Self> {
        let count = self.values.len() / self.dims.max(1);
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
            name: self.name.clone(),
            values: rows(&self.values, self.dims),
            dims: self.dims,
            probabilities: self.probabilities.as_ref().map(|(p, classes)| (rows(p, *classes), *classes)),
        })
    }
}

impl FeatureSpace {
    /// The features of images. Errors if the classifier is made for images of another size.
    pub fn of(&self, images: &Images) -> Result<Features> {
        match self {
            FeatureSpace::Pixels => Ok(Features {
                name: "pixels".into(),
                values: images.pixels()?.iter().map(|&x| x.into()).collect(),
                dims: images.values(),
                probabilities: None,
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
                let (values, logits) = classifier.features_and_logits(&pixels)?;
                Ok(Features {
                    name: "a classifier's features".into(),
                    values: values.into_iter().map(f64::from).collect(),
                    dims: classifier.feature_dims(),
                    probabilities: Some((softmax(&logits, classes), classes)),
                })
            }
        }
    }
}

/// Errors where [`compare`] would, whatever the generated rows, of which there will be `generated`, turn out to be.
pub(crate) fn check(real: &Features, generated: usize) -> Result<()> {
    let (dims, rows) = (real.dims, real.values.len() / real.dims.max(1));
    if rows < LEAST_ROWS || generated < LEAST_ROWS {
        let got = format!("{rows} real and {generated} generated");
        return Err(Error::shape("distances", format!("at least {LEAST_ROWS} images on either side"), got));
    }
    // The generated rows drawn and gathered in f32, made features and put in order in f64, and once more for the
    // covariance; the directions in two precisions; what the covariances are compared by, of as many rows as there are,
    // or as many as columns.
    let (wide, rank) = (dims as u128, dims.min(rows.max(generated)) as u128);
    let bytes = 32 * generated as u128 * wide + 12 * DIRECTIONS as u128 * wide + 24 * rank * wide + 32 * rank * rank;
    let what = format!("comparing {generated} rows of {dims} numbers");
    memory::check(bytes, &what, "draw fewer images, or measure on a classifier's features")?;
    let few = &real.values[..LEAST_ROWS * dims];
    metrics::kid(few, few, dims)?;
    metrics::sliced_wasserstein(few, few, dims, DIRECTIONS, 1.0, 0).map(drop)
}

/// Every metric of a generated sample against a real one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What the distances are measured on.
    pub features: String,
    /// Numbers in a row of features.
    pub dims: usize,
    /// Rows of the real sample.
    pub real: usize,
    /// Rows of the generated sample.
    pub generated: usize,
    /// [`metrics::frechet_distance`].
    pub frechet_distance: f64,
    /// [`metrics::kid_blocks`] over all rows: a block for each 1,000 rows of the smaller sample, one if it has fewer
    /// than 2,000.
    pub kid: f64,
    /// Standard error of `kid`, where there is more than one block.
    pub kid_error: Option<f64>,
    /// [`metrics::mmd2`] with a Gaussian kernel whose bandwidth is the median distance; on at most `neighbour_rows`
    /// rows of each.
    pub mmd_gaussian: f64,
    /// [`metrics::sliced_wasserstein`] of order 1 over 500 directions.
    pub sliced_wasserstein: f64,
    /// Rows of each sample that took part in the figures that compare all pairs.
    pub neighbour_rows: [usize; 2],
    /// [`metrics::precision_recall`], k = 3.
    pub precision: f64,
    /// As `precision`.
    pub recall: f64,
    /// [`metrics::density_coverage`], k = 5.
    pub density: f64,
    /// As `density`.
    pub coverage: f64,
    /// [`metrics::inception_score`] of the generated sample by the classifier, over 10 splits.
    pub inception_score: Option<f64>,
    /// Its standard deviation over the splits.
    pub inception_score_std: Option<f64>,
}

/// Compares features of `generated` samples with those of `real` ones. Figures whose work grows with the square of the
/// rows use at most `neighbours` rows of each, chosen by `seed`.
///
/// Errors if the two are features of different kinds, and on samples too small for the metrics (six rows).
pub fn compare(real: &Features, generated: &Features, neighbours: usize, seed: u64) -> Result<Comparison> {
    if real.dims != generated.dims || real.name != generated.name {
        return Err(Error::shape(
            "compare",
            format!("{} with {} numbers a row on both sides", real.name, real.dims),
            format!("{} with {}", generated.name, generated.dims),
        ));
    }
    // Before the rows are shuffled, so that the right one is named.
    for (which, features) in [("real", real), ("generated", generated)] {
        if let Some((row, column, value)) = features.not_finite() {
            let what = format!("row {row} of the {which} features, counted from 0");
            return Err(Error::NonFinite { what, found: format!("{value} in column {column}") });
        }
    }
    let dims = real.dims;
    let (real, generated) = (&real.sample(usize::MAX, seed)?, &generated.sample(usize::MAX, seed)?);
    let rows = |features: &Features| features.values.len() / dims.max(1);
    let first = |features: &Features| rows(features).min(neighbours);
    let (some_real, some_generated) =
        (&real.values[..first(real) * dims], &generated.values[..first(generated) * dims]);
    let (near, nearer) = NEIGHBOURS;
    let precision = metrics::precision_recall(some_real, some_generated, dims, near)?;
    let density = metrics::density_coverage(some_real, some_generated, dims, nearer)?;
    let bandwidth = metrics::median_distance(some_real, some_generated, dims)?;
    let gaussian = Kernel::Gaussian { bandwidth: if bandwidth > 0.0 { bandwidth } else { 1.0 } };
    let Blocks { mean: kid, error: kid_error, .. } =
        metrics::kid_blocks(&real.values, &generated.values, dims, KID_BLOCK)?;
    let inception = match &generated.probabilities {
        Some((probabilities, classes)) if rows(generated) >= SPLITS => {
            Some(metrics::inception_score(probabilities, *classes, SPLITS)?)
        }
        _ => None,
    };
    Ok(Comparison {
        features: real.name.clone(),
        dims,
        real: rows(real),
        generated: rows(generated),
        frechet_distance: metrics::frechet_distance(&real.values, &generated.values, dims)?,
        kid,
        kid_error,
        mmd_gaussian: metrics::mmd2(some_real, some_generated, dims, &[gaussian])?,
        sliced_wasserstein: metrics::sliced_wasserstein(&real.values, &generated.values, dims, DIRECTIONS, 1.0, seed)?,
        neighbour_rows: [first(real), first(generated)],
        precision: precision.precision,
        recall: precision.recall,
        density: density.density,
        coverage: density.coverage,
        inception_score: inception.map(|score| score.mean),
        inception_score_std: inception.map(|score| score.std),
    })
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
