//! The residual block, with resampling and self-attention.

use std::ops::Range;

use super::attention::{Attention, Heads};
use super::{doubled, halved, pixels, register_filter};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layers::{Conv2d, GroupNorm, LayerInit, Linear, Module};
use crate::nn::layout::{Layout, Scope};
use crate::ops;

/// How a block changes the resolution, before its first convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampling {
    /// Not at all.
    None,
    /// To half of it.
    Down,
    /// To twice of it.
    Up,
}

/// What the blocks of one network have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockOptions {
    /// Channels of the embedding.
    pub emb_channels: usize,
    /// Heads of attention, where there is attention.
    pub heads: Heads,
    /// Probability of dropout before the second convolution.
    pub dropout: f64,
    /// Factor on the sum of two branches; `sqrt(1/2)` keeps the variance of one.
    pub skip_scale: f64,
    /// Added to variances.
    pub eps: f64,
    /// Filter of the resampling, along one axis.
    pub resample_filter: Vec<f64>,
    /// Whether a resampled skip connection has a 1x1 convolution even if its channels stay the same.
    pub resample_proj: bool,
    /// Whether the embedding scales and shifts the second normalisation's result, instead of being added before it.
    pub adaptive_scale: bool,
    /// How layers start.
    pub init: LayerInit,
    /// How layers start that end a residual branch.
    pub init_zero: LayerInit,
    /// How queries, keys and values start.
    pub init_attn: LayerInit,
}

/// `[n, h, w, inputs]` and an embedding `[n, emb_channels]` to `[n, h', w', outputs]`.
#[derive(Debug, Clone)]
pub struct UNetBlock {
    inputs: usize,
    outputs: usize,
    resampling: Resampling,
    filter: Vec<f64>,
    norm0: GroupNorm,
    conv0: Conv2d,
    affine: Linear,
    adaptive_scale: bool,
    norm1: GroupNorm,
    conv1: Conv2d,
    skip: Skip,
    skip_scale: f64,
    attention: Option<Attention>,
    dropout: f64,
    /// The site of the dropout mask.
    site: u32,
    /// Numbers of its parameters in the layout.
    parameters: Range<usize>,
}

/// The branch around the convolutions.
#[derive(Debug, Clone)]
enum Skip {
    /// The input, resampled like the other branch.
    Identity,
    /// And through a 1x1 convolution.
    Projected(Linear),
}

impl UNetBlock {
    /// Registers the block's parameters. Errors if groups or heads do not divide the channels.
    pub fn new(
        scope: &mut Scope,
        options: &BlockOptions,
        inputs: usize,
        outputs: usize,
        resampling: Resampling,
        attention: bool,
    ) -> Result<Self> {
        let BlockOptions { eps, init, init_zero, init_attn, adaptive_scale, .. } = *options;
        let site = scope.site();
        let resamples = resampling != Resampling::None;
        let filter = |scope: &mut Scope| {
            if resamples {
                register_filter(scope, &options.resample_filter);
            }
        };
        let norm0 = GroupNorm::new(&mut scope.at("norm0"), inputs, eps)?;
        filter(&mut scope.at("conv0"));
        let conv0 = Conv2d::three(&mut scope.at("conv0"), inputs, outputs, init);
        let parts = if adaptive_scale { 2 } else { 1 };
        let affine = Linear::new(&mut scope.at("affine"), options.emb_channels, parts * outputs, init);
        let norm1 = GroupNorm::new(&mut scope.at("norm1"), outputs, eps)?;
        let conv1 = Conv2d::three(&mut scope.at("conv1"), outputs, outputs, init_zero);
        filter(&mut scope.at("skip"));
        let skip = match inputs != outputs || resamples && options.resample_proj {
            true => Skip::Projected(Linear::pointwise(&mut scope.at("skip"), inputs, outputs, init)),
            false => Skip::Identity,
        };
        let attention = match attention {
            true => Attention::new(scope, outputs, options.heads, eps, [init_attn, init_zero])?,
            false => None,
        };
        Ok(UNetBlock {
            inputs,
            outputs,
            resampling,
            filter: options.resample_filter.clone(),
            norm0,
            conv0,
            affine,
            adaptive_scale,
            norm1,
            conv1,
            skip,
            skip_scale: options.skip_scale,
            attention,
            dropout: options.dropout,
            site,
            parameters: site as usize..scope.site() as usize,
        })
    }

    /// Channels that the block takes.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Channels that the block gives.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The block's result for `x` `[n, h, w, inputs]` and an f32 embedding `[n, emb_channels]`.
    pub fn forward(&self, cx: &Context, x: &Var, emb: &Var) -> Result<Var> {
        if cx.recomputes_blocks() {
            let block = self.clone();
            return cx.checkpoint(self.parameters.clone(), &[x, emb], move |cx, inputs| match inputs {
                [x, emb] => block.run(cx, x, emb),
                _ => Err(Error::argument("UNetBlock", "a checkpoint with other inputs than the block's")),
            });
        }
        self.run(cx, x, emb)
    }

    /// Height and width of the block's result for images of this height and width; one row stays one.
    pub fn size(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        match self.resampling {
            Resampling::None => [height, width],
            Resampling::Down => [(height / 2).max(1), width / 2],
            Resampling::Up => [if height == 1 { 1 } else { 2 * height }, 2 * width],
        }
    }

    /// Multiply-adds of the block's layers and attention products for one image of this height and width. Errors if the
    /// block is another layout's.
    pub fn multiply_adds(&self, layout: &Layout, size: [usize; 2]) -> Result<u64> {
        let pixels = pixels(self.size(size));
        let mut of_a_pixel = self.conv0.multiply_adds(layout)? + self.conv1.multiply_adds(layout)?;
        if let Skip::Projected(layer) = &self.skip {
            of_a_pixel += layer.multiply_adds(layout)?;
        }
        let mut count = pixels * of_a_pixel + self.affine.multiply_adds(layout)?;
        if let Some(attention) = &self.attention {
            count += attention.multiply_adds(layout, pixels, self.outputs as u64)?;
        }
        Ok(count)
    }

    fn run(&self, cx: &Context, x: &Var, emb: &Var) -> Result<Var> {
        let h = self.resample(&self.norm0.forward_silu(cx, x)?)?;
        let h = self.conv0.forward(cx, &h)?;
        let h = self.adaptive_norm(cx, &h, emb)?;
        let h = self.conv1.forward(cx, &cx.dropout(&h, self.dropout, self.site)?)?;
        let skip = self.resample(x)?;
        let skip = match &self.skip {
            Skip::Projected(layer) => layer.forward(cx, &skip)?,
            Skip::Identity => skip,
        };
        let x = ops::add_scaled(&h, self.skip_scale, &skip, self.skip_scale)?;
        match &self.attention {
            Some(attention) => attention.forward(cx, &x, self.skip_scale),
            None => Ok(x),
        }
    }

    /// `silu(norm(h + emb))`, or `silu(norm(h) (1 + scale) + shift)` with both from the embedding.
    fn adaptive_norm(&self, cx: &Context, h: &Var, emb: &Var) -> Result<Var> {
        let params = self.affine.forward(cx, emb)?;
        let [n, channels] = params.shape().dims("UNetBlock", "an embedding [n, channels]")?;
        let params = params.reshape([n, 1, 1, channels])?;
        if !self.adaptive_scale {
            return self.norm1.forward_silu(cx, &ops::add(h, &ops::cast(&params, h.dtype())?)?);
        }
        let part = |i: usize| ops::slice(&params, 3, i * self.outputs..(i + 1) * self.outputs);
        let scale = ops::cast(&ops::shift(&part(0)?, 1.0)?, h.dtype())?;
        let shift = ops::cast(&part(1)?, h.dtype())?;
        ops::silu(&ops::add(&ops::mul(&self.norm1.forward(cx, h)?, &scale)?, &shift)?)
    }

    fn resample(&self, x: &Var) -> Result<Var> {
        match self.resampling {
            Resampling::None => Ok(x.clone()),
            Resampling::Down => halved(x, &self.filter),
            Resampling::Up => doubled(x, &self.filter),
        }
    }
}
