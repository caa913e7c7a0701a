//! The half of the network that makes the image larger again.

use super::config::{DecoderType, SongConfig};
use super::{EPS, ZERO_GAIN};
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::context::Context;
use crate::nn::layers::{Conv2d, GroupNorm, Module};
use crate::nn::layout::{Layout, Scope};
use crate::nn::unet::{BlockOptions, Canvas, DecoderLevel, UNetBlock, decode, multiply_adds, pixels, register_filter};
use crate::ops;

/// Blocks at each resolution, from the lowest.
#[derive(Debug, Clone)]
pub struct Decoder {
    levels: Vec<Level>,
    filter: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Level {
    blocks: Vec<UNetBlock>,
    image: Option<ToImage>,
}

/// Features to an image of their resolution.
#[derive(Debug, Clone)]
struct ToImage {
    norm: GroupNorm,
    conv: Conv2d,
}

impl Decoder {
    /// `skips` are the channels of the encoder's skip connections, `outputs` those of the result.
    pub fn new(
        scope: &mut Scope,
        config: &SongConfig,
        canvas: &Canvas,
        options: &BlockOptions,
        mut skips: Vec<usize>,
        outputs: usize,
    ) -> Result<Self> {
        let filter = &config.resample_filter;
        let last = config.channel_mult.len() - 1;
        let mut channels = skips.last().copied().unwrap_or(config.model_channels);
        let mut levels = Vec::new();
        for (level, &mult) in config.channel_mult.iter().enumerate().rev() {
            let at = canvas.resolution(level);
            let outputs_at = config.model_channels * mult;
            let part = DecoderLevel { at, lowest: level == last, inputs: channels, outputs: outputs_at };
            let mut attention = vec![false; config.num_blocks];
            attention.push(config.attn_resolutions.contains(&at));
            let blocks = part.blocks(scope, options, &mut skips, &attention)?;
            channels = outputs_at;
            let mut image = None;
            if config.decoder_type == DecoderType::Skip || level == 0 {
                if config.decoder_type == DecoderType::Skip && level < last {
                    register_filter(&mut scope.at(&format!("{at}x{at}_aux_up")), filter);
                }
                let norm = GroupNorm::new(&mut scope.at(&format!("{at}x{at}_aux_norm")), channels, EPS)?;
                let conv = Conv2d::three(&mut scope.at(&format!("{at}x{at}_aux_conv")), channels, outputs, ZERO_GAIN);
                image = Some(ToImage { norm, conv });
            }
            levels.push(Level { blocks, image });
        }
        Ok(Decoder { levels, filter: filter.clone() })
    }

    /// The network's result, from the features at the lowest resolution and the skip connections.
    pub fn forward(&self, cx: &Context, mut x: Var, mut skips: Vec<Var>, emb: &Var) -> Result<Var> {
        let mut sum: Option<Var> = None;
        for level in &self.levels {
            for block in &level.blocks {
                x = decode(cx, block, &x, &mut skips, emb)?;
            }
            if let Some(ToImage { norm, conv }) = &level.image {
                let image = conv.forward(cx, &norm.forward_silu(cx, &x)?)?;
                sum = Some(match sum {
                    Some(sum) => ops::add(&image, &ops::upsample2x(&sum, &self.filter)?)?,
                    None => image,
                });
            }
        }
        Ok(sum.unwrap_or(x))
    }

    /// Multiply-adds for one image, from the lowest height and width `at` on.
    pub fn multiply_adds(&self, layout: &Layout, mut at: [usize; 2]) -> Result<u64> {
        let mut count = 0;
        for level in &self.levels {
            count += multiply_adds(&level.blocks, layout, &mut at)?;
            if let Some(ToImage { conv, .. }) = &level.image {
                count += pixels(at) * conv.multiply_adds(layout)?;
            }
        }
        Ok(count)
    }
}
