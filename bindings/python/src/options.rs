//! Keywords of Python as flags of the command.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyTuple};

/// `s_churn=40.0` as `--s-churn=40.0`, `brownian=True` as `--brownian`, `grid=[80, 10, 0]` as `--grid=80,10,0`; what is
/// `None` or `False` is left out.
pub fn flags(keywords: Option<&Bound<PyDict>>) -> PyResult<Vec<String>> {
    let mut flags = Vec::new();
    for (name, value) in keywords.into_iter().flatten() {
        let flag = format!("--{}", name.extract::<String>()?.replace('_', "-"));
        if value.is_none() {
            continue;
        }
        if let Ok(on) = value.cast::<PyBool>() {
            flags.extend(on.is_true().then_some(flag));
            continue;
        }
        let text = if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            let parts: PyResult<Vec<String>> = value.try_iter()?.map(|part| text(&part?)).collect();
            parts?.join(",")
        } else {
            text(&value)?
        };
        flags.push(format!("{flag}={text}"));
    }
    Ok(flags)
}

fn text(value: &Bound<PyAny>) -> PyResult<String> {
    if value.is_instance_of::<PyDict>() {
        return Err(PyTypeError::new_err("a keyword is a number, a word, or a list of numbers, not a dict"));
    }
    Ok(value.str()?.to_string())
}
