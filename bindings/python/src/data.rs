//! What is learned from: a path, the name of a set in the binary, or arrays.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyTuple;
use veridical::Result;
use veridical::data::{DataSet, ReadOptions, of_npy, open_with};

use crate::arrays::npy;

/// A data set before it is read.
pub enum Data {
    Path(String),
    Arrays { name: &'static str, images: PyBackedBytes, labels: Option<PyBackedBytes> },
}

impl Data {
    /// A text or path; an array; or a pair of arrays, images and labels. Arrays are called `name` in settings.
    pub fn of(given: &Bound<PyAny>, name: &'static str) -> PyResult<Self> {
        if let Ok(path) = given.extract::<String>() {
            return Ok(Data::Path(path));
        }
        if given.hasattr("__fspath__")? {
            return Ok(Data::Path(given.call_method0("__fspath__")?.extract()?));
        }
        if let Ok(pair) = given.cast::<PyTuple>()
            && pair.len() == 2
        {
            let (images, labels) = (npy(&pair.get_item(0)?)?, npy(&pair.get_item(1)?)?);
            return Ok(Data::Arrays { name, images, labels: Some(labels) });
        }
        Ok(Data::Arrays { name, images: npy(given)?, labels: None })
    }

    /// What `data.path` is set to.
    pub fn name(&self) -> &str {
        match self {
            Data::Path(path) => path,
            Data::Arrays { name, .. } => name,
        }
    }

    /// Reads it. Errors as the readers do.
    pub fn open(&self, options: &ReadOptions) -> Result<DataSet> {
        match self {
            Data::Path(path) => open_with(path, options),
            Data::Arrays { name, images, labels } => of_npy(name, images, labels.as_deref(), options),
        }
    }
}

/// What arrays are called where settings name the data.
pub const ARRAYS: &str = "arrays in memory";
/// The same of noisy ones.
pub const NOISY: &str = "noisy arrays in memory";
