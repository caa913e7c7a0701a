//! A denoiser with its weights, and its file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::denoiser::Denoiser;
use super::precond::Precond;
use crate::error::{Error, Result};
use crate::escape::escaped;
use crate::nn::{self, Conditions, Context, Layout, NetworkConfig, Weights};
use crate::ops;
use crate::tensor::{DType, Device, Tensor, TensorFile};
use crate::units::Units;

/// The metadata key of model files that holds the architecture.
const KEY: &str = "veridical.model";
/// The metadata key of the units of what the model was trained on, as JSON.
const UNITS: &str = "veridical.units";
/// The metadata key of the files of classifiers, which are no models of samples.
const CLASSIFIER: &str = "veridical.classifier";
/// An option of public files that is left aside.
const USE_FP16: &str = "use_fp16";

/// An architecture: network and preconditioning.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The network.
    pub network: NetworkConfig,
    /// What is around it.
    pub precond: Precond,
}

impl ModelConfig {
    /// EDM preconditioning around `network`, for data of standard deviation 0.5.
    pub fn new(network: impl Into<NetworkConfig>) -> Self {
        Self::edm(network, 0.5)
    }

    /// EDM preconditioning around `network`, for data of this standard deviation; 0.5 suits images in [-1, 1].
    pub fn edm(network: impl Into<NetworkConfig>, sigma_data: f64) -> Self {
        ModelConfig { network: network.into(), precond: Precond::edm(sigma_data) }
    }

    /// The architecture as JSON, with EDM's keyword names.
    pub fn to_json(&self) -> Result<String> {
        let mut fields = self.precond.to_fields()?;
        fields.insert("model_type".into(), self.network.model_type().into());
        for (name, value) in self.network.to_fields()? {
            if name == USE_FP16 || fields.insert(name.clone(), value).is_some() {
                let kind = self.network.model_type();
                return Err(Error::Config(format!(
                    "{kind} has an option called {name}, which is a name of model files already: call it otherwise"
                )));
            }
        }
        serde_json::to_string(&fields)
            .map_err(|error| Error::Config(format!("the architecture cannot be written: {error}")))
    }

    /// Reads what [`to_json`](Self::to_json) or a conversion of a public checkpoint wrote. Errors with the field that
    /// is missing, unknown or out of range.
    ///
    /// EDM's `use_fp16` is taken and left aside: in which precision a network runs is its caller's choice.
    pub fn from_json(json: &str) -> Result<Self> {
        let bad = |what: String| Error::Config(format!("the model's architecture: {what}"));
        let mut fields: Map<String, Value> = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        fields.remove(USE_FP16);
        let precond = Precond::from_fields(&mut fields).map_err(|error| bad(error.to_string()))?;
        let Some(Value::String(model_type)) = fields.remove("model_type") else {
            return Err(bad(format!("model_type must name the network: one of {}", nn::registered().join(", "))));
        };
        let network = NetworkConfig::from_fields(&model_type, fields).map_err(|error| bad(error.to_string()))?;
        let config = ModelConfig { network, precond };
        config.precond.build().map_err(|error| bad(error.to_string()))?;
        Ok(config)
    }

    /// The architecture that a model file states. Errors if it states none, or one that this version does not build.
    pub fn of_file(file: &TensorFile) -> Result<Self> {
        let metadata = file.metadata();
        let Some(json) = metadata.get(KEY) else {
            let what = match metadata.contains_key(CLASSIFIER) {
                true => format!(
                    "a classifier (it has the metadata key {CLASSIFIER:?}), which draws and denoises nothing; it is what \
                     `veridical evaluate --features` takes"
                ),
                false => format!("no metadata key {KEY:?}: it does not say which network it holds"),
            };
            return Err(Error::format(file.path(), what));
        };
        Self::from_json(json).map_err(|error| Error::format(file.path(), error.to_string()))
    }

    /// The denoiser and the parameters that it needs. Errors on a configuration that makes no network.
    pub fn build(&self) -> Result<(Denoiser, Arc<Layout>)> {
        self.to_json()?; // what a file could not hold is found out before it is trained
        let mut layout = Layout::new();
        let denoiser = Denoiser::build(&self.network, &self.precond, &mut layout.scope("model"))?;
        layout.check()?;
        Ok((denoiser, Arc::new(layout)))
    }
}

/// A denoiser with weights: what is trained, sampled from, saved and loaded.
#[derive(Debug, Clone)]
pub struct Model {
    config: ModelConfig,
    denoiser: Denoiser,
    class_names: Vec<String>,
    columns: Vec<String>,
    units: Option<Units>,
    /// The values of the parameters.
    pub weights: Weights,
}

impl Model {
    /// A model with fresh weights, a pure function of the seed. Errors on a configuration that makes no network.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        let (denoiser, layout) = config.build()?;
        let weights = Weights::init(&layout, seed, device)?;
        Ok(Model {
            config: config.clone(),
            denoiser,
            class_names: Vec::new(),
            columns: Vec::new(),
            units: None,
            weights,
        })
    }

    /// The architecture.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The preconditioned network, without weights.
    pub fn denoiser(&self) -> &Denoiser {
        &self.denoiser
    }

    /// The names of the classes, in the order of their labels; none where nobody said them.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The same model with names for its classes, which its file keeps. Errors unless there are none, or one for each
    /// class.
    pub fn with_class_names(self, names: &[String]) -> Result<Self> {
        let classes = self.denoiser.label_dim();
        if !names.is_empty() && names.len() != classes {
            let what = format!("{} names for {classes} classes; give one for each, or none", names.len());
            return Err(Error::argument("with_class_names", what));
        }
        Ok(Model { class_names: names.to_vec(), ..self })
    }

    /// The names of the columns of the table that the model was trained on, in the order of its numbers; none where it
    /// was no table, or one without a header.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The same model with names for its columns, which its file keeps. Errors unless there are none, or one for each
    /// number of a sample.
    pub fn with_columns(self, names: &[String]) -> Result<Self> {
        let channels = self.denoiser.sample_shape().last().copied().unwrap_or(1);
        if !names.is_empty() && names.len() != channels {
            let what = format!("{} names for {channels} columns; give one for each, or none", names.len());
            return Err(Error::argument("with_columns", what));
        }
        Ok(Model { columns: names.to_vec(), ..self })
    }

    /// The units of the data that the model was trained on; `None` where its file does not say them, as of files from
    /// elsewhere, which are for images in [-1, 1].
    pub fn units(&self) -> Option<&Units> {
        self.units.as_ref()
    }

    /// The same model for data in these units, which its file keeps. Errors unless they are for its channels.
    pub fn with_units(self, units: &Units) -> Result<Self> {
        units.check_channels(self.denoiser.sample_shape().last().copied().unwrap_or(1))?;
        Ok(Model { units: Some(units.clone()), ..self })
    }

    /// The units of the data that the model of a file was trained on, if it states them. Errors where they make no
    /// sense.
    pub fn units_of_file(file: &TensorFile) -> Result<Option<Units>> {
        let bad = |error: String| Error::format(file.path(), format!("the metadata key {UNITS:?}: {error}"));
        let metadata = file.metadata();
        let Some(json) = metadata.get(UNITS) else { return Ok(None) };
        let units: Units = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        units.check().map_err(bad)?;
        Ok(Some(units))
    }

    /// Samples `[n, ..., channels]` in the units of the data as the model sees them; unchanged where it was trained on
    /// numbers of about unit size, in which its files are.
    pub fn in_own_units(&self, x: &Tensor) -> Result<Tensor> {
        self.converted(x, Units::to_model)
    }

    /// What [`in_own_units`](Self::in_own_units) takes, from samples of the model.
    pub fn in_user_units(&self, x: &Tensor) -> Result<Tensor> {
        self.converted(x, Units::to_user)
    }

    fn converted(&self, x: &Tensor, of: fn(&Units, f64, usize) -> f64) -> Result<Tensor> {
        let Some(units) = self.units.as_ref().filter(|units| !units.is_unit_size()) else { return Ok(x.clone()) };
        let channels = x.shape().last().copied().unwrap_or(1).max(1);
        let values: Vec<f32> =
            x.to_vec::<f32>()?.iter().enumerate().map(|(i, &x)| of(units, x.into(), i % channels) as f32).collect();
        Tensor::from_slice(&values, x.shape(), &x.device())
    }

    /// Errors unless data in these units are in those of the model, as far as it says them.
    pub fn check_units(&self, units: &Units) -> Result<()> {
        match &self.units {
            Some(own) if own != units && !(own.is_unit_size() && units.is_unit_size()) => Err(Error::Config(format!(
                "the model was trained on numbers that were {own}, and these are {units}: the same number would mean another"
            ))),
            _ => Ok(()),
        }
    }

    /// Errors unless the classes of data, `names`, are this model's, in the same order, as far as both are known.
    pub fn check_classes(&self, names: &[String]) -> Result<()> {
        if self.class_names.is_empty() || names.is_empty() || self.class_names == names {
            return Ok(());
        }
        Err(Error::Config(format!(
            "the classes of the model are {}, those of the data {}: a label would mean another class",
            listed(&self.class_names),
            listed(names)
        )))
    }

    /// Errors unless the columns of data, `names`, are this model's, in the same order, as far as both are known.
    /// Readers of tables put them into its order where they are told of it.
    pub fn check_columns(&self, names: &[String]) -> Result<()> {
        if self.columns.is_empty() || names.is_empty() || self.columns == names {
            return Ok(());
        }
        Err(Error::Config(format!(
            "the columns of the model are {}, those of the data {}: a number would mean another; put them into the \
             model's order",
            listed(&self.columns),
            listed(names)
        )))
    }

    /// The same architecture with other weights, such as a running average with its buffers. Errors if their count
    /// differs.
    pub fn with_weights(&self, weights: &Weights) -> Result<Self> {
        let weights = self.weights.with_flat(weights.flat().clone())?.with_buffers_of(weights)?;
        Ok(Model { weights, ..self.clone() })
    }

    /// As [`with_weights`](Self::with_weights), with the buffers as they are here.
    pub fn with_flat_weights(&self, flat: Tensor) -> Result<Self> {
        Ok(Model { weights: self.weights.with_flat(flat)?, ..self.clone() })
    }

    /// `D(x; sigma)` without gradients, for samples `x` `[n, ...]` (images NHWC) that share one noise level.
    ///
    /// The network runs in f32; `x` may be f64 (on the CPU), and the result is of its dtype. `labels` are `[n,
    /// label_dim]`.
    pub fn denoise(&self, x: &Tensor, sigma: f64, labels: Option<&Tensor>) -> Result<Tensor> {
        let labels = labels.map(|labels| labels.into());
        let conditions = Conditions { class_labels: labels.as_ref(), augment_labels: None };
        let n = x.shape().first().copied().unwrap_or(0);
        self.denoise_each(x, &vec![sigma; n], conditions)
    }

    /// As [`denoise`](Self::denoise), with a noise level for each sample and everything that the network can be told.
    pub fn denoise_each(&self, x: &Tensor, sigmas: &[f64], conditions: Conditions) -> Result<Tensor> {
        let cx = Context::inference(&self.weights);
        let input = ops::cast(x, DType::F32)?;
        let denoised = self.denoiser.denoise(&cx, &input, sigmas, conditions)?;
        Ok(ops::cast(&denoised, x.dtype())?.into_value())
    }

    /// Writes weights, architecture and the names of classes and columns to a safetensors file. Errors on output.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut metadata = BTreeMap::from([(KEY.to_string(), self.config.to_json()?)]);
        metadata.extend(nn::class_names_metadata(&self.class_names)?);
        metadata.extend(nn::column_names_metadata(&self.columns)?);
        if let Some(units) = &self.units {
            let json = serde_json::to_string(units).map_err(|error| Error::Config(format!("units: {error}")))?;
            metadata.insert(UNITS.to_string(), json);
        }
        nn::save(path, &self.weights, &metadata)
    }

    /// Reads a model from a safetensors file: architecture from its metadata, then the weights. Errors on input, on an
    /// unsound file, on an architecture that this version does not build, and on tensors or names of classes that do
    /// not fit it.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let config = ModelConfig::of_file(&file)?;
        let (denoiser, layout) = config.build().map_err(|error| Error::format(file.path(), error.to_string()))?;
        let weights = nn::load_from(&file, &layout, device)?;
        let model = Model { weights, config, denoiser, class_names: Vec::new(), columns: Vec::new(), units: None };
        let named = |error: Error| Error::format(file.path(), error.to_string());
        let model = model.with_class_names(&nn::class_names(&file)?).map_err(named)?;
        let model = model.with_columns(&nn::column_names(&file)?).map_err(named)?;
        match Self::units_of_file(&file)? {
            Some(units) => model.with_units(&units).map_err(named),
            None => Ok(model),
        }
    }
}

/// The first of some names.
fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(10).map(|name| escaped(name).to_string()).collect();
    format!("{}{}", shown.join(", "), if names.len() > 10 { ", …" } else { "" })
}
