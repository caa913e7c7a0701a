//! What the network is told besides the image, as one vector.

use super::config::{EmbeddingType, SongConfig};
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::context::Context;
use crate::nn::layers::{Linear, Module};
use crate::nn::layout::{Init, Layout, ParamId, Scope};
use crate::nn::score::Conditions;
use crate::nn::unet::check_labels;
use crate::ops;
use crate::tensor::{DType, Tensor};

/// The largest noise label that the positional embedding tells apart.
const MAX_POSITIONS: f64 = 10_000.0;
/// Scale of the frequencies of the Fourier embedding.
const FOURIER_SCALE: f32 = 16.0;

/// Noise level, class and augmentation to `[n, emb_channels]`, in f32 whatever the network computes in.
#[derive(Debug, Clone)]
pub struct Embedding {
    noise: Noise,
    map_label: Option<Linear>,
    map_augment: Option<Linear>,
    map_layer0: Linear,
    map_layer1: Linear,
    label_dim: usize,
    augment_dim: usize,
    label_dropout: f64,
}

#[derive(Debug, Clone)]
enum Noise {
    Positional { channels: usize },
    Fourier { freqs: ParamId },
}

impl Embedding {
    pub fn new(scope: &mut Scope, config: &SongConfig, emb_channels: usize) -> Self {
        let channels = config.model_channels * config.channel_mult_noise;
        let noise = match config.embedding_type {
            EmbeddingType::Positional => Noise::Positional { channels },
            EmbeddingType::Fourier => {
                let init = Init::Normal(FOURIER_SCALE);
                Noise::Fourier { freqs: scope.at("map_noise").buffer("freqs", [channels / 2], init) }
            }
        };
        let (label_dim, augment_dim) = (config.label_dim, config.augment_dim);
        Embedding {
            noise,
            map_label: (label_dim > 0).then(|| Linear::new(&mut scope.at("map_label"), label_dim, channels, 1.0)),
            map_augment: (augment_dim > 0)
                .then(|| Linear::without_bias(&mut scope.at("map_augment"), augment_dim, channels, 1.0)),
            map_layer0: Linear::new(&mut scope.at("map_layer0"), channels, emb_channels, 1.0),
            map_layer1: Linear::new(&mut scope.at("map_layer1"), emb_channels, emb_channels, 1.0),
            label_dim,
            augment_dim,
            label_dropout: config.label_dropout,
        }
    }

    /// Multiply-adds for one sample without an augmentation label.
    pub fn multiply_adds(&self, layout: &Layout) -> Result<u64> {
        let layers = [Some(&self.map_layer0), Some(&self.map_layer1), self.map_label.as_ref()];
        layers.into_iter().flatten().map(|layer| layer.multiply_adds(layout)).sum()
    }

    /// For noise labels `[n]`.
    pub fn forward(&self, cx: &Context, noise: &Var, conditions: Conditions) -> Result<Var> {
        let emb = match &self.noise {
            Noise::Positional { channels } => ops::positional_embedding(noise, *channels, MAX_POSITIONS, true)?,
            Noise::Fourier { freqs } => ops::fourier_embedding(noise, cx.parameter(*freqs)?.value())?,
        };
        // EDM's order: sines, then cosines.
        let [n, channels] = emb.shape().dims("embedding", "noise labels [n]")?;
        let half = channels / 2;
        let (cosines, sines) = (ops::slice(&emb, 1, 0..half)?, ops::slice(&emb, 1, half..2 * half)?);
        let mut emb = ops::concat(&[&sines, &cosines], 1)?;
        if let Some(layer) = &self.map_label {
            let labels = match conditions.class_labels {
                Some(labels) => {
                    cx.drop_labels(&check_labels("class_labels", labels, [n, self.label_dim])?, self.label_dropout)?
                }
                // No class is an all-zero label, of which the bias is left.
                None => Tensor::zeros([n, self.label_dim], DType::F32, &noise.device())?.into(),
            };
            let labels = ops::scale(&labels, (self.label_dim as f64).sqrt())?;
            emb = ops::add(&emb, &layer.forward(cx, &labels)?)?;
        }
        if let (Some(layer), Some(labels)) = (&self.map_augment, conditions.augment_labels) {
            let labels = check_labels("augment_labels", labels, [n, self.augment_dim])?;
            emb = ops::add(&emb, &layer.forward(cx, &labels)?)?;
        }
        let emb = ops::silu(&self.map_layer0.forward(cx, &emb)?)?;
        ops::silu(&self.map_layer1.forward(cx, &emb)?)
    }
}
