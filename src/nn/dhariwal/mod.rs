//! The U-Net of ADM (Dhariwal & Nichol 2021, arXiv 2105.05233), as EDM arranges it (Karras et al. 2022).

mod config;

pub use config::DhariwalConfig;

use super::context::Context;
use super::layers::{Conv2d, GroupNorm, LayerInit, Linear, Module};
use super::layout::{Layout, Scope};
use super::score::{Architecture, Conditions, DataShape, ScoreNetwork};
use super::unet::{
    BlockOptions, Canvas, DecoderLevel, Heads, Resampling, UNetBlock, check_labels, decode, multiply_adds, pixels,
};
use crate::autograd::Var;
use crate::error::Result;
use crate::ops;

/// The largest noise label that the embedding tells apart.
const MAX_POSITIONS: f64 = 10_000.0;
/// Channels of a head of attention.
const HEAD: usize = 64;
/// Added to variances.
const EPS: f64 = 1e-5;

/// The raw network F: `[n, h, w, channels]` and noise labels `[n]` to `[n, h, w, outputs]`.
///
/// The embedding of noise level and class scales and shifts the features; attention has a head for every 64 channels.
#[derive(Debug, Clone)]
pub struct DhariwalUNet {
    config: DhariwalConfig,
    canvas: Canvas,
    map_augment: Option<Linear>,
    map_layer0: Linear,
    map_layer1: Linear,
    map_label: Option<Linear>,
    stem: Conv2d,
    encoder: Vec<UNetBlock>,
    decoder: Vec<UNetBlock>,
    out_norm: GroupNorm,
    out_conv: Conv2d,
}

impl DhariwalUNet {
    /// Registers the parameters under EDM's names in `scope`. The network gives as many channels as it takes. Errors on
    /// a configuration that makes no network.
    pub fn new(scope: &mut Scope, config: &DhariwalConfig) -> Result<Self> {
        Self::with_outputs(scope, config, config.img_channels)
    }

    /// As [`new`](Self::new), giving another number of channels.
    pub fn with_outputs(scope: &mut Scope, config: &DhariwalConfig, outputs: usize) -> Result<Self> {
        let canvas = config.check()?;
        let (model_channels, emb_channels) = (config.model_channels, config.model_channels * config.channel_mult_emb);
        let init = LayerInit::Kaiming;
        let options = BlockOptions {
            emb_channels,
            heads: Heads::OfChannels(HEAD),
            dropout: config.dropout,
            skip_scale: 1.0,
            eps: EPS,
            resample_filter: vec![1.0, 1.0],
            resample_proj: false,
            adaptive_scale: true,
            init,
            init_zero: LayerInit::Zero,
            init_attn: init,
        };
        let (label_dim, augment_dim) = (config.label_dim, config.augment_dim);
        let map_augment = (augment_dim > 0)
            .then(|| Linear::without_bias(&mut scope.at("map_augment"), augment_dim, model_channels, LayerInit::Zero));
        let map_layer0 = Linear::new(&mut scope.at("map_layer0"), model_channels, emb_channels, init);
        let map_layer1 = Linear::new(&mut scope.at("map_layer1"), emb_channels, emb_channels, init);
        // Kaiming-normal times sqrt(label_dim).
        let map_label = (label_dim > 0)
            .then(|| Linear::without_bias(&mut scope.at("map_label"), label_dim, emb_channels, LayerInit::Normal(1.0)));

        let mut channels = model_channels * config.channel_mult.first().copied().unwrap_or(1);
        let mut skips = vec![channels];
        let mut encoder = Vec::new();
        let mut enc = scope.at("enc");
        let top = canvas.resolution(0);
        let stem = Conv2d::three(&mut enc.at(&format!("{top}x{top}_conv")), config.img_channels, channels, init);
        for (level, &mult) in config.channel_mult.iter().enumerate() {
            let at = canvas.resolution(level);
            let attention = config.attn_resolutions.contains(&at);
            if level > 0 {
                let scope = &mut enc.at(&format!("{at}x{at}_down"));
                encoder.push(UNetBlock::new(scope, &options, channels, channels, Resampling::Down, false)?);
                skips.push(channels);
            }
            for index in 0..config.num_blocks {
                let (inputs, scope) = (channels, &mut enc.at(&format!("{at}x{at}_block{index}")));
                channels = model_channels * mult;
                encoder.push(UNetBlock::new(scope, &options, inputs, channels, Resampling::None, attention)?);
                skips.push(channels);
            }
        }

        let mut decoder = Vec::new();
        let mut dec = scope.at("dec");
        for (level, &mult) in config.channel_mult.iter().enumerate().rev() {
            let at = canvas.resolution(level);
            let (lowest, outputs) = (level == config.channel_mult.len() - 1, model_channels * mult);
            let part = DecoderLevel { at, lowest, inputs: channels, outputs };
            let attention = vec![config.attn_resolutions.contains(&at); config.num_blocks + 1];
            decoder.extend(part.blocks(&mut dec, &options, &mut skips, &attention)?);
            channels = outputs;
        }
        Ok(DhariwalUNet {
            config: config.clone(),
            canvas,
            map_augment,
            map_layer0,
            map_layer1,
            map_label,
            stem,
            encoder,
            decoder,
            out_norm: GroupNorm::new(&mut scope.at("out_norm"), channels, EPS)?,
            out_conv: Conv2d::three(&mut scope.at("out_conv"), channels, outputs, LayerInit::Zero),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &DhariwalConfig {
        &self.config
    }

    /// Noise level, class and augmentation to `[n, emb_channels]`, in f32 whatever the network computes in.
    fn embed(&self, cx: &Context, noise: &Var, conditions: Conditions) -> Result<Var> {
        let mut emb = ops::positional_embedding(noise, self.config.model_channels, MAX_POSITIONS, false)?;
        if let (Some(layer), Some(labels)) = (&self.map_augment, conditions.augment_labels) {
            let labels = check_labels("augment_labels", labels, [emb.shape()[0], self.config.augment_dim])?;
            emb = ops::add(&emb, &layer.forward(cx, &labels)?)?;
        }
        let emb = ops::silu(&self.map_layer0.forward(cx, &emb)?)?;
        let mut emb = self.map_layer1.forward(cx, &emb)?;
        // No class is an all-zero label, which adds nothing.
        if let (Some(layer), Some(labels)) = (&self.map_label, conditions.class_labels) {
            let labels = check_labels("class_labels", labels, [emb.shape()[0], self.config.label_dim])?;
            let labels = cx.drop_labels(&labels, self.config.label_dropout)?;
            emb = ops::add(&emb, &layer.forward(cx, &labels)?)?;
        }
        ops::silu(&emb)
    }
}

impl ScoreNetwork for DhariwalUNet {
    fn forward(&self, cx: &Context, x: &Var, noise: &Var, conditions: Conditions) -> Result<Var> {
        let x = self.canvas.framing("DhariwalUNet", x, self.config.img_channels)?;
        let emb = self.embed(cx, noise, conditions)?;
        let mut x = self.stem.forward(cx, &ops::cast(&x, cx.compute())?)?;
        let mut skips = vec![x.clone()];
        for block in &self.encoder {
            x = block.forward(cx, &x, &emb)?;
            skips.push(x.clone());
        }
        for block in &self.decoder {
            x = decode(cx, block, &x, &mut skips, &emb)?;
        }
        self.canvas.cutting(&self.out_conv.forward(cx, &self.out_norm.forward_silu(cx, &x)?)?)
    }

    fn multiply_adds(&self, layout: &Layout) -> Result<Option<u64>> {
        let embedding = [Some(&self.map_layer0), Some(&self.map_layer1), self.map_label.as_ref()];
        let embedding: u64 =
            embedding.into_iter().flatten().map(|layer| layer.multiply_adds(layout)).sum::<Result<_>>()?;
        let mut at = self.canvas.framed();
        let ends = pixels(at) * (self.stem.multiply_adds(layout)? + self.out_conv.multiply_adds(layout)?);
        let blocks = multiply_adds(self.encoder.iter().chain(&self.decoder), layout, &mut at)?;
        Ok(Some(embedding + ends + blocks))
    }
}

impl Architecture for DhariwalConfig {
    const MODEL_TYPE: &'static str = "DhariwalUNet";
    type Network = DhariwalUNet;

    fn build(&self, scope: &mut Scope, outputs: usize) -> Result<DhariwalUNet> {
        DhariwalUNet::with_outputs(scope, self, outputs)
    }

    fn sample_shape(&self) -> Vec<usize> {
        let [height, width] = [self.img_height, self.img_width].map(|extent| extent.unwrap_or(self.img_resolution));
        vec![height, width, self.img_channels]
    }

    fn label_dim(&self) -> usize {
        self.label_dim
    }

    fn augment_dim(&self) -> usize {
        self.augment_dim
    }

    fn of_data(data: &DataShape) -> Result<Vec<(&'static str, usize)>> {
        Ok(data.images())
    }
}
