//! The U-Net of DDPM++ and NCSN++ (Song et al. 2021, arXiv 2011.13456), as EDM arranges it (Karras et al. 2022).

mod config;
mod decoder;
mod embedding;
mod encoder;

pub use config::{DecoderType, EmbeddingType, EncoderType, SongConfig};

use super::context::Context;
use super::layers::LayerInit;
use super::layout::{Layout, Scope};
use super::score::{Architecture, Conditions, DataShape, ScoreNetwork};
use super::unet::{BlockOptions, Canvas, Heads};
use crate::autograd::Var;
use crate::error::Result;
use crate::ops;
use decoder::Decoder;
use embedding::Embedding;
use encoder::Encoder;

/// Gain of layers that end a residual branch: they start near zero, but not at it, so that gradients flow.
const ZERO_GAIN: f32 = 1e-5;
/// Added to variances.
const EPS: f64 = 1e-6;

/// The raw network F: `[n, h, w, channels]` and noise labels `[n]` to `[n, h, w, outputs]`.
#[derive(Debug, Clone)]
pub struct SongUNet {
    config: SongConfig,
    canvas: Canvas,
    embedding: Embedding,
    encoder: Encoder,
    decoder: Decoder,
}

impl SongUNet {
    /// Registers the parameters under EDM's names in `scope`. The network gives as many channels as it takes. Errors on
    /// a configuration that makes no network.
    pub fn new(scope: &mut Scope, config: &SongConfig) -> Result<Self> {
        Self::with_outputs(scope, config, config.img_channels)
    }

    /// As [`new`](Self::new), giving another number of channels.
    pub fn with_outputs(scope: &mut Scope, config: &SongConfig, outputs: usize) -> Result<Self> {
        let canvas = config.check()?;
        let options = BlockOptions {
            emb_channels: config.model_channels * config.channel_mult_emb,
            heads: Heads::One,
            dropout: config.dropout,
            skip_scale: std::f64::consts::FRAC_1_SQRT_2,
            eps: EPS,
            resample_filter: config.resample_filter.clone(),
            resample_proj: true,
            adaptive_scale: false,
            init: LayerInit::Xavier(1.0),
            init_zero: LayerInit::Xavier(ZERO_GAIN),
            init_attn: LayerInit::Xavier(0.2f32.sqrt()),
        };
        let embedding = Embedding::new(scope, config, options.emb_channels);
        let (encoder, skips) = Encoder::new(&mut scope.at("enc"), config, &canvas, &options)?;
        let decoder = Decoder::new(&mut scope.at("dec"), config, &canvas, &options, skips, outputs)?;
        Ok(SongUNet { config: config.clone(), canvas, embedding, encoder, decoder })
    }

    /// The configuration.
    pub fn config(&self) -> &SongConfig {
        &self.config
    }
}

impl ScoreNetwork for SongUNet {
    fn forward(&self, cx: &Context, x: &Var, noise: &Var, conditions: Conditions) -> Result<Var> {
        let x = self.canvas.framing("SongUNet", x, self.config.img_channels)?;
        let emb = self.embedding.forward(cx, noise, conditions)?;
        let (x, skips) = self.encoder.forward(cx, &ops::cast(&x, cx.compute())?, &emb)?;
        self.canvas.cutting(&self.decoder.forward(cx, x, skips, &emb)?)
    }

    fn multiply_adds(&self, layout: &Layout) -> Result<Option<u64>> {
        let mut at = self.canvas.framed();
        let encoder = self.encoder.multiply_adds(layout, &mut at)?;
        Ok(Some(self.embedding.multiply_adds(layout)? + encoder + self.decoder.multiply_adds(layout, at)?))
    }
}

impl Architecture for SongConfig {
    const MODEL_TYPE: &'static str = "SongUNet";
    type Network = SongUNet;

    fn build(&self, scope: &mut Scope, outputs: usize) -> Result<SongUNet> {
        SongUNet::with_outputs(scope, self, outputs)
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
