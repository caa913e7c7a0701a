//! What the U-Nets share: the residual block.
//!
//! [`SongUNet`](crate::nn::SongUNet) and [`DhariwalUNet`](crate::nn::DhariwalUNet) are made of the same block with
//! other [options](BlockOptions) (Karras et al. 2022, arXiv 2206.00364, appendix F).

mod attention;
mod block;
mod canvas;

pub use attention::Heads;
pub use block::{BlockOptions, Resampling, UNetBlock};
pub(super) use canvas::{Canvas, doubled, halved};

use super::layout::{Init, Layout, Scope};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::DType;

/// `labels` in f32. Errors with their `name` unless they are `[n, dim]`.
pub(super) fn check_labels(name: &'static str, labels: &Var, [n, dim]: [usize; 2]) -> Result<Var> {
    if labels.shape()[..] != [n, dim] {
        return Err(Error::shape(name, format!("[{n}, {dim}]"), labels.shape()));
    }
    ops::cast(labels, DType::F32)
}

/// One block of the decoder: it takes the newest skip connection if it has room for it.
pub(super) fn decode(cx: &super::Context, block: &UNetBlock, x: &Var, skips: &mut Vec<Var>, emb: &Var) -> Result<Var> {
    // The blocks at the bottom and those that enlarge take none.
    let skip = if block.inputs() != x.shape()[3] { skips.pop() } else { None };
    match skip {
        Some(skip) => block.forward(cx, &ops::concat(&[x, &skip], 3)?, emb),
        None => block.forward(cx, x, emb),
    }
}

/// Pixels of an image of this height and width.
pub(super) fn pixels([height, width]: [usize; 2]) -> u64 {
    height as u64 * width as u64
}

/// Multiply-adds of blocks one after the other for one image of this height and width, which become those of the last
/// one's result.
pub(super) fn multiply_adds<'a>(
    blocks: impl IntoIterator<Item = &'a UNetBlock>,
    layout: &Layout,
    size: &mut [usize; 2],
) -> Result<u64> {
    let mut count = 0;
    for block in blocks {
        count += block.multiply_adds(layout, *size)?;
        *size = block.size(*size);
    }
    Ok(count)
}

/// The blocks of a decoder at one resolution.
pub(super) struct DecoderLevel {
    /// The resolution.
    pub at: usize,
    /// Whether it is the lowest one, where nothing has to be enlarged.
    pub lowest: bool,
    pub inputs: usize,
    pub outputs: usize,
}

impl DecoderLevel {
    /// Two blocks at the bottom or one that enlarges, then one with a skip connection for each entry of `attention`.
    /// Takes the channels of these connections from `skips`.
    pub fn blocks(
        &self,
        scope: &mut Scope,
        options: &BlockOptions,
        skips: &mut Vec<usize>,
        attention: &[bool],
    ) -> Result<Vec<UNetBlock>> {
        let (at, mut channels) = (self.at, self.inputs);
        let mut blocks = Vec::new();
        let mut add = |name: &str, inputs: usize, outputs: usize, resampling: Resampling, attention: bool| {
            let scope = &mut scope.at(&format!("{at}x{at}_{name}"));
            blocks.push(UNetBlock::new(scope, options, inputs, outputs, resampling, attention)?);
            Result::Ok(())
        };
        if self.lowest {
            add("in0", channels, channels, Resampling::None, true)?;
            add("in1", channels, channels, Resampling::None, false)?;
        } else {
            add("up", channels, channels, Resampling::Up, false)?;
        }
        for (index, &attends) in attention.iter().enumerate() {
            let inputs = channels + skips.pop().unwrap_or(0);
            channels = self.outputs;
            add(&format!("block{index}"), inputs, channels, Resampling::None, attends)?;
        }
        Ok(blocks)
    }
}

/// Registers the normalised two-dimensional filter `[1, 1, taps, taps]` that model files carry beside a layer that
/// resamples.
pub(super) fn register_filter(scope: &mut Scope, taps: &[f64]) {
    let sum: f64 = taps.iter().sum();
    let values = taps.iter().flat_map(|a| taps.iter().map(move |b| (a * b / (sum * sum)) as f32)).collect();
    scope.buffer("resample_filter", [1, 1, taps.len(), taps.len()], Init::Fixed(values));
}

/// Labels that a network takes at most.
pub(crate) const MAX_LABELS: usize = 1 << 20;

/// Errors with what to change unless these make a U-Net: sizes, resolutions and attention levels.
pub(super) struct Sizes<'a> {
    pub img_resolution: usize,
    pub img_height: Option<usize>,
    pub img_width: Option<usize>,
    pub img_channels: usize,
    pub label_dim: usize,
    pub augment_dim: usize,
    pub model_channels: usize,
    pub channel_mult: &'a [usize],
    pub channel_mult_emb: usize,
    pub num_blocks: usize,
    pub attn_resolutions: &'a [usize],
    pub dropout: f64,
    pub label_dropout: f64,
}

impl Sizes<'_> {
    /// How images lie in the network.
    pub fn check(&self) -> Result<Canvas> {
        let fail = |what: String| Err(Error::Config(what));
        let sizes = [
            ("img_channels", self.img_channels),
            ("model_channels", self.model_channels),
            ("channel_mult_emb", self.channel_mult_emb),
            ("the number of entries in channel_mult", self.channel_mult.len()),
        ];
        for (name, value) in sizes {
            if value == 0 || value > 1 << 16 {
                return fail(format!("{name} must be between 1 and 65536, got {value}"));
            }
        }
        if self.channel_mult.iter().chain([&self.channel_mult_emb]).any(|mult| !(1..=64).contains(mult)) {
            return fail(format!(
                "channel_mult and channel_mult_emb must be between 1 and 64, got {:?} and {}",
                self.channel_mult, self.channel_mult_emb
            ));
        }
        let limits = [
            ("num_blocks", self.num_blocks, 64),
            ("label_dim", self.label_dim, MAX_LABELS),
            ("augment_dim", self.augment_dim, MAX_LABELS),
        ];
        for (name, value, limit) in limits {
            if value > limit {
                return fail(format!("{name} must be at most {limit}, got {value}"));
            }
        }
        let levels = self.channel_mult.len();
        let canvas = Canvas::new(self.img_resolution, self.img_height, self.img_width, levels)?;
        let resolutions: Vec<usize> = (0..levels).map(|level| canvas.resolution(level)).collect();
        if let Some(missing) = self.attn_resolutions.iter().find(|at| !resolutions.contains(at)) {
            return fail(format!("attn_resolutions names {missing}, but the network has {resolutions:?}"));
        }
        for (name, p) in [("dropout", self.dropout), ("label_dropout", self.label_dropout)] {
            if !(0.0..1.0).contains(&p) {
                return fail(format!("{name} must be in [0, 1), got {p}"));
            }
        }
        Ok(canvas)
    }
}
