//! `settings={"train.batch": 32}`, as `--set` has them.

use std::path::Path;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};
use veridical::data::ReadOptions;
use veridical::files::read_text;
use veridical::train::config::stored;
use veridical::train::{RunConfig, Settings as Document};
use veridical::{Error, Result};

/// A settings file is some kilobytes.
const MAX_BYTES: u64 = 1 << 18;

/// What a run is asked for besides its data.
pub struct Asked {
    pub preset: Option<String>,
    /// The text of a settings file.
    pub file: Option<String>,
    /// `section.key=value`, in their order.
    pub set: Vec<String>,
    /// Whether it goes on from what is there.
    pub resume: bool,
}

impl Asked {
    /// Reads the file of `config`, or of the run in `out` that is to be gone on with. Errors on presets and files
    /// beside `resume`.
    pub fn new(
        preset: Option<String>,
        config: Option<&Path>,
        settings: Option<&Bound<PyDict>>,
        (resume, out): (bool, &Path),
    ) -> PyResult<Result<Self>> {
        let set = lines(settings)?;
        Ok((|| {
            if resume && (preset.is_some() || config.is_some()) {
                return Err(Error::Config(
                    "resume goes on with the run's own settings: leave out preset and config".into(),
                ));
            }
            let file = match (resume, config) {
                (true, _) => Some(stored(out)?.text),
                (false, Some(path)) => Some(read_text(path, MAX_BYTES, "settings file")?),
                (false, None) => None,
            };
            Ok(Asked { preset, file, set, resume })
        })())
    }

    /// Whether nothing but data and single settings says what to do.
    pub fn is_fresh(&self) -> bool {
        self.preset.is_none() && self.file.is_none()
    }

    /// Where to compute, if it is said.
    pub fn device(&self) -> Option<&str> {
        self.word("train.device")
    }

    /// The word that the last setting of this key is.
    pub fn word(&self, key: &str) -> Option<&str> {
        let found = self.set.iter().rev().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.map(|text| text.trim_matches('"'))
    }

    /// How data are read that are opened before there are settings.
    pub fn reading(&self) -> Result<ReadOptions> {
        let of_data: Vec<String> = self.set.iter().filter(|line| line.starts_with("data.")).cloned().collect();
        RunConfig::build(None, None, &of_data)?.data.options()
    }

    /// The settings of a method: `fitting`, or a preset, changed by file and single settings and then by `edit`. Those
    /// of a run that is gone on with may differ from what it was started with only where that makes sense.
    pub fn build<S: Document>(
        &self,
        fitting: S,
        preset: impl Fn(&str) -> Result<S>,
        edit: impl FnOnce(&mut S),
    ) -> Result<S> {
        let mut settings = self.preset.as_deref().map_or(Ok(fitting), preset)?;
        if self.resume {
            settings.without_architecture(); // the stored one is complete
        }
        let mut settings = settings.build(self.file.as_deref(), &self.set)?;
        edit(&mut settings);
        settings.check()?;
        if let (true, Some(stored)) = (self.resume, &self.file) {
            settings.continues(stored)?;
        }
        Ok(settings)
    }
}

/// Settings as lines, `section.key=value` with the value in TOML.
fn lines(settings: Option<&Bound<PyDict>>) -> PyResult<Vec<String>> {
    let line =
        |(key, value): (Bound<PyAny>, Bound<PyAny>)| Ok(format!("{}={}", key.extract::<String>()?, toml(&value)?));
    settings.into_iter().flatten().map(line).collect()
}

/// A value as TOML writes it.
fn toml(value: &Bound<PyAny>) -> PyResult<String> {
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(truth.is_true().to_string());
    }
    if value.is_instance_of::<PyString>() || value.hasattr("__fspath__")? {
        // JSON's strings are TOML's.
        return Ok(serde_json::Value::from(value.str()?.to_string()).to_string());
    }
    // Of NumPy's numbers, too, which print with their type.
    if value.hasattr("__index__")? {
        return Ok(value.call_method0("__index__")?.str()?.to_string());
    }
    if value.hasattr("__float__")? {
        return Ok(number(value.extract()?));
    }
    match value.try_iter() {
        Ok(parts) => {
            let parts: PyResult<Vec<String>> = parts.map(|part| toml(&part?)).collect();
            Ok(format!("[{}]", parts?.join(", ")))
        }
        Err(_) => Err(PyTypeError::new_err(format!(
            "{}: a setting is a number, a truth value, a text, or a list of these",
            value.repr()?
        ))),
    }
}

fn number(x: f64) -> String {
    match x.is_nan() || x.is_infinite() {
        true if x.is_nan() => "nan".into(),
        true => if x > 0.0 { "inf" } else { "-inf" }.into(),
        // With a point or an exponent, which makes it a fraction to TOML.
        false => format!("{x:?}"),
    }
}
