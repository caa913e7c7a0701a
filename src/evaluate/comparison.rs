//! How far generated samples are from real ones: every metric, on features of one kind.

use serde::{Deserialize, Serialize};

use super::features::{Features, Measured};
use crate::error::{Error, Result};
use crate::figures::fixed;
use crate::memory;
use crate::metrics::{self, Gaussian, Kernel};

/// Rows in a subset of KID, where there are enough.
const KID_SUBSET: usize = 1000;
/// Neighbours of precision and recall, and of density and coverage, as in their papers.
const NEIGHBOURS: (usize, usize) = (3, 5);
/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 500;
/// Parts of the inception score.
const SPLITS: usize = 10;

/// Rows of a sample up to which KID is taken over all of them, where subsets of the usual size are not to be had.
const MOST_WHOLE: usize = 10_000;
/// Rows that every metric can do with.
const LEAST_ROWS: usize = NEIGHBOURS.1 + 1;

/// How [`compare`] compares.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparing {
    /// Rows of each sample, at most, that take part in figures that compare every row with every other.
    pub neighbours: usize,
    /// Chooses rows, subsets and directions.
    pub seed: u64,
    /// Subsets that KID is the mean of.
    pub kid_subsets: usize,
    /// Rows of either sample in one; `None`: 1,000, or half of the smaller sample where that is less, so that subsets
    /// differ. No more than the smaller sample has.
    pub kid_subset_size: Option<usize>,
    /// The Fréchet distance even where a sample has no more rows than dimensions, whose covariance lacks rank.
    pub rank_deficient: bool,
    /// Also measures precision, recall, density and coverage of real rows against other real ones.
    pub ceiling: bool,
}

impl Default for Comparing {
    /// As published figures are made: 100 subsets of 1,000 rows; neighbours among 10,000 rows.
    fn default() -> Self {
        Comparing {
            neighbours: 10_000,
            seed: 0,
            kid_subsets: 100,
            kid_subset_size: None,
            rank_deficient: false,
            ceiling: true,
        }
    }
}

/// Errors where [`compare`] would, whatever the generated rows, of which there will be `generated`, turn out to be.
pub(crate) fn check(real: &Features, generated: usize) -> Result<()> {
    let (dims, rows) = (real.dims, real.rows());
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
    pub features: Measured,
    /// The units of `frechet_distance` (squared), `sliced_wasserstein` and `energy_distance`, in words; empty where
    /// there is nothing to say. The other figures have none.
    #[serde(default)]
    pub units: String,
    /// Numbers in a row of features.
    pub dims: usize,
    /// Rows of the real sample.
    pub real: usize,
    /// Rows of the generated sample.
    pub generated: usize,
    /// [`metrics::frechet_distance`]; `None` where a sample has no more rows than dimensions, unless that was asked for
    /// all the same.
    pub frechet_distance: Option<f64>,
    /// Why there is no Fréchet distance, or why it says little.
    #[serde(default)]
    pub rank_deficient: Option<String>,
    /// [`metrics::kid_subsets`]; of samples that are too small for subsets of 1,000 rows [`metrics::kid`] over all
    /// rows, whose error the subsets tell.
    pub kid: f64,
    /// Standard error of `kid`, where there is one.
    pub kid_error: Option<f64>,
    /// Standard deviation of KID over the subsets.
    #[serde(default)]
    pub kid_std: Option<f64>,
    /// Subsets, and rows of either sample in one; zeros from versions that took blocks in their place.
    #[serde(default)]
    pub kid_subsets: [usize; 2],
    /// [`metrics::mmd2`] with a Gaussian kernel whose bandwidth is the median distance; on at most `neighbour_rows`
    /// rows of each.
    pub mmd_gaussian: f64,
    /// [`metrics::mmd2`] with [`Kernel::Energy`], of points; on as many rows.
    #[serde(default)]
    pub energy_distance: Option<f64>,
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
    /// What the last four are of real rows.
    #[serde(default)]
    pub ceiling: Option<Ceiling>,
    /// [`metrics::inception_score`] of the generated sample by the classifier, over 10 splits.
    pub inception_score: Option<f64>,
    /// Its standard deviation over the splits.
    pub inception_score_std: Option<f64>,
}

/// What precision, recall, density and coverage are where the law is the right one: of real rows against other real
/// ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Rows of the reference, and rows that take the place of generated ones: as many as were compared, or all real
    /// rows split in the same proportion.
    pub rows: [usize; 2],
    /// As [`Comparison::precision`].
    pub precision: f64,
    /// As [`Comparison::recall`].
    pub recall: f64,
    /// As [`Comparison::density`], which is expected to be 1.
    pub density: f64,
    /// As [`Comparison::coverage`].
    pub coverage: f64,
    /// What coverage is expected to be of as many rows as were compared if both are of one law, whichever it is
    /// ([`metrics::expected_coverage`]).
    pub expected_coverage: f64,
}

impl Comparison {
    /// Fréchet distance and KID in a line; where there is no Fréchet distance, the rows that are too few for one.
    pub fn brief(&self) -> String {
        let few = || self.rank_deficient.as_deref().and_then(|why| why.split(':').next()).unwrap_or_default();
        let frechet = match self.frechet_distance {
            Some(distance) => fixed(distance, 4),
            None => format!("\u{2013} ({} are too few)", few()),
        };
        format!("Fréchet {frechet}  KID {}", fixed(self.kid, 5))
    }
}

/// Compares features of `generated` samples with those of `real` ones.
///
/// Errors if the two are features of different kinds, and on samples too small for the metrics (six rows).
pub fn compare(real: &Features, generated: &Features, comparing: &Comparing) -> Result<Comparison> {
    let Comparing { neighbours, seed, kid_subsets, .. } = *comparing;
    if real.dims != generated.dims || real.measured != generated.measured {
        return Err(Error::shape(
            "compare",
            format!("{} with {} numbers a row on both sides", real.measured, real.dims),
            format!("{} with {}", generated.measured, generated.dims),
        ));
    }
    // Before the rows are shuffled, so that the right one is named.
    for (which, features) in [("real", real), ("generated", generated)] {
        if let Some((row, column, value)) = features.not_finite() {
            let what = format!("row {row} of the {which} features, counted from 0");
            return Err(Error::NonFinite { what, found: format!("{value} in column {column}") });
        }
        if features.rows() < LEAST_ROWS {
            let got = format!("{} {which} ones", features.rows());
            return Err(Error::shape("compare", format!("at least {LEAST_ROWS} rows on either side"), got));
        }
    }
    let (dims, scale) = (real.dims, real.scale);
    let (real, generated) = (&real.sample(usize::MAX, seed)?, &generated.sample(usize::MAX, seed)?);
    let [some_real, some_generated] = [real, generated].map(|of| first(of, neighbours));
    let near = Near::of(some_real, some_generated, dims)?;
    let bandwidth = metrics::median_distance(some_real, some_generated, dims)?;
    let gaussian = Kernel::Gaussian { bandwidth: if bandwidth > 0.0 { bandwidth } else { 1.0 } };
    let energy = (real.measured == Measured::Coordinates)
        .then(|| metrics::mmd2(some_real, some_generated, dims, &[Kernel::Energy]))
        .transpose()?;
    let size = subset_size(comparing.kid_subset_size, real.rows().min(generated.rows()));
    let kid = metrics::kid_subsets(&real.values, &generated.values, dims, (kid_subsets, size), seed)?;
    // Samples too small for subsets of the usual size: the estimate over all rows scatters least.
    let [less, more] = [real.rows().min(generated.rows()), real.rows().max(generated.rows())];
    let whole = comparing.kid_subset_size.is_none() && less < 2 * KID_SUBSET && more <= MOST_WHOLE;
    let kid_mean = if whole { metrics::kid(&real.values, &generated.values, dims)? } else { kid.mean };
    let inception = match &generated.probabilities {
        Some((probabilities, classes)) if generated.rows() >= SPLITS => {
            Some(metrics::inception_score(probabilities, *classes, SPLITS)?)
        }
        _ => None,
    };
    let lacking = lacking_rank(&[("real", real), ("generated", generated)]);
    let frechet = (comparing.rank_deficient || lacking.is_none())
        .then(|| metrics::frechet_distance(&real.values, &generated.values, dims))
        .transpose()?;
    Ok(Comparison {
        features: real.measured,
        units: real.scale_of.clone(),
        dims,
        real: real.rows(),
        generated: generated.rows(),
        frechet_distance: frechet.map(|distance| distance * scale * scale),
        rank_deficient: lacking,
        kid: kid_mean,
        kid_error: kid.error,
        kid_std: kid.std,
        kid_subsets: [kid.subsets, kid.size],
        mmd_gaussian: metrics::mmd2(some_real, some_generated, dims, &[gaussian])?,
        energy_distance: energy.map(|distance| distance * scale),
        sliced_wasserstein: scale
            * metrics::sliced_wasserstein(&real.values, &generated.values, dims, DIRECTIONS, 1.0, seed)?,
        neighbour_rows: [some_real, some_generated].map(|rows| rows.len() / dims),
        precision: near.precision,
        recall: near.recall,
        density: near.density,
        coverage: near.coverage,
        ceiling: if comparing.ceiling { ceiling(real, generated.rows(), comparing)? } else { None },
        inception_score: inception.map(|score| score.mean),
        inception_score_std: inception.map(|score| score.std),
    })
}

/// The figures of as many `real` rows against each other as [`compare`] takes of them and of `generated` rows, or of
/// all, split in the same proportion, where there are not so many. `None` where that leaves a side fewer than six.
pub fn ceiling(real: &Features, generated: usize, comparing: &Comparing) -> Result<Option<Ceiling>> {
    let Comparing { neighbours, seed, .. } = *comparing;
    let (n, dims) = (real.rows(), real.dims);
    let [asked, beside] = [n, generated].map(|rows| rows.min(neighbours));
    // The proportion decides what coverage can be.
    let [a, b] = match asked + beside <= n {
        true => [asked, beside],
        false => {
            let a = (n as u128 * asked as u128 / (asked + beside).max(1) as u128) as usize;
            [a, n - a]
        }
    };
    if a < LEAST_ROWS || b < LEAST_ROWS {
        return Ok(None);
    }
    let shuffled = real.sample(a + b, seed)?;
    let (reference, others) = shuffled.values.split_at(a * dims);
    let near = Near::of(reference, others, dims)?;
    Ok(Some(Ceiling {
        rows: [a, b],
        precision: near.precision,
        recall: near.recall,
        density: near.density,
        coverage: near.coverage,
        expected_coverage: metrics::expected_coverage(asked, beside, NEIGHBOURS.1),
    }))
}

/// The four figures of neighbours.
struct Near {
    precision: f64,
    recall: f64,
    density: f64,
    coverage: f64,
}

impl Near {
    fn of(real: &[f64], generated: &[f64], dims: usize) -> Result<Self> {
        let (near, nearer) = NEIGHBOURS;
        let metrics::PrecisionRecall { precision, recall } = metrics::precision_recall(real, generated, dims, near)?;
        let metrics::DensityCoverage { density, coverage } = metrics::density_coverage(real, generated, dims, nearer)?;
        Ok(Near { precision, recall, density, coverage })
    }
}

/// The first rows, at most `most`.
fn first(features: &Features, most: usize) -> &[f64] {
    &features.values[..features.rows().min(most) * features.dims]
}

/// Rows in a subset of KID, where the smaller sample has `rows`.
fn subset_size(asked: Option<usize>, rows: usize) -> usize {
    asked.unwrap_or(KID_SUBSET.min(rows / 2)).min(rows)
}

/// Which samples have no more rows than dimensions, and what to do about it.
fn lacking_rank(samples: &[(&str, &Features)]) -> Option<String> {
    let few = samples.iter().filter(|(_, of)| of.rows() <= of.dims);
    let few: Vec<String> = few.map(|(which, of)| format!("{} {which}", of.rows())).collect();
    let dims = samples.first()?.1.dims;
    (!few.is_empty()).then(|| too_few(&few, dims))
}

fn too_few(few: &[String], dims: usize) -> String {
    let few = few.join(" and ");
    format!(
        "{few} rows in {dims} dimensions: a covariance of rank {dims} takes more than {dims} rows, and the Fréchet \
         distance of fewer is mostly of the directions that they leave out; give more samples, or features of fewer \
         dimensions"
    )
}

/// The Fréchet distance of two Gaussians, at least one of which is known by mean and covariance alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// What the distance is measured on.
    pub features: Measured,
    /// Numbers in a row of features.
    pub dims: usize,
    /// Rows of the real sample, where there were rows.
    pub real: Option<usize>,
    /// Rows of the generated sample, where there were rows.
    pub generated: Option<usize>,
    /// [`metrics::frechet_distance`]; `None` as of a [`Comparison`].
    pub frechet_distance: Option<f64>,
    /// Why there is none, or why it says little.
    pub rank_deficient: Option<String>,
    /// Metrics that need rows of both samples.
    pub left_out: Vec<String>,
}

/// What a [`Comparison`] has and means and covariances cannot give.
const OF_ROWS: [&str; 8] =
    ["KID", "MMD", "sliced Wasserstein distance", "precision", "recall", "density", "coverage", "inception score"];

/// The Fréchet distance of `real` and `generated` statistics of given features. With `rank_deficient` also where a
/// sample had no more rows than dimensions; of a covariance from elsewhere nobody knows the rows, so a lack of rank is
/// said and the distance computed.
///
/// Errors if dimensions differ, and as [`Gaussian::frechet_distance`].
pub fn compare_statistics(real: &Gaussian, generated: &Gaussian, rank_deficient: bool) -> Result<Statistics> {
    let dims = real.dims();
    let sides = [("real", real), ("generated", generated)];
    let few = sides.iter().filter(|(_, of)| of.rows().is_some() && of.lacks_rank());
    let few: Vec<String> = few.map(|(which, of)| format!("{} {which}", of.rows().unwrap_or(0))).collect();
    let flat = sides.iter().filter(|(_, of)| of.rows().is_none() && of.lacks_rank());
    let flat: Vec<String> = flat.map(|(which, of)| format!("the {which} sigma has rank {}", of.rank())).collect();
    let refused = !few.is_empty();
    let lacking = match (refused, flat.is_empty()) {
        (true, _) => Some(too_few(&few, dims)),
        (false, false) => Some(format!(
            "{} of {dims}: it was made of no more rows than that, or some features follow from the others; with few \
             rows the distance says little",
            flat.join(" and ")
        )),
        (false, true) => None,
    };
    // Where dimensions differ that is what to say, not ranks.
    let wanted = rank_deficient || !refused || dims != generated.dims();
    let distance = wanted.then(|| real.frechet_distance(generated)).transpose()?;
    Ok(Statistics {
        features: Measured::Given,
        dims,
        real: real.rows(),
        generated: generated.rows(),
        frechet_distance: distance,
        rank_deficient: lacking,
        left_out: OF_ROWS.map(String::from).to_vec(),
    })
}
