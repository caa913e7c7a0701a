//! A perceptron for points: the score network of low-dimensional data.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::layers::{Linear, Module};
use super::layout::{Layout, Scope};
use super::score::{Architecture, Conditions, DataShape, ScoreNetwork};
use super::unet::{MAX_LABELS, check_labels};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::{DType, Tensor};

/// The options of [`Mlp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Numbers per point.
    pub dims: usize,
    /// Number of classes; 0 for an unconditional network.
    #[serde(default)]
    pub label_dim: usize,
    /// Probability that a sample's class is kept from the network in training (for guidance).
    #[serde(default)]
    pub label_dropout: f64,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Residual layers.
    pub layers: usize,
    /// Channels of the noise embedding, even.
    pub noise_channels: usize,
}

impl MlpConfig {
    /// Three residual layers of 128 for points of `dims` numbers.
    pub fn new(dims: usize) -> Self {
        MlpConfig { dims, label_dim: 0, label_dropout: 0.0, hidden: 128, layers: 3, noise_channels: 32 }
    }
}

/// The raw network F: `[n, dims]` and noise labels `[n]` to `[n, outputs]`.
///
/// `h <- h + silu(W h + V e)` for each layer, with an embedding e of noise level and class.
#[derive(Debug, Clone)]
pub struct Mlp {
    config: MlpConfig,
    map_label: Option<Linear>,
    map_noise: Linear,
    input: Linear,
    layers: Vec<(Linear, Linear)>,
    output: Linear,
}

impl Mlp {
    /// Registers the parameters in `scope`. Errors on sizes of zero, an odd number of noise channels, and a label
    /// dropout out of range.
    pub fn new(scope: &mut Scope, config: &MlpConfig) -> Result<Self> {
        Self::with_outputs(scope, config, config.dims)
    }

    /// As [`new`](Self::new), giving another count of numbers than it takes.
    pub fn with_outputs(scope: &mut Scope, config: &MlpConfig, outputs: usize) -> Result<Self> {
        let MlpConfig { dims, label_dim, label_dropout, hidden, layers, noise_channels } = *config;
        let sizes = [dims, hidden, noise_channels];
        if sizes.iter().any(|size| !(1..=1 << 16).contains(size)) || layers > 1 << 10 {
            return Err(Error::Config(format!("an MLP needs sizes between 1 and 65536, got {config:?}")));
        }
        if label_dim > MAX_LABELS {
            return Err(Error::Config(format!("label_dim must be at most {MAX_LABELS}, got {label_dim}")));
        }
        if !noise_channels.is_multiple_of(2) || noise_channels < 4 {
            return Err(Error::Config(format!("noise_channels must be even and at least 4, got {noise_channels}")));
        }
        if !(0.0..1.0).contains(&label_dropout) {
            return Err(Error::Config(format!("label_dropout must be in [0, 1), got {label_dropout}")));
        }
        let map_label = (label_dim > 0).then(|| Linear::new(&mut scope.at("map_label"), label_dim, hidden, 1.0));
        Ok(Mlp {
            config: config.clone(),
            map_label,
            map_noise: Linear::new(&mut scope.at("map_noise"), noise_channels, hidden, 1.0),
            input: Linear::new(&mut scope.at("input"), dims, hidden, 1.0),
            layers: (0..layers)
                .map(|i| {
                    let mut layer = scope.at(&format!("layer{i}"));
                    let hidden_part = Linear::new(&mut layer.at("linear"), hidden, hidden, 1.0);
                    (hidden_part, Linear::without_bias(&mut layer.at("affine"), hidden, hidden, 1.0))
                })
                .collect(),
            output: Linear::new(&mut scope.at("output"), hidden, outputs, 1e-3),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }
}

impl ScoreNetwork for Mlp {
    fn forward(&self, cx: &Context, x: &Var, noise: &Var, conditions: Conditions) -> Result<Var> {
        let [n, dims] = x.shape().dims("MLP", "points [n, dims]")?;
        if dims != self.config.dims {
            return Err(Error::shape("MLP", format!("points [n, {}]", self.config.dims), x.shape()));
        }
        // Noise labels ln(sigma)/4 span a few units: spread them over the embedding's range.
        let noise = ops::positional_embedding(&ops::scale(noise, 100.0)?, self.config.noise_channels, 1e4, true)?;
        let mut emb = self.map_noise.forward(cx, &ops::cast(&noise, cx.compute())?)?;
        if let Some(layer) = &self.map_label {
            let shape = [n, self.config.label_dim];
            let labels = match conditions.class_labels {
                Some(labels) => {
                    cx.drop_labels(&check_labels("class_labels", labels, shape)?, self.config.label_dropout)?
                }
                // No class is an all-zero label, of which the bias is left.
                None => Tensor::zeros(shape, DType::F32, &x.device())?.into(),
            };
            emb = ops::add(&emb, &layer.forward(cx, &ops::cast(&labels, cx.compute())?)?)?;
        }
        let emb = ops::silu(&emb)?;
        let mut h = ops::silu(&self.input.forward(cx, &ops::cast(x, cx.compute())?)?)?;
        for (layer, affine) in &self.layers {
            let inner = ops::add(&layer.forward(cx, &h)?, &affine.forward(cx, &emb)?)?;
            h = ops::add(&h, &ops::silu(&inner)?)?;
        }
        self.output.forward(cx, &h)
    }

    fn multiply_adds(&self, layout: &Layout) -> Result<Option<u64>> {
        let hidden = self.layers.iter().flat_map(|(layer, affine)| [layer, affine]);
        let ends = [&self.map_noise, &self.input, &self.output];
        hidden.chain(ends).chain(&self.map_label).map(|layer| layer.multiply_adds(layout)).sum::<Result<_>>().map(Some)
    }
}

impl Architecture for MlpConfig {
    const MODEL_TYPE: &'static str = "MLP";
    type Network = Mlp;

    fn build(&self, scope: &mut Scope, outputs: usize) -> Result<Mlp> {
        Mlp::with_outputs(scope, self, outputs)
    }

    fn sample_shape(&self) -> Vec<usize> {
        vec![self.dims]
    }

    fn label_dim(&self) -> usize {
        self.label_dim
    }

    fn of_data(data: &DataShape) -> Result<Vec<(&'static str, usize)>> {
        if data.augment > 0 {
            return Err(Error::Config("augment.p must be 0 for an MLP: points are not images".into()));
        }
        Ok(vec![("label_dim", data.classes), ("dims", data.size.iter().product())])
    }
}
