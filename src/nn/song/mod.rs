//! The U-Net of DDPM++ and NCSN++ (Song et al. 2021, arXiv 2011.13456), as EDM arranges it (Karras et al. 2022).

mod block;
mod config;

pub use block::{Resampling, UNetBlock};
pub use config::{EmbeddingType, SongConfig};

use super::context::Context;
use super::layers::{Conv3x3, GroupNorm, Linear, Module};
use super::layout::{Init, ParamId, Scope};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;

/// The largest noise label that the positional embedding tells apart.
const MAX_POSITIONS: f64 = 10_000.0;
/// Scale of the frequencies of the Fourier embedding.
const FOURIER_SCALE: f32 = 16.0;
/// Gain of layers that end a residual branch: they start near zero, but not at it, so that gradients flow.
const ZERO_GAIN: f32 = 1e-5;

/// What a score network is told besides the image.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// `[n, label_dim]`, one-hot or all zeros for no class. Left out: no class.
    pub class_labels: Option<&'a Var>,
    /// `[n, augment_dim]`. Left out: no augmentation.
    pub augment_labels: Option<&'a Var>,
}

/// The raw network F: `[n, h, w, channels]` and noise labels `[n]` to `[n, h, w, channels]`.
#[derive(Debug, Clone)]
pub struct SongUNet {
    config: SongConfig,
    embedding: NoiseEmbedding,
    map_label: Option<Linear>,
    map_augment: Option<Linear>,
    map_layer0: Linear,
    map_layer1: Linear,
    stem: Conv3x3,
    encoder: Vec<UNetBlock>,
    decoder: Vec<UNetBlock>,
    out_norm: GroupNorm,
    out_conv: Conv3x3,
}

#[derive(Debug, Clone)]
enum NoiseEmbedding {
    Positional { channels: usize },
    Fourier { freqs: ParamId },
}

impl SongUNet {
    /// Registers the parameters under EDM's names in `scope`. Errors on a configuration that makes no network.
    pub fn new(scope: &mut Scope, config: &SongConfig) -> Result<Self> {
        config.check()?;
        let embedding_channels = config.model_channels * config.channel_mult_emb;
        let noise_channels = config.model_channels * config.channel_mult_noise;
        let embedding = match config.embedding_type {
            EmbeddingType::Positional => NoiseEmbedding::Positional { channels: noise_channels },
            EmbeddingType::Fourier => {
                let init = Init::Normal(FOURIER_SCALE);
                NoiseEmbedding::Fourier { freqs: scope.at("map_noise").buffer("freqs", [noise_channels / 2], init) }
            }
        };
        let map_label = (config.label_dim > 0)
            .then(|| Linear::new(&mut scope.at("map_label"), config.label_dim, noise_channels, 1.0));
        let map_augment = (config.augment_dim > 0)
            .then(|| Linear::without_bias(&mut scope.at("map_augment"), config.augment_dim, noise_channels, 1.0));
        let map_layer0 = Linear::new(&mut scope.at("map_layer0"), noise_channels, embedding_channels, 1.0);
        let map_layer1 = Linear::new(&mut scope.at("map_layer1"), embedding_channels, embedding_channels, 1.0);

        let levels = config.channel_mult.len();
        let resolution = |level: usize| config.img_resolution >> level;
        let attends = |level: usize| config.attn_resolutions.contains(&resolution(level));
        let mut channels = config.model_channels;
        let mut skips = vec![channels];
        let mut encoder = Vec::new();
        let top = resolution(0);
        let mut enc = scope.at("enc");
        let stem = Conv3x3::new(&mut enc.at(&format!("{top}x{top}_conv")), config.img_channels, channels, 1.0);
        for (level, &mult) in config.channel_mult.iter().enumerate() {
            let at = resolution(level);
            if level > 0 {
                let name = format!("{at}x{at}_down");
                encoder.push(UNetBlock::new(&mut enc.at(&name), config, channels, channels, Resampling::Down, false)?);
                skips.push(channels);
            }
            for index in 0..config.num_blocks {
                let outputs = config.model_channels * mult;
                let scope = &mut enc.at(&format!("{at}x{at}_block{index}"));
                encoder.push(UNetBlock::new(scope, config, channels, outputs, Resampling::None, attends(level))?);
                channels = outputs;
                skips.push(channels);
            }
        }

        let mut decoder = Vec::new();
        let mut dec = scope.at("dec");
        for level in (0..levels).rev() {
            let at = resolution(level);
            if level == levels - 1 {
                for (name, attention) in [("in0", true), ("in1", false)] {
                    let scope = &mut dec.at(&format!("{at}x{at}_{name}"));
                    decoder.push(UNetBlock::new(scope, config, channels, channels, Resampling::None, attention)?);
                }
            } else {
                let scope = &mut dec.at(&format!("{at}x{at}_up"));
                decoder.push(UNetBlock::new(scope, config, channels, channels, Resampling::Up, false)?);
            }
            for index in 0..=config.num_blocks {
                let inputs = channels + skips.pop().unwrap_or(0);
                let outputs = config.model_channels * config.channel_mult[level];
                let attention = index == config.num_blocks && attends(level);
                let scope = &mut dec.at(&format!("{at}x{at}_block{index}"));
                decoder.push(UNetBlock::new(scope, config, inputs, outputs, Resampling::None, attention)?);
                channels = outputs;
            }
        }
        let out_norm = GroupNorm::new(&mut dec.at(&format!("{top}x{top}_aux_norm")), channels, block::EPS)?;
        let out_conv =
            Conv3x3::new(&mut dec.at(&format!("{top}x{top}_aux_conv")), channels, config.img_channels, ZERO_GAIN);
        Ok(SongUNet {
            config: config.clone(),
            embedding,
            map_label,
            map_augment,
            map_layer0,
            map_layer1,
            stem,
            encoder,
            decoder,
            out_norm,
            out_conv,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &SongConfig {
        &self.config
    }

    /// `x` is `[n, h, w, channels]`, already scaled; `noise` `[n]` f32 noise labels; the result has the shape of `x`, in the
    /// context's compute dtype.
    pub fn forward(&self, cx: &Context, x: &Var, noise: &Var, conditions: Conditions) -> Result<Var> {
        let config = &self.config;
        let [_, h, w, c] = x.shape().dims("SongUNet", "images [n, h, w, channels]")?;
        if [h, w, c] != [config.img_resolution, config.img_resolution, config.img_channels] {
            let expected = format!("images [n, {0}, {0}, {1}]", config.img_resolution, config.img_channels);
            return Err(Error::shape("SongUNet", expected, x.shape()));
        }
        let emb = self.condition(cx, noise, conditions)?;
        let mut x = self.stem.forward(cx, &ops::cast(x, cx.compute())?)?;
        let mut skips = vec![x.clone()];
        for block in &self.encoder {
            x = block.forward(cx, &x, &emb)?;
            skips.push(x.clone());
        }
        for block in &self.decoder {
            // The blocks at the bottom and those that enlarge take no skip connection.
            if block.inputs() != x.shape()[3]
                && let Some(skip) = skips.pop()
            {
                x = ops::concat(&[&x, &skip], 3)?;
            }
            x = block.forward(cx, &x, &emb)?;
        }
        self.out_conv.forward(cx, &self.out_norm.forward_silu(cx, &x)?)
    }

    /// The embedding of noise level, class and augmentation, `[n, channels]`.
    fn condition(&self, cx: &Context, noise: &Var, conditions: Conditions) -> Result<Var> {
        let emb = match &self.embedding {
            NoiseEmbedding::Positional { channels } => {
                ops::positional_embedding(noise, *channels, MAX_POSITIONS, true)?
            }
            NoiseEmbedding::Fourier { freqs } => ops::fourier_embedding(noise, cx.parameter(*freqs)?.value())?,
        };
        // EDM's order: sines, then cosines.
        let half = emb.shape()[1] / 2;
        let (cosines, sines) = (ops::slice(&emb, 1, 0..half)?, ops::slice(&emb, 1, half..2 * half)?);
        let mut emb = ops::cast(&ops::concat(&[&sines, &cosines], 1)?, cx.compute())?;
        if let (Some(layer), Some(labels)) = (&self.map_label, conditions.class_labels) {
            let labels = ops::scale(&ops::cast(labels, cx.compute())?, (self.config.label_dim as f64).sqrt())?;
            emb = ops::add(&emb, &layer.forward(cx, &labels)?)?;
        } else if let Some(layer) = &self.map_label {
            // No class is an all-zero label, of which the bias is left.
            let none =
                crate::tensor::Tensor::zeros([noise.shape()[0], self.config.label_dim], cx.compute(), &noise.device())?;
            emb = ops::add(&emb, &layer.forward(cx, &none.into())?)?;
        }
        if let (Some(layer), Some(labels)) = (&self.map_augment, conditions.augment_labels) {
            emb = ops::add(&emb, &layer.forward(cx, &ops::cast(labels, cx.compute())?)?)?;
        }
        let emb = ops::silu(&self.map_layer0.forward(cx, &emb)?)?;
        ops::silu(&self.map_layer1.forward(cx, &emb)?)
    }
}
