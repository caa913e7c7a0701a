//! The options of the network, with EDM's names.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::unet::{Canvas, Sizes};

/// The options of [`DhariwalUNet`](super::DhariwalUNet). Names and defaults are those of EDM's `DhariwalUNet`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhariwalConfig {
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
}

mod defaults {
    pub fn model_channels() -> usize {
        192
    }
    pub fn channel_mult() -> Vec<usize> {
        vec![1, 2, 3, 4]
    }
    pub fn channel_mult_emb() -> usize {
        4
    }
    pub fn num_blocks() -> usize {
        3
    }
    pub fn attn_resolutions() -> Vec<usize> {
        vec![32, 16, 8]
    }
    pub fn dropout() -> f64 {
        0.1
    }
}

impl DhariwalConfig {
    /// EDM's defaults for images of this size.
    pub fn new(img_resolution: usize, img_channels: usize) -> Self {
        DhariwalConfig {
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
        }
    }

    /// ADM as EDM trains it on ImageNet at 64x64, with `classes` classes (0 for none) and no augmentation.
    pub fn adm(img_resolution: usize, img_channels: usize, classes: usize) -> Self {
        let mut config = Self::new(img_resolution, img_channels);
        config.label_dim = classes;
        config.attn_resolutions.retain(|&at| (0..4).any(|level| img_resolution >> level == at));
        config
    }

    /// How images lie in the network. Errors with what to change if none can be made.
    pub(super) fn check(&self) -> Result<Canvas> {
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
        if !self.model_channels.is_multiple_of(2) {
            return Err(Error::Config(format!(
                "model_channels must be even, as half of the noise level's embedding are sines, got {}",
                self.model_channels
            )));
        }
        Ok(canvas)
    }
}
