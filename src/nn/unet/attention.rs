//! Self-attention among the pixels of an image.

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layers::{GroupNorm, LayerInit, Linear, Module};
use crate::nn::layout::{Layout, Scope};
use crate::ops;

/// Into how many heads channels fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    /// Always one.
    One,
    /// One for every so many channels, rounded down; fewer channels than that have no attention at all.
    OfChannels(usize),
}

/// `x <- scale (proj(attention(norm(x))) + x)`.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    norm: GroupNorm,
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    /// `None` where there are too few channels for a head. Errors if heads do not divide the channels.
    pub fn new(
        scope: &mut Scope,
        channels: usize,
        heads: Heads,
        eps: f64,
        [qkv, proj]: [LayerInit; 2],
    ) -> Result<Option<Self>> {
        let heads = match heads {
            Heads::One => 1,
            Heads::OfChannels(width) => channels / width.max(1),
        };
        if heads == 0 {
            return Ok(None);
        }
        if !channels.is_multiple_of(heads) {
            let what = format!("{channels} channels do not fall into {heads} heads of attention of equal size");
            return Err(Error::Config(what));
        }
        Ok(Some(Attention {
            norm: GroupNorm::new(&mut scope.at("norm2"), channels, eps)?,
            qkv: Linear::query_key_value(&mut scope.at("qkv"), channels, qkv),
            proj: Linear::pointwise(&mut scope.at("proj"), channels, channels, proj),
            heads,
        }))
    }

    pub fn forward(&self, cx: &Context, x: &Var, scale: f64) -> Result<Var> {
        let [n, h, w, c] = x.shape().dims("attention", "images [n, h, w, channels]")?;
        let qkv = self.qkv.forward(cx, &self.norm.forward(cx, x)?)?.reshape([n, h * w, 3 * c])?;
        let part = |i: usize| ops::slice(&qkv, 2, i * c..(i + 1) * c);
        let a = ops::attention(&part(0)?, &part(1)?, &part(2)?, self.heads, false)?;
        let a = self.proj.forward(cx, &a.reshape([n, h, w, c])?)?;
        ops::add_scaled(&a, scale, x, scale)
    }

    /// For one image of so many pixels, each with `channels`: the layers, the scores and the weighted sums.
    pub fn multiply_adds(&self, layout: &Layout, pixels: u64, channels: u64) -> Result<u64> {
        let layers = self.qkv.multiply_adds(layout)? + self.proj.multiply_adds(layout)?;
        Ok(pixels * layers + 2 * pixels * pixels * channels)
    }
}
