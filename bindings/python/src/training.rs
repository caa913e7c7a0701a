//! `veridical.train`.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use veridical::cli;
use veridical::data::{DataSet, ReadOptions};
use veridical::diffusion::ModelConfig;
use veridical::distributed::Ranks;
use veridical::tensor::TensorFile;
use veridical::train::{Observer, Prepared, RunConfig, RunDir, RunOptions};
use veridical::{Error, Result};

use crate::data::{ARRAYS, Data};
use crate::errors::OrRaise;
use crate::outcome::Outcome;
use crate::progress::Callback;
use crate::settings::Asked;
use crate::work::released;

/// Trains a diffusion model on data, in the directory `out`, and returns an `Outcome` with the model.
///
/// `data` is an array, a pair `(images, labels)`, a path, or `"digits"` or `"synthetic:NAME"`. Images are
/// `[n, height, width, channels]` or `[n, height, width]`, points `[n, dims]`; `uint8` is taken as bytes, numbers about
/// unit size as they are, all others are standardised, and the model keeps their units (`Model.to_data`). Labels are
/// whole numbers `[n]` or one-hot `[n, classes]`.
///
/// Settings follow from the data, or from `preset`, or from the TOML file `config`; `settings` are laid over them, by
/// dotted names as `--set` of the command has them: `{"train.images": 100_000, "optimizer.lr": 3e-4}`.
/// `init` is a model to start from. `progress` is called after each step with a `veridical.results.Progress`; what it
/// raises ends the run.
///
/// The directory gets what `veridical train` leaves. Ctrl-C writes a checkpoint of the last whole step and raises
/// `KeyboardInterrupt`; `resume=True` goes on from it bit for bit. `overwrite=True` replaces a run that is there.
/// `minutes` ends it after that time.
#[pyfunction]
#[pyo3(signature = (data, out, *, settings=None, preset=None, config=None, init=None, resume=false, overwrite=false, minutes=None, progress=None))]
pub fn train(
    py: Python,
    data: &Bound<PyAny>,
    out: PathBuf,
    settings: Option<&Bound<PyDict>>,
    preset: Option<String>,
    config: Option<PathBuf>,
    init: Option<PathBuf>,
    resume: bool,
    overwrite: bool,
    minutes: Option<f64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Outcome> {
    let data = Data::of(data, ARRAYS)?;
    let asked = Asked::new(preset, config.as_deref(), settings, (resume, &out))?.or_raise(py)?;
    let mut observer = Callback::new(progress);
    let ran = released(py, || {
        let init = init.as_deref().map(cli::newest).transpose()?;
        let (config, set) = prepared(&data, &asked, init.as_deref())?;
        observer.note(&set.account());
        let mut prepared = Prepared::new(&config, &set)?;
        prepared.rehearse()?;
        let (place, options) = place(&out, [data.name()], (resume, overwrite, minutes))?;
        prepared.run(&place, options, &mut observer)
    });
    let ran = observer.or_raised(ran)?;
    Outcome::new(py, (ran.end, ran.steps, out), Some(ran.model), &())
}

/// Settings, and the data as they say that these are read.
fn prepared(data: &Data, asked: &Asked, init: Option<&Path>) -> Result<(RunConfig, DataSet)> {
    let opened = match asked.is_fresh() {
        true => Some(data.open(&beside_model(asked.reading()?, init)?)?),
        false => None,
    };
    let base = match (&asked.preset, &opened) {
        (Some(name), _) => RunConfig::build(Some(name), None, &[])?,
        (None, Some(set)) => cli::fitting(set, asked.device())?,
        (None, None) => RunConfig::default(),
    };
    let base = match (init, &opened) {
        // Whoever goes on from a model wants its network.
        (Some(path), Some(_)) => base.with_architecture(&ModelConfig::of_file(&TensorFile::open(path)?)?)?,
        _ => base,
    };
    let mut config = base.changed(asked.file.as_deref(), &asked.set)?;
    config.data.path = data.name().into();
    if let Some(path) = init {
        config.train.init = named(path)?;
        config = config.for_trained_weights();
    }
    let set = match opened {
        Some(set) => set,
        None => {
            let init = config.train.init.as_str();
            data.open(&beside_model(config.data.options()?, (!init.is_empty()).then_some(Path::new(init)))?)?
        }
    };
    Ok((config, set))
}

/// How data are read that a model file goes on learning from: in its units and columns.
pub fn beside_model(options: ReadOptions, model: Option<&Path>) -> Result<ReadOptions> {
    match model {
        Some(path) => cli::for_model_file(options, path),
        None => Ok(options),
    }
}

/// A model file as settings name it.
pub fn named(path: &Path) -> Result<String> {
    let text = path.to_str().map(String::from);
    text.ok_or_else(|| Error::Config(format!("{}: a settings file can name UTF-8 paths only", path.display())))
}

/// The directory of a run, and what it is asked for.
pub fn place<'a>(
    out: &Path,
    data: impl IntoIterator<Item = &'a str>,
    (resume, overwrite, minutes): (bool, bool, Option<f64>),
) -> Result<(RunDir, RunOptions)> {
    if resume && overwrite {
        return Err(Error::Config("resume goes on with the run that overwrite would replace: give one of them".into()));
    }
    if !resume {
        cli::outside(out, data)?;
    }
    let budget = cli::budget(minutes)?;
    let options = RunOptions { resume, budget, ..RunOptions::default() };
    // One process, whatever started it: a notebook or a program of PyTorch's has variables of its own.
    Ok((cli::directory(out, resume, overwrite, &Ranks::alone())?, options))
}
