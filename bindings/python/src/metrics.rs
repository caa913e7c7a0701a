//! `veridical.metrics`: distances between samples, and scores of classifiers and taggers.

use pyo3::prelude::*;
use veridical::Result;
use veridical::metrics::{self, Kernel};

use crate::arrays::{self, Numbers};
use crate::errors::{OrRaise, invalid};
use crate::outcome::named;
use crate::work::released;

/// Rows of numbers, in f64.
struct Rows {
    numbers: Numbers,
    /// Numbers in a row.
    dims: usize,
}

impl Rows {
    /// An array `[n, ...]`, of which everything after the first axis is a row. Numbers of 32 bits are exact in 64.
    fn of(object: &Bound<PyAny>, name: &str) -> PyResult<Self> {
        let array = arrays::array(object)?;
        let numbers = Numbers::of(&array, "float64")?;
        match numbers.shape[..] {
            [_, ref row @ ..] if !row.is_empty() => Ok(Rows { dims: row.iter().product(), numbers }),
            ref shape => Err(invalid(object.py(), format!("{name} {shape:?}: expected rows, [n, ...]"))),
        }
    }

    fn values(&self) -> std::borrow::Cow<'_, [f64]> {
        self.numbers.values()
    }
}

/// Two samples of rows of one length.
struct Pair(Rows, Rows);

impl Pair {
    fn of(a: &Bound<PyAny>, b: &Bound<PyAny>) -> PyResult<Self> {
        let (a, other) = (Rows::of(a, "the first sample")?, Rows::of(b, "the second sample")?);
        if a.dims != other.dims {
            let what = format!("rows of {} numbers and rows of {}: give samples of one shape", a.dims, other.dims);
            return Err(invalid(b.py(), what));
        }
        Ok(Pair(a, other))
    }

    fn with<T: Send>(&self, py: Python, f: impl FnOnce(&[f64], &[f64], usize) -> Result<T> + Send) -> PyResult<T> {
        let (a, b) = (self.0.values(), self.1.values());
        released(py, || f(&a, &b, self.0.dims))
    }
}

/// The Fréchet distance of two samples of features `[n, ...]`: `|mean_a - mean_b|^2 + tr(Sa) + tr(Sb) - 2 tr((Sa Sb)^(1/2))`.
///
/// On features of the Inception network this is the FID. With no more rows than dimensions it says little.
#[pyfunction]
pub fn frechet_distance(py: Python, a: &Bound<PyAny>, b: &Bound<PyAny>) -> PyResult<f64> {
    Pair::of(a, b)?.with(py, metrics::frechet_distance)
}

/// The kernel inception distance of two samples `[n, ...]`, over all rows: `mmd` squared with the kernel
/// `(x.y / dims + 1)^3`. Returns a `Kid(value, error)` with its standard error.
#[pyfunction]
pub fn kid<'py>(py: Python<'py>, a: &Bound<'py, PyAny>, b: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let found = Pair::of(a, b)?.with(py, metrics::kid_with_error)?;
    named(py, "Kid", found)
}

/// The kernel inception distance of two samples `[n, ...]` as published figures are made: the mean over random subsets
/// of `size` rows. Returns a `KidSubsets(mean, std, error)`.
#[pyfunction]
#[pyo3(signature = (a, b, subsets=100, size=1000, seed=0))]
pub fn kid_subsets<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    subsets: usize,
    size: usize,
    seed: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let found = Pair::of(a, b)?.with(py, |a, b, dims| metrics::kid_subsets(a, b, dims, (subsets, size), seed))?;
    named(py, "KidSubsets", (found.mean, found.std, found.error))
}

/// The unbiased squared maximum mean discrepancy of two samples `[n, ...]`, with a Gaussian kernel
/// `exp(-|x-y|^2 / (2 bandwidth^2))`, or the sum of several. Without a bandwidth it is the median distance.
#[pyfunction]
#[pyo3(signature = (a, b, bandwidth=None))]
pub fn mmd(py: Python, a: &Bound<PyAny>, b: &Bound<PyAny>, bandwidth: Option<&Bound<PyAny>>) -> PyResult<f64> {
    let bandwidths = bandwidth.map(|widths| Numbers::of(widths, "float64")).transpose()?;
    let bandwidths = bandwidths.map(|widths| widths.values::<f64>().to_vec());
    Pair::of(a, b)?.with(py, |a, b, dims| {
        let bandwidths = bandwidths.map_or_else(|| Ok(vec![metrics::median_distance(a, b, dims)?]), Ok)?;
        let kernels: Vec<Kernel> = bandwidths.iter().map(|&bandwidth| Kernel::Gaussian { bandwidth }).collect();
        metrics::mmd2(a, b, dims, &kernels)
    })
}

/// The energy distance of two samples `[n, ...]`: `2 E|x-y| - E|x-x'| - E|y-y'|`, unbiased.
#[pyfunction]
pub fn energy_distance(py: Python, a: &Bound<PyAny>, b: &Bound<PyAny>) -> PyResult<f64> {
    Pair::of(a, b)?.with(py, |a, b, dims| metrics::mmd2(a, b, dims, &[Kernel::Energy]))
}

/// The median distance between rows of two samples `[n, ...]` together.
#[pyfunction]
pub fn median_distance(py: Python, a: &Bound<PyAny>, b: &Bound<PyAny>) -> PyResult<f64> {
    Pair::of(a, b)?.with(py, metrics::median_distance)
}

/// The p-Wasserstein distance of two samples on the line, `[n]` and `[m]`, exactly.
#[pyfunction]
#[pyo3(signature = (a, b, p=1.0))]
pub fn wasserstein_1d(py: Python, a: &Bound<PyAny>, b: &Bound<PyAny>, p: f64) -> PyResult<f64> {
    let (a, b) = (Numbers::of(a, "float64")?, Numbers::of(b, "float64")?);
    for shape in [&a.shape, &b.shape] {
        if shape.len() != 1 {
            return Err(invalid(py, format!("{shape:?}: expected [n]; for rows there is sliced_wasserstein")));
        }
    }
    let (a, b) = (a.values::<f64>(), b.values::<f64>());
    released(py, || metrics::wasserstein_1d(&a, &b, p))
}

/// The sliced p-Wasserstein distance of two samples `[n, ...]`, along `directions` drawn by `seed`.
#[pyfunction]
#[pyo3(signature = (a, b, directions=500, p=1.0, seed=0))]
pub fn sliced_wasserstein(
    py: Python,
    a: &Bound<PyAny>,
    b: &Bound<PyAny>,
    directions: usize,
    p: f64,
    seed: u64,
) -> PyResult<f64> {
    Pair::of(a, b)?.with(py, |a, b, dims| metrics::sliced_wasserstein(a, b, dims, directions, p, seed))
}

/// Improved precision and recall of generated samples `fake` `[m, ...]` against `real` ones `[n, ...]`, by the balls of
/// the `k` nearest neighbours. Returns a `PrecisionRecall(precision, recall)`.
#[pyfunction]
#[pyo3(signature = (real, fake, k=3))]
pub fn precision_recall<'py>(
    py: Python<'py>,
    real: &Bound<'py, PyAny>,
    fake: &Bound<'py, PyAny>,
    k: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let found = Pair::of(real, fake)?.with(py, |real, fake, dims| metrics::precision_recall(real, fake, dims, k))?;
    named(py, "PrecisionRecall", (found.precision, found.recall))
}

/// Density and coverage of generated samples `fake` `[m, ...]` against `real` ones `[n, ...]`. Returns a
/// `DensityCoverage(density, coverage)`.
#[pyfunction]
#[pyo3(signature = (real, fake, k=5))]
pub fn density_coverage<'py>(
    py: Python<'py>,
    real: &Bound<'py, PyAny>,
    fake: &Bound<'py, PyAny>,
    k: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let found = Pair::of(real, fake)?.with(py, |real, fake, dims| metrics::density_coverage(real, fake, dims, k))?;
    named(py, "DensityCoverage", (found.density, found.coverage))
}

/// The inception score of class probabilities `[n, classes]`, over contiguous splits. Returns an
/// `InceptionScore(mean, std)`.
#[pyfunction]
#[pyo3(signature = (probabilities, splits=10))]
pub fn inception_score<'py>(
    py: Python<'py>,
    probabilities: &Bound<'py, PyAny>,
    splits: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let rows = Rows::of(probabilities, "probabilities")?;
    let values = rows.values();
    let found = released(py, || metrics::inception_score(&values, rows.dims, splits))?;
    named(py, "InceptionScore", (found.mean, found.std))
}

/// Scores logits `[n, classes]` against labels `[n]`: a `Classification(accuracy, nll, ece)`, with the mean negative
/// log-likelihood in nats and the expected calibration error over `bins`.
#[pyfunction]
#[pyo3(signature = (logits, labels, bins=15))]
pub fn classification<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
    bins: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let rows = Rows::of(logits, "logits")?;
    let labels = whole::<u32>(labels, "labels")?;
    let values = rows.values();
    let found = released(py, || metrics::classification(&values, rows.dims, &labels, bins))?;
    named(py, "Classification", (found.accuracy, found.nll, found.ece))
}

/// Ranks the labels of each row by falling score and looks where those that it has come in it: a `Ranking(precision,
/// recall, f, map, mrr, rows, left_out)`, the first three a dict by cut-off. `scores` and `targets` (0 or 1) are
/// `[n, labels]`.
#[pyfunction]
#[pyo3(signature = (scores, targets, cutoffs=vec![1, 3, 5]))]
pub fn ranking<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    targets: &Bound<'py, PyAny>,
    cutoffs: Vec<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let rows = Rows::of(scores, "scores")?;
    let targets = whole::<u8>(targets, "targets")?;
    let values = rows.values();
    let found = released(py, || metrics::ranking(&values, &targets, rows.dims, &cutoffs))?;
    let by_cutoff = |figure: fn(&metrics::AtCutoff) -> f64| {
        found.at.iter().map(|at| (at.k, figure(at))).collect::<std::collections::BTreeMap<usize, f64>>()
    };
    let at = (by_cutoff(|at| at.precision), by_cutoff(|at| at.recall), by_cutoff(|at| at.f));
    named(py, "Ranking", (at.0, at.1, at.2, found.map, found.mrr, found.rows, found.left_out))
}

/// F1 of the labels whose score is at least `threshold`: a `MultilabelF1(micro, macro)`. `scores` and `targets` (0 or 1)
/// are `[n, labels]`.
#[pyfunction]
#[pyo3(signature = (scores, targets, threshold=0.5))]
pub fn multilabel_f1<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    targets: &Bound<'py, PyAny>,
    threshold: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let rows = Rows::of(scores, "scores")?;
    let targets = whole::<u8>(targets, "targets")?;
    let values = rows.values();
    let found = released(py, || metrics::multilabel_f1(&values, &targets, rows.dims, threshold))?;
    named(py, "MultilabelF1", (found.micro, found.macro_mean))
}

/// Whole numbers of an array, whatever its shape. Errors on others.
fn whole<T: TryFrom<i64>>(object: &Bound<PyAny>, name: &str) -> PyResult<Vec<T>> {
    let found: Vec<f64> = Numbers::of(object, "float64")?.values::<f64>().to_vec();
    let number = |x: f64| {
        let whole = (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i64);
        whole.and_then(|x| T::try_from(x).ok()).ok_or(x)
    };
    let numbers: std::result::Result<Vec<T>, f64> = found.into_iter().map(number).collect();
    let what =
        |x: f64| veridical::Error::argument("metrics", format!("{name} hold {x}, expected whole numbers from 0 on"));
    numbers.map_err(what).or_raise(object.py())
}
