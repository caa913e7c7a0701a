//! The residual block, with resampling and self-attention.

use super::ZERO_GAIN;
use super::config::SongConfig;
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::context::Context;
use crate::nn::layers::{Conv3x3, GroupNorm, Linear, Module};
use crate::nn::layout::{Init, Scope};
use crate::ops;

/// Added to variances.
pub(super) const EPS: f64 = 1e-6;
/// Of a sum of two branches, so that it has the variance of one.
const SKIP_SCALE: f64 = std::f64::consts::FRAC_1_SQRT_2;

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

/// `[n, h, w, inputs]` and an embedding `[n, channels]` to `[n, h', w', outputs]`.
#[derive(Debug, Clone)]
pub struct UNetBlock {
    inputs: usize,
    resampling: Resampling,
    filter: Vec<f64>,
    norm0: GroupNorm,
    conv0: Conv3x3,
    affine: Linear,
    norm1: GroupNorm,
    conv1: Conv3x3,
    skip: Option<Linear>,
    attention: Option<Attention>,
    dropout: f64,
    /// Of the dropout mask.
    site: u32,
}

#[derive(Debug, Clone)]
struct Attention {
    norm: GroupNorm,
    qkv: Linear,
    proj: Linear,
}

impl UNetBlock {
    /// Registers the block's parameters. Errors if groups do not divide the channels.
    pub fn new(
        scope: &mut Scope,
        config: &SongConfig,
        inputs: usize,
        outputs: usize,
        resampling: Resampling,
        attention: bool,
    ) -> Result<Self> {
        let embedding = config.model_channels * config.channel_mult_emb;
        let site = scope.site();
        let resamples = resampling != Resampling::None;
        let filter = |scope: &mut Scope| {
            if resamples {
                let (taps, shape) = outer(&config.resample_filter);
                scope.buffer("resample_filter", shape, Init::Fixed(taps));
            }
        };
        let norm0 = GroupNorm::new(&mut scope.at("norm0"), inputs, EPS)?;
        filter(&mut scope.at("conv0"));
        let conv0 = Conv3x3::new(&mut scope.at("conv0"), inputs, outputs, 1.0);
        let affine = Linear::new(&mut scope.at("affine"), embedding, outputs, 1.0);
        let norm1 = GroupNorm::new(&mut scope.at("norm1"), outputs, EPS)?;
        let conv1 = Conv3x3::new(&mut scope.at("conv1"), outputs, outputs, ZERO_GAIN);
        let skip = (inputs != outputs || resamples).then(|| {
            filter(&mut scope.at("skip"));
            Linear::pointwise(&mut scope.at("skip"), inputs, outputs, 1.0)
        });
        let attention = match attention {
            false => None,
            true => Some(Attention {
                norm: GroupNorm::new(&mut scope.at("norm2"), outputs, EPS)?,
                qkv: Linear::query_key_value(&mut scope.at("qkv"), outputs, 0.2f32.sqrt()),
                proj: Linear::pointwise(&mut scope.at("proj"), outputs, outputs, ZERO_GAIN),
            }),
        };
        Ok(UNetBlock {
            inputs,
            resampling,
            filter: config.resample_filter.clone(),
            norm0,
            conv0,
            affine,
            norm1,
            conv1,
            skip,
            attention,
            dropout: config.dropout,
            site,
        })
    }

    /// Channels that the block takes.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The block's result for `x` `[n, h, w, inputs]` and `emb` `[n, channels]`.
    pub fn forward(&self, cx: &Context, x: &Var, emb: &Var) -> Result<Var> {
        let h = self.resample(&self.norm0.forward_silu(cx, x)?)?;
        let h = self.conv0.forward(cx, &h)?;
        let shift = self.affine.forward(cx, emb)?;
        let [n, channels] = shift.shape().dims("UNetBlock", "an embedding [n, channels]")?;
        let h = self.norm1.forward_silu(cx, &ops::add(&h, &shift.reshape([n, 1, 1, channels])?)?)?;
        let h = self.conv1.forward(cx, &cx.dropout(&h, self.dropout, self.site)?)?;
        let skip = match &self.skip {
            Some(skip) => skip.forward(cx, &self.resample(x)?)?,
            None => x.clone(),
        };
        let x = ops::add_scaled(&h, SKIP_SCALE, &skip, SKIP_SCALE)?;
        match &self.attention {
            Some(attention) => attention.forward(cx, &x),
            None => Ok(x),
        }
    }

    fn resample(&self, x: &Var) -> Result<Var> {
        match self.resampling {
            Resampling::None => Ok(x.clone()),
            Resampling::Down => ops::downsample2x(x, &self.filter),
            Resampling::Up => ops::upsample2x(x, &self.filter),
        }
    }
}

impl Attention {
    /// Self-attention among the pixels, with one head, added to `x`.
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        let [n, h, w, c] = x.shape().dims("attention", "images [n, h, w, channels]")?;
        let qkv = self.qkv.forward(cx, &self.norm.forward(cx, x)?)?.reshape([n, h * w, 3 * c])?;
        let part = |i: usize| ops::slice(&qkv, 2, i * c..(i + 1) * c);
        let a = ops::attention(&part(0)?, &part(1)?, &part(2)?, 1, false)?;
        let a = self.proj.forward(cx, &a.reshape([n, h, w, c])?)?;
        ops::add_scaled(&a, SKIP_SCALE, x, SKIP_SCALE)
    }
}

/// The normalised two-dimensional filter that model files carry, and its shape `[1, 1, taps, taps]`.
fn outer(taps: &[f64]) -> (Vec<f32>, [usize; 4]) {
    let sum: f64 = taps.iter().sum();
    let values = taps.iter().flat_map(|a| taps.iter().map(move |b| (a * b / (sum * sum)) as f32)).collect();
    (values, [1, 1, taps.len(), taps.len()])
}
