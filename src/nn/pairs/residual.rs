//! Residual networks: those of the second version of Triple-GAN, as spectrally normalised GANs have them (Miyato et al.
//! 2018, arXiv 1802.05957; Miyato & Koyama 2018, arXiv 1802.05637).

use super::{PairDiscriminator, PairGenerator, check_sizes};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layers::{
    BatchNorm, ConditionalBatchNorm, Conv2d, ConvOptions, Linear, Module, Projection, SpectralNorm,
};
use crate::nn::layout::Scope;
use crate::ops;
use crate::tensor::DType;

/// 2x2 means and repeats.
const BOX: [f64; 2] = [1.0, 1.0];

/// A linear layer, blocks that double the size with class-conditional batch normalisation, at last tanh.
#[derive(Debug, Clone)]
pub struct ResidualGenerator {
    input: Linear,
    blocks: Vec<UpBlock>,
    norm: BatchNorm,
    output: Conv2d,
    latents: usize,
    first: [usize; 3],
}

#[derive(Debug, Clone)]
struct UpBlock {
    norms: [ConditionalBatchNorm; 2],
    convolutions: [Conv2d; 2],
    skip: Conv2d,
}

impl ResidualGenerator {
    /// With `blocks` doublings of `channels` channels. Errors on sizes that make no network, and on images whose sides
    /// are no multiples of 2^blocks.
    pub fn new(
        scope: &mut Scope,
        (latents, classes): (usize, usize),
        (channels, blocks): (usize, usize),
        size: [usize; 3],
    ) -> Result<Self> {
        let [height, width, outputs] = size;
        check_sizes("a generator", &[latents, classes, channels, height, width, outputs])?;
        let scale = doublings(size, blocks)?;
        let first = [height / scale, width / scale, channels];
        let input = Linear::new(&mut scope.at("input"), latents, first.iter().product(), 1.0);
        let block = |i: usize, scope: &mut Scope| -> Result<UpBlock> {
            let mut at = scope.at(&format!("block{i}"));
            Ok(UpBlock {
                norms: [0, 1].map(|j| ConditionalBatchNorm::new(&mut at.at(&format!("norm{j}")), classes, channels)),
                convolutions: [0, 1].map(|j| Conv2d::three(&mut at.at(&format!("conv{j}")), channels, channels, 1.0)),
                skip: Conv2d::new(&mut at.at("skip"), [channels; 2], ConvOptions::same(1), 1.0)?,
            })
        };
        let blocks = (0..blocks).map(|i| block(i, scope)).collect::<Result<Vec<_>>>()?;
        let norm = BatchNorm::new(&mut scope.at("norm"), channels);
        let output = Conv2d::three(&mut scope.at("output"), channels, outputs, 1.0);
        Ok(ResidualGenerator { input, blocks, norm, output, latents, first })
    }
}

/// 2^blocks. Errors unless both sides are multiples of it.
fn doublings([height, width, _]: [usize; 3], blocks: usize) -> Result<usize> {
    let scale = 1usize.checked_shl(blocks as u32).unwrap_or(0);
    if scale == 0 || !height.is_multiple_of(scale) || !width.is_multiple_of(scale) {
        let what =
            format!("{blocks} blocks change the size by 2 each: {height}x{width} must be multiples of 2^{blocks}");
        return Err(Error::Config(what));
    }
    Ok(scale)
}

impl PairGenerator for ResidualGenerator {
    fn latents(&self) -> usize {
        self.latents
    }

    fn generate(&self, cx: &Context, z: &Var, labels: &Var) -> Result<Var> {
        // Centred: the published network takes normal latents.
        let z = ((2.0 * z)? - 1.0)?;
        let x = self.input.forward(cx, &ops::cast(z, cx.compute())?)?;
        let (n, [h, w, c]) = (x.shape()[0], self.first);
        let mut x = x.reshape([n, h, w, c])?;
        for UpBlock { norms, convolutions, skip } in &self.blocks {
            let y = ops::upsample2x(&norms[0].forward(cx, &x, labels)?.relu()?, &BOX)?;
            let y = norms[1].forward(cx, &convolutions[0].forward(cx, &y)?, labels)?.relu()?;
            x = (convolutions[1].forward(cx, &y)? + skip.forward(cx, &ops::upsample2x(&x, &BOX)?)?)?;
        }
        let x = self.output.forward(cx, &self.norm.forward(cx, &x)?.relu()?)?;
        ops::cast(x, DType::F32)?.tanh()
    }
}

/// Blocks of spectrally normalised convolutions, of which the first halve the size; the sum over pixels; a projection
/// on the class, by which all classes are scored in one product.
#[derive(Debug, Clone)]
pub struct ResidualDiscriminator {
    blocks: Vec<DownBlock>,
    head: Projection,
    classes: usize,
}

#[derive(Debug, Clone)]
struct DownBlock {
    convolutions: [SpectralNorm; 2],
    skip: Option<SpectralNorm>,
    halves: bool,
    first: bool,
}

impl ResidualDiscriminator {
    /// With `blocks` of `channels` channels, of which two (or as many as there are) halve the size. Errors on sizes
    /// that make no network.
    pub fn new(
        scope: &mut Scope,
        size: [usize; 3],
        (channels, blocks): (usize, usize),
        classes: usize,
    ) -> Result<Self> {
        check_sizes("a discriminator", &[size[0], size[1], size[2], channels, blocks, classes])?;
        let halved = blocks.min(2);
        doublings(size, halved)?;
        let block = |i: usize, scope: &mut Scope| -> Result<DownBlock> {
            let mut at = scope.at(&format!("block{i}"));
            let inputs = if i == 0 { size[2] } else { channels };
            let three = ConvOptions::same(3);
            let convolutions = [
                SpectralNorm::conv2d(&mut at.at("conv0"), [inputs, channels], three, 1.0)?,
                SpectralNorm::conv2d(&mut at.at("conv1"), [channels; 2], three, 1.0)?,
            ];
            let halves = i < halved;
            let changes = halves || inputs != channels;
            let skip = match changes {
                true => Some(SpectralNorm::conv2d(&mut at.at("skip"), [inputs, channels], ConvOptions::same(1), 1.0)?),
                false => None,
            };
            Ok(DownBlock { convolutions, skip, halves, first: i == 0 })
        };
        let blocks = (0..blocks).map(|i| block(i, scope)).collect::<Result<Vec<_>>>()?;
        let head = Projection::new(&mut scope.at("head"), channels, classes, 1.0);
        Ok(ResidualDiscriminator { blocks, head, classes })
    }

    /// The features `[n, channels]`.
    fn features(&self, cx: &Context, x: &Var) -> Result<Var> {
        let mut x = ops::cast(x, cx.compute())?;
        for DownBlock { convolutions, skip, halves, first } in &self.blocks {
            let half = |x: Var| if *halves { ops::downsample2x(&x, &BOX) } else { Ok(x) };
            let active = if *first { x.clone() } else { x.relu()? };
            let y = convolutions[1].forward(cx, &convolutions[0].forward(cx, &active)?.relu()?)?;
            let kept = match skip {
                Some(skip) => skip.forward(cx, &x)?,
                None => x,
            };
            x = (half(y)? + half(kept)?)?;
        }
        ops::cast(x.relu()?, DType::F32)?.sum(&[1, 2])
    }
}

impl PairDiscriminator for ResidualDiscriminator {
    fn classes(&self) -> usize {
        self.classes
    }

    fn score(&self, cx: &Context, x: &Var, labels: &Var) -> Result<Var> {
        (self.scores(cx, x)? * labels)?.sum(&[1])
    }

    fn scores(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.head.scores(cx, &self.features(cx, x)?)
    }
}
