//! What every fine-tuning of a model file begins with.

use std::path::Path;

use crate::data::Images;
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::tensor::Device;
use crate::train::RunConfig;

/// A trained model, and `run` with the model's architecture in place of its own, for data that look like `data`, and
/// without a ramp of the running average ([`RunConfig::for_trained_weights`]).
///
/// Errors if the file is no model, if the settings state another `sigma_data` than it was trained with, and if it takes
/// other images or more classes than the data have.
pub fn pretrained(path: impl AsRef<Path>, run: &RunConfig, data: &Images) -> Result<(Model, RunConfig)> {
    let path = path.as_ref();
    let model = Model::load(path, &Device::named(&run.train.device)?)?;
    let named = |what: String| Error::Config(format!("{}: {what}", path.display()));
    let trained = model.denoiser().sigma_data();
    let stated =
        run.model.get("sigma_data").and_then(|value| value.as_float().or(value.as_integer().map(|i| i as f64)));
    if let Some(stated) = stated.filter(|stated| (stated - trained).abs() > 1e-9) {
        return Err(named(format!(
            "the model was trained with sigma_data = {trained}, but model.sigma_data is {stated}; set it to the model's"
        )));
    }
    let (expected, [h, w, c]) = (model.denoiser().sample_shape(), data.size());
    if expected != [h, w, c] && expected != [h * w * c] {
        return Err(named(format!(
            "the model makes {expected:?}, the data are {:?} (height, width, channels)",
            data.size()
        )));
    }
    model.check_columns(data.columns()).map_err(|error| named(error.to_string()))?;
    let classes = model.denoiser().label_dim();
    if classes > 0 && classes != data.classes() {
        return Err(named(format!("the model has {classes} classes, the data {}", data.classes())));
    }
    let mut run = run.with_architecture(model.config())?.for_trained_weights();
    run.data.labels = classes > 0;
    Ok((model, run))
}

/// What is suspicious about a model for these data, for a person to read: the spread of values that it was trained for.
pub fn warning(model: &Model, data: &Images) -> Option<String> {
    let (trained, here) = (model.denoiser().sigma_data(), data.deviation());
    let far = (trained / here).ln().abs() > std::f64::consts::LN_2;
    far.then(|| {
        format!("warning: the model was trained for data of standard deviation {trained}, these have {here:.3}")
    })
}
