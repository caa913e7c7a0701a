//! The half of the network that makes the image smaller.

use super::config::{EncoderType, SongConfig};
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::context::Context;
use crate::nn::layers::{Conv2d, Linear, Module};
use crate::nn::layout::{Layout, Scope};
use crate::nn::unet::{BlockOptions, Canvas, Resampling, UNetBlock, multiply_adds, pixels, register_filter};
use crate::ops;

/// A first convolution, then blocks at each resolution.
#[derive(Debug, Clone)]
pub struct Encoder {
    stem: Conv2d,
    levels: Vec<Level>,
    filter: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Level {
    down: Option<UNetBlock>,
    pyramid: Option<Pyramid>,
    blocks: Vec<UNetBlock>,
}

/// How the smaller image joins in after a block that halves the resolution.
#[derive(Debug, Clone)]
enum Pyramid {
    /// The image itself is made smaller; `x <- x + conv(image)`.
    Skip(Linear),
    /// `x <- image <- (x + down(conv(image))) / sqrt(2)`.
    Residual(Conv2d),
}

impl Encoder {
    /// Also returns the channels of the skip connections, in the order in which they are made.
    pub fn new(
        scope: &mut Scope,
        config: &SongConfig,
        canvas: &Canvas,
        options: &BlockOptions,
    ) -> Result<(Self, Vec<usize>)> {
        let top = canvas.resolution(0);
        let mut channels = config.model_channels;
        let mut pyramid_channels = config.img_channels;
        let stem = Conv2d::three(&mut scope.at(&format!("{top}x{top}_conv")), config.img_channels, channels, 1.0);
        let mut skips = vec![channels];
        let mut levels = Vec::new();
        for (level, &mult) in config.channel_mult.iter().enumerate() {
            let at = canvas.resolution(level);
            let (mut down, mut pyramid) = (None, None);
            if level > 0 {
                let name = format!("{at}x{at}_down");
                down =
                    Some(UNetBlock::new(&mut scope.at(&name), options, channels, channels, Resampling::Down, false)?);
                pyramid = Pyramid::new(scope, config, at, pyramid_channels, channels);
                if config.encoder_type == EncoderType::Residual {
                    pyramid_channels = channels;
                }
                skips.push(channels);
            }
            let attention = config.attn_resolutions.contains(&at);
            let mut blocks = Vec::new();
            for index in 0..config.num_blocks {
                let outputs = config.model_channels * mult;
                let scope = &mut scope.at(&format!("{at}x{at}_block{index}"));
                blocks.push(UNetBlock::new(scope, options, channels, outputs, Resampling::None, attention)?);
                channels = outputs;
                skips.push(channels);
            }
            levels.push(Level { down, pyramid, blocks });
        }
        Ok((Encoder { stem, levels, filter: config.resample_filter.clone() }, skips))
    }

    /// The features at the lowest resolution, and the skip connections.
    pub fn forward(&self, cx: &Context, image: &Var, emb: &Var) -> Result<(Var, Vec<Var>)> {
        let mut image = image.clone();
        let mut x = self.stem.forward(cx, &image)?;
        let mut skips = vec![x.clone()];
        for level in &self.levels {
            if let Some(down) = &level.down {
                x = down.forward(cx, &x, emb)?;
                if let Some(pyramid) = &level.pyramid {
                    (x, image) = pyramid.forward(cx, &x, &image, &self.filter)?;
                }
                skips.push(x.clone());
            }
            for block in &level.blocks {
                x = block.forward(cx, &x, emb)?;
                skips.push(x.clone());
            }
        }
        Ok((x, skips))
    }

    /// Multiply-adds for one image of height and width `at`, which become the lowest ones.
    pub fn multiply_adds(&self, layout: &Layout, at: &mut [usize; 2]) -> Result<u64> {
        let mut count = pixels(*at) * self.stem.multiply_adds(layout)?;
        for level in &self.levels {
            let before = *at;
            count += multiply_adds(level.down.iter().chain(&level.blocks), layout, at)?;
            count += match &level.pyramid {
                None => 0,
                Some(Pyramid::Skip(conv)) => pixels(*at) * conv.multiply_adds(layout)?,
                Some(Pyramid::Residual(conv)) => {
                    // A 3x3 convolution takes one pixel of the padding off each side.
                    let wide = before.map(|extent| extent + 2 * (residual_padding(&self.filter) - 1));
                    pixels(wide) * conv.multiply_adds(layout)?
                }
            };
        }
        Ok(count)
    }
}

/// The border around an image of the residual pyramid: the 3x3 convolution's, and what the filter after it needs.
fn residual_padding(filter: &[f64]) -> usize {
    1 + (filter.len() - 1) / 2
}

impl Pyramid {
    fn new(scope: &mut Scope, config: &SongConfig, at: usize, inputs: usize, outputs: usize) -> Option<Self> {
        let filter = &config.resample_filter;
        match config.encoder_type {
            EncoderType::Standard => None,
            EncoderType::Skip => {
                register_filter(&mut scope.at(&format!("{at}x{at}_aux_down")), filter);
                let conv = Linear::pointwise(&mut scope.at(&format!("{at}x{at}_aux_skip")), inputs, outputs, 1.0);
                Some(Pyramid::Skip(conv))
            }
            EncoderType::Residual => {
                let scope = &mut scope.at(&format!("{at}x{at}_aux_residual"));
                register_filter(scope, filter);
                Some(Pyramid::Residual(Conv2d::three(scope, inputs, outputs, 1.0)))
            }
        }
    }

    /// The features and the image for the next level.
    fn forward(&self, cx: &Context, x: &Var, image: &Var, filter: &[f64]) -> Result<(Var, Var)> {
        match self {
            Pyramid::Skip(conv) => {
                let image = ops::downsample2x(image, filter)?;
                Ok((ops::add(x, &conv.forward(cx, &image)?)?, image))
            }
            Pyramid::Residual(conv) => {
                // The convolution keeps a border for the filter, which then needs no padding of its own.
                let wide = conv.forward_padded(cx, image, residual_padding(filter))?;
                let half = std::f64::consts::FRAC_1_SQRT_2;
                let x = ops::add_scaled(x, half, &ops::downsample2x_padded(&wide, filter, 0)?, half)?;
                Ok((x.clone(), x))
            }
        }
    }
}
