//! Errors of the library as exceptions, with the same text.

use std::io::ErrorKind;

use pyo3::prelude::*;
use pyo3::types::PyType;
use veridical::Error;

/// The exception of an error: a class of `veridical.errors`, all of which are `VeridicalError`s.
pub fn exception(py: Python, error: &Error) -> PyErr {
    let class = match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => "MissingFileError",
        Error::Io { .. } => "FileError",
        Error::Shape { .. }
        | Error::DType { .. }
        | Error::Argument { .. }
        | Error::NonFinite { .. }
        | Error::Format { .. }
        | Error::Config(_) => "InvalidInput",
        Error::Unavailable { .. } | Error::Device { .. } | Error::Driver { .. } => "DeviceError",
        Error::OutOfMemory { .. } => "OutOfMemory",
        _ => "VeridicalError",
    };
    raised(py, class, &error.to_string())
}

/// What was asked for makes no sense: `InvalidInput`, which is a `ValueError`.
pub fn invalid(py: Python, what: impl AsRef<str>) -> PyErr {
    raised(py, "InvalidInput", what.as_ref())
}

/// An exception of this class of `veridical.errors`.
pub fn raised(py: Python, class: &str, text: &str) -> PyErr {
    let class = py.import("veridical.errors").and_then(|module| module.getattr(class));
    match class.and_then(|class| Ok(class.cast_into::<PyType>()?)) {
        Ok(class) => PyErr::from_type(class, (text.to_string(),)),
        Err(error) => error,
    }
}

/// Results of the library for Python.
pub trait OrRaise<T> {
    fn or_raise(self, py: Python) -> PyResult<T>;
}

impl<T> OrRaise<T> for veridical::Result<T> {
    fn or_raise(self, py: Python) -> PyResult<T> {
        self.map_err(|error| exception(py, &error))
    }
}
