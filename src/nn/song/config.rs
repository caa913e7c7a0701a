//! The options of the network, with EDM's names.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the noise level is embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingType {
    /// Sines and cosines of geometric frequencies: DDPM++.
    Positional,
    /// Random Fourier features: NCSN++.
    Fourier,
}

/// The options of [`SongUNet`](super::SongUNet). Names and defaults are those of EDM's `SongUNet`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SongConfig {
    /// Height and width of the images.
    pub img_resolution: usize,
    /// Channels of the images.
    pub img_channels: usize,
    /// Number of classes; 0 for an unconditional network.
    #[serde(default)]
    pub label_dim: usize,
    /// Size of the augmentation label; 0 for none.
    #[serde(default)]
    pub augment_dim: usize,
    /// Channels that `channel_mult` multiplies.
    #[serde(default = "defaults::model_channels")]
    pub model_channels: usize,
    /// Channels at each resolution, in multiples of `model_channels`.
    #[serde(default = "defaults::channel_mult")]
    pub channel_mult: Vec<usize>,
    /// Size of the embedding, in multiples of `model_channels`.
    #[serde(default = "defaults::channel_mult_emb")]
    pub channel_mult_emb: usize,
    /// Residual blocks at each resolution.
    #[serde(default = "defaults::num_blocks")]
    pub num_blocks: usize,
    /// Resolutions with self-attention.
    #[serde(default = "defaults::attn_resolutions")]
    pub attn_resolutions: Vec<usize>,
    /// Probability of dropout within blocks.
    #[serde(default = "defaults::dropout")]
    pub dropout: f64,
    /// Embedding of the noise level.
    #[serde(default = "defaults::embedding_type")]
    pub embedding_type: EmbeddingType,
    /// Size of the noise level's embedding, in multiples of `model_channels`.
    #[serde(default = "defaults::channel_mult_noise")]
    pub channel_mult_noise: usize,
    /// `standard`.
    #[serde(default = "defaults::standard")]
    pub encoder_type: String,
    /// `standard`.
    #[serde(default = "defaults::standard")]
    pub decoder_type: String,
    /// Filter of the resampling: `[1, 1]` for DDPM++, `[1, 3, 3, 1]` for NCSN++.
    #[serde(default = "defaults::resample_filter")]
    pub resample_filter: Vec<f64>,
}

mod defaults {
    use super::EmbeddingType;

    pub fn model_channels() -> usize {
        128
    }
    pub fn channel_mult() -> Vec<usize> {
        vec![1, 2, 2, 2]
    }
    pub fn channel_mult_emb() -> usize {
        4
    }
    pub fn num_blocks() -> usize {
        4
    }
    pub fn attn_resolutions() -> Vec<usize> {
        vec![16]
    }
    pub fn dropout() -> f64 {
        0.1
    }
    pub fn embedding_type() -> EmbeddingType {
        EmbeddingType::Positional
    }
    pub fn channel_mult_noise() -> usize {
        1
    }
    pub fn standard() -> String {
        "standard".into()
    }
    pub fn resample_filter() -> Vec<f64> {
        vec![1.0, 1.0]
    }
}

impl SongConfig {
    /// EDM's defaults for images of this size.
    pub fn new(img_resolution: usize, img_channels: usize) -> Self {
        SongConfig {
            img_resolution,
            img_channels,
            label_dim: 0,
            augment_dim: 0,
            model_channels: defaults::model_channels(),
            channel_mult: defaults::channel_mult(),
            channel_mult_emb: defaults::channel_mult_emb(),
            num_blocks: defaults::num_blocks(),
            attn_resolutions: defaults::attn_resolutions(),
            dropout: defaults::dropout(),
            embedding_type: defaults::embedding_type(),
            channel_mult_noise: defaults::channel_mult_noise(),
            encoder_type: defaults::standard(),
            decoder_type: defaults::standard(),
            resample_filter: defaults::resample_filter(),
        }
    }

    /// Errors with what to change if no network can be made.
    pub(super) fn check(&self) -> Result<()> {
        let fail = |what: String| Err(Error::Config(what));
        let sizes = [
            ("img_resolution", self.img_resolution),
            ("img_channels", self.img_channels),
            ("model_channels", self.model_channels),
            ("channel_mult_emb", self.channel_mult_emb),
            ("channel_mult_noise", self.channel_mult_noise),
            ("channel_mult", self.channel_mult.len()),
            ("resample_filter", self.resample_filter.len()),
        ];
        for (name, value) in sizes {
            if value == 0 || value > 1 << 16 {
                return fail(format!("{name} must be between 1 and 65536, got {value}"));
            }
        }
        let factors = [&self.channel_mult[..], &[self.channel_mult_emb, self.channel_mult_noise, 1]].concat();
        if factors.iter().any(|&mult| !(1..=64).contains(&mult)) || self.num_blocks > 64 || self.label_dim > 1 << 20 {
            return fail("channel_mult must be between 1 and 64, num_blocks at most 64, label_dim at most 2^20".into());
        }
        let levels = self.channel_mult.len() - 1;
        if levels >= 16 || !self.img_resolution.is_multiple_of(1 << levels) {
            return fail(format!(
                "img_resolution {} cannot be halved {levels} times; use fewer entries in channel_mult",
                self.img_resolution
            ));
        }
        let resolutions: Vec<usize> = (0..=levels).map(|level| self.img_resolution >> level).collect();
        if let Some(missing) = self.attn_resolutions.iter().find(|at| !resolutions.contains(at)) {
            return fail(format!("attn_resolutions names {missing}, but the network has {resolutions:?}"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return fail(format!("dropout must be in [0, 1), got {}", self.dropout));
        }
        if !(self.model_channels * self.channel_mult_noise).is_multiple_of(2) {
            return fail("model_channels * channel_mult_noise must be even: half of it are sines".into());
        }
        for (name, value) in [("encoder_type", &self.encoder_type), ("decoder_type", &self.decoder_type)] {
            if value != "standard" {
                return fail(format!("{name} {value:?} is not built by this version; use \"standard\""));
            }
        }
        Ok(())
    }
}
