//! What runs come to.

use std::path::PathBuf;

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use serde::Serialize;
use veridical::Error;
use veridical::diffusion;
use veridical::train::End;

use crate::errors::OrRaise;
use crate::model::Model;

/// An instance of a named tuple of `veridical.results`.
pub fn named<'py>(py: Python<'py>, name: &str, fields: impl PyCallArgs<'py>) -> PyResult<Bound<'py, PyAny>> {
    py.import("veridical.results")?.getattr(name)?.call1(fields)
}

/// Figures as Python has them: dicts, lists and numbers.
pub fn figures<'py>(py: Python<'py>, figures: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let bad = |e: serde_json::Error| Error::Config(format!("the figures cannot be written: {e}"));
    let text = serde_json::to_string(figures).map_err(bad).or_raise(py)?;
    py.import("json")?.call_method1("loads", (text,))
}

/// What a run came to.
#[pyclass(frozen, module = "veridical")]
pub struct Outcome {
    end: End,
    /// Steps made in all, of all sessions.
    #[pyo3(get)]
    steps: u64,
    /// The directory of the run.
    #[pyo3(get)]
    out: PathBuf,
    /// The trained model, with averaged weights; `None` of the games of several networks, whose files are in
    /// `out/models`, and where a run was left before it had one.
    #[pyo3(get)]
    model: Option<Py<Model>>,
    /// What was measured, as `metrics.json` has it.
    #[pyo3(get)]
    figures: Py<PyAny>,
}

impl Outcome {
    pub fn new(
        py: Python,
        (end, steps, out): (End, u64, PathBuf),
        model: Option<diffusion::Model>,
        measured: &impl Serialize,
    ) -> PyResult<Self> {
        let model = model.map(|model| Py::new(py, Model::from(model))).transpose()?;
        Ok(Outcome { end, steps, out, model, figures: figures(py, measured)?.unbind() })
    }
}

#[pymethods]
impl Outcome {
    /// How it ended: `finished`, `out of time` or `stopped`; `resume=True` goes on with the latter two.
    #[getter]
    fn end(&self) -> &'static str {
        match self.end {
            End::Finished => "finished",
            End::OutOfTime => "out of time",
            End::Stopped => "stopped",
        }
    }

    fn __repr__(&self) -> String {
        format!("<veridical.Outcome: {} after {} steps, in {}>", self.end(), self.steps, self.out.display())
    }
}
