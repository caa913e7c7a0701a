//! `veridical.collapse`.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use veridical::cli;

use crate::options::flags;
use crate::outcome::figures;
use crate::work::released;

/// What becomes of a model family that is trained on its own samples, beside the exact theory where there is one.
///
/// Keywords are the flags of `veridical collapse`, with its defaults: `family` (categorical, bigram, ngram, gaussian,
/// gmm, kde, regression, transformer, diffusion-points, diffusion-digits), `arm` (replace, mixture, stratified,
/// accumulate, anchor, weighted, filter), `rounds`, `samples` and `fresh` (numbers or schedules such as "100:power=1"),
/// `repeats`, `seed`, `dims`, `vocab` and so on. Returns a dict, as `--json` writes it: `measures` by name with `mean`,
/// `stderr` and `theory` over the rounds, `n`, `alpha`, `verdict`.
#[pyfunction]
#[pyo3(signature = (**keywords))]
pub fn collapse<'py>(py: Python<'py>, keywords: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
    let flags = flags(keywords)?;
    let found = released(py, || cli::simulated(&flags))?;
    figures(py, &found)
}
