//! A denoiser with its weights, and its file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::precond::{Denoiser, Network};
use crate::error::{Error, Result};
use crate::nn::song::Conditions;
use crate::nn::{self, Context, Layout, Mlp, MlpConfig, SongConfig, SongUNet, Weights};
use crate::ops;
use crate::tensor::{DType, Device, Tensor};

/// The metadata key of model files that holds the architecture.
const KEY: &str = "veridical.model";

/// Which network, with its options.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkConfig {
    /// A U-Net for images.
    SongUNet(SongConfig),
    /// A perceptron for points.
    Mlp(MlpConfig),
}

/// An architecture: network, preconditioning, and the scale of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The network.
    pub network: NetworkConfig,
    /// Standard deviation of the data; EDM's 0.5 suits images in [-1, 1].
    pub sigma_data: f64,
}

impl ModelConfig {
    /// EDM preconditioning around `network`, for data of standard deviation 0.5.
    pub fn new(network: NetworkConfig) -> Self {
        ModelConfig { network, sigma_data: 0.5 }
    }

    /// The architecture as JSON, with EDM's keyword names.
    pub fn to_json(&self) -> Result<String> {
        let (model_type, options) = match &self.network {
            NetworkConfig::SongUNet(config) => ("SongUNet", serde_json::to_value(config)),
            NetworkConfig::Mlp(config) => ("MLP", serde_json::to_value(config)),
        };
        let mut fields = Map::new();
        fields.insert("precond".into(), "edm".into());
        fields.insert("model_type".into(), model_type.into());
        fields.insert("sigma_data".into(), self.sigma_data.into());
        if let Ok(Value::Object(options)) = options {
            fields.extend(options);
        }
        serde_json::to_string(&fields)
            .map_err(|error| Error::Config(format!("the architecture cannot be written: {error}")))
    }

    /// Reads what [`to_json`](Self::to_json) or a conversion of a public checkpoint wrote. Errors with the field that is
    /// missing, unknown or out of range.
    pub fn from_json(json: &str) -> Result<Self> {
        let bad = |what: String| Error::Config(format!("the model's architecture: {what}"));
        let mut fields: Map<String, Value> = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        let precond = fields.remove("precond").unwrap_or_else(|| "edm".into());
        if precond != "edm" {
            return Err(bad(format!("precond {precond} is not built by this version; it has \"edm\"")));
        }
        let sigma_data = match fields.remove("sigma_data") {
            None => 0.5,
            Some(value) => value
                .as_f64()
                .filter(|sd| sd.is_finite() && *sd > 0.0)
                .ok_or_else(|| bad(format!("sigma_data must be a positive number, got {value}")))?,
        };
        let model_type = fields.remove("model_type");
        let options = Value::Object(fields);
        let network = match model_type.as_ref().and_then(Value::as_str) {
            Some("SongUNet") => {
                NetworkConfig::SongUNet(serde_json::from_value(options).map_err(|error| bad(error.to_string()))?)
            }
            Some("MLP") => NetworkConfig::Mlp(serde_json::from_value(options).map_err(|error| bad(error.to_string()))?),
            _ => return Err(bad(format!("model_type must be \"SongUNet\" or \"MLP\", got {model_type:?}"))),
        };
        Ok(ModelConfig { network, sigma_data })
    }

    /// The denoiser and the parameters that it needs. Errors on a configuration that makes no network.
    pub fn build(&self) -> Result<(Denoiser, Arc<Layout>)> {
        let mut layout = Layout::new();
        let network = match &self.network {
            NetworkConfig::SongUNet(config) => Network::Song(SongUNet::new(&mut layout.scope("model"), config)?),
            NetworkConfig::Mlp(config) => Network::Mlp(Mlp::new(&mut layout.scope("model"), config)?),
        };
        if !(self.sigma_data.is_finite() && self.sigma_data > 0.0) {
            return Err(Error::Config(format!("sigma_data must be positive and finite, got {}", self.sigma_data)));
        }
        Ok((Denoiser { network, sigma_data: self.sigma_data }, Arc::new(layout)))
    }
}

/// A denoiser with weights: what is trained, sampled from, saved and loaded.
#[derive(Debug, Clone)]
pub struct Model {
    config: ModelConfig,
    denoiser: Denoiser,
    /// The values of the parameters.
    pub weights: Weights,
}

impl Model {
    /// A model with fresh weights, a pure function of the seed. Errors on a configuration that makes no network.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        let (denoiser, layout) = config.build()?;
        Ok(Model { config: config.clone(), denoiser, weights: Weights::init(&layout, seed, device)? })
    }

    /// The architecture.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The preconditioned network, without weights.
    pub fn denoiser(&self) -> &Denoiser {
        &self.denoiser
    }

    /// The same architecture with other weights, such as a running average. Errors if their count differs.
    pub fn with_flat_weights(&self, flat: Tensor) -> Result<Self> {
        Ok(Model { weights: self.weights.with_flat(flat)?, ..self.clone() })
    }

    /// `D(x; sigma)` without gradients, for samples `x` `[n, ...]` (images NHWC) that share one noise level.
    ///
    /// The network runs in f32; `x` may be f64 (on the CPU), and the result is of its dtype. `labels` are `[n, label_dim]`.
    pub fn denoise(&self, x: &Tensor, sigma: f64, labels: Option<&Tensor>) -> Result<Tensor> {
        let cx = Context::inference(&self.weights);
        let n = x.shape().first().copied().unwrap_or(0);
        let labels = labels.map(|labels| labels.into());
        let conditions = Conditions { class_labels: labels.as_ref(), augment_labels: None };
        let input = ops::cast(&x.into(), DType::F32)?;
        let denoised = self.denoiser.denoise(&cx, &input, &vec![sigma; n], conditions)?;
        Ok(ops::cast(&denoised, x.dtype())?.into_value())
    }

    /// Writes weights and architecture to a safetensors file. Errors on output.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        nn::save(path, &self.weights, &BTreeMap::from([(KEY.to_string(), self.config.to_json()?)]))
    }

    /// Reads a model from a safetensors file: architecture from its metadata, then the weights. Errors on input, on an
    /// unsound file, on an architecture that this version does not build, and on tensors that do not fit it.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let metadata = nn::metadata(path)?;
        let Some(json) = metadata.get(KEY) else {
            return Err(Error::format(
                path,
                format!("no metadata key {KEY:?}: it does not say which network it holds"),
            ));
        };
        let config = ModelConfig::from_json(json).map_err(|error| Error::format(path, error.to_string()))?;
        let (denoiser, layout) = config.build().map_err(|error| Error::format(path, error.to_string()))?;
        Ok(Model { weights: nn::load(path, &layout, device)?, config, denoiser })
    }
}
