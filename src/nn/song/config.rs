//! The options of the network, with EDM's names.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::unet::{Canvas, Sizes};

/// How the noise level is embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingType {
    /// Sines and cosines of geometric frequencies: DDPM++.
    Positional,
    /// Random Fourier features: NCSN++.
    Fourier,
}

/// What the encoder sees of the image besides the first convolution's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderType {
    /// Nothing: DDPM++.
    Standard,
    /// At each resolution the smaller image, through a 1x1 convolution.
    Skip,
    /// At each resolution a pyramid of convolutions that starts from the image: NCSN++.
    Residual,
}

/// How the decoder makes its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderType {
    /// From the features at full resolution.
    Standard,
    /// As a sum of enlarged images, one made at each resolution.
    Skip,
}

/// The options of [`SongUNet`](super::SongUNet). Names and defaults are those of EDM's `SongUNet`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SongConfig {
    /// Height and width of the images; the larger of them where they differ.
    pub img_resolution: usize,
    /// Height, where it differs from the width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub img_height: Option<usize>,
    /// Width, where it differs from the height. Signals have a height of 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub img_width: Option<usize>,
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
    /// Probability, in training, of a class label being withheld, so that the network also learns without classes.
    #[serde(default)]
    pub label_dropout: f64,
    /// Embedding of the noise level.
    #[serde(default = "defaults::embedding_type")]
    pub embedding_type: EmbeddingType,
    /// Size of the noise level's embedding, in multiples of `model_channels`.
    #[serde(default = "defaults::channel_mult_noise")]
    pub channel_mult_noise: usize,
    /// What the encoder sees of the image.
    #[serde(default = "defaults::encoder_type")]
    pub encoder_type: EncoderType,
    /// How the decoder makes its result.
    #[serde(default = "defaults::decoder_type")]
    pub decoder_type: DecoderType,
    /// Filter of the resampling: `[1, 1]` for DDPM++, `[1, 3, 3, 1]` for NCSN++.
    #[serde(default = "defaults::resample_filter")]
    pub resample_filter: Vec<f64>,
}

mod defaults {
    use super::{DecoderType, EmbeddingType, EncoderType};

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
    pub fn encoder_type() -> EncoderType {
        EncoderType::Standard
    }
    pub fn decoder_type() -> DecoderType {
        DecoderType::Standard
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
            img_height: None,
            img_width: None,
            img_channels,
            label_dim: 0,
            augment_dim: 0,
            model_channels: defaults::model_channels(),
            channel_mult: defaults::channel_mult(),
            channel_mult_emb: defaults::channel_mult_emb(),
            num_blocks: defaults::num_blocks(),
            attn_resolutions: defaults::attn_resolutions(),
            dropout: defaults::dropout(),
            label_dropout: 0.0,
            embedding_type: defaults::embedding_type(),
            channel_mult_noise: defaults::channel_mult_noise(),
            encoder_type: defaults::encoder_type(),
            decoder_type: defaults::decoder_type(),
            resample_filter: defaults::resample_filter(),
        }
    }

    /// DDPM++ as EDM trains it, without classes: 128 channels, and augmentation labels.
    ///
    /// At 32x32 and below `channel_mult` is [2, 2, 2] and dropout 0.13 (CIFAR-10); above, [1, 2, 2, 2] and 0.05 (FFHQ;
    /// EDM's AFHQv2 has 0.25).
    pub fn ddpmpp(img_resolution: usize, img_channels: usize) -> Self {
        let small = img_resolution <= 32;
        let mut config = Self::new(img_resolution, img_channels);
        config.augment_dim = 9;
        config.channel_mult = if small { vec![2, 2, 2] } else { vec![1, 2, 2, 2] };
        config.dropout = if small { 0.13 } else { 0.05 };
        let levels = config.channel_mult.len();
        config.attn_resolutions.retain(|&at| (0..levels).any(|level| img_resolution >> level == at));
        config
    }

    /// NCSN++ as EDM trains it: as [`ddpmpp`](Self::ddpmpp), with Fourier features, a residual encoder and the filter
    /// [1, 3, 3, 1].
    pub fn ncsnpp(img_resolution: usize, img_channels: usize) -> Self {
        SongConfig {
            embedding_type: EmbeddingType::Fourier,
            channel_mult_noise: 2,
            encoder_type: EncoderType::Residual,
            resample_filter: vec![1.0, 3.0, 3.0, 1.0],
            ..Self::ddpmpp(img_resolution, img_channels)
        }
    }

    /// How images lie in the network. Errors with what to change if none can be made.
    pub(super) fn check(&self) -> Result<Canvas> {
        let fail = |what: String| Err(Error::Config(what));
        let canvas = Sizes {
            img_resolution: self.img_resolution,
            img_height: self.img_height,
            img_width: self.img_width,
            img_channels: self.img_channels,
            label_dim: self.label_dim,
            augment_dim: self.augment_dim,
            model_channels: self.model_channels,
            channel_mult: &self.channel_mult,
            channel_mult_emb: self.channel_mult_emb,
            num_blocks: self.num_blocks,
            attn_resolutions: &self.attn_resolutions,
            dropout: self.dropout,
            label_dropout: self.label_dropout,
        }
        .check()?;
        if !(1..=64).contains(&self.channel_mult_noise) {
            return fail(format!("channel_mult_noise must be between 1 and 64, got {}", self.channel_mult_noise));
        }
        let noise_channels = self.model_channels * self.channel_mult_noise;
        if !noise_channels.is_multiple_of(2) || noise_channels < 4 {
            return fail(
                "model_channels * channel_mult_noise must be even, and 4 at least: half of it are sines".into(),
            );
        }
        let (taps, sum) = (self.resample_filter.len(), self.resample_filter.iter().sum::<f64>());
        if taps == 0 || taps > 32 || !taps.is_multiple_of(2) || !sum.is_finite() || sum == 0.0 {
            return fail(format!(
                "resample_filter needs an even number, at most 32, of taps whose sum is not 0, got {:?}",
                self.resample_filter
            ));
        }
        if canvas.is_signal()
            && (self.encoder_type, self.decoder_type) != (EncoderType::Standard, DecoderType::Standard)
        {
            return fail("signals (images of one row) need encoder_type and decoder_type \"standard\"".into());
        }
        if canvas.is_signal() && self.resample_filter != [1.0, 1.0] {
            return fail("signals (images of one row) need resample_filter [1, 1]".into());
        }
        Ok(canvas)
    }
}
