//! Group normalisation, alone or with the SiLU that follows it in every score network here.

mod cpu;
mod gpu;

use super::reduce::standardized;
use super::{add, cast, check_float, check_same_device, mul, on, silu};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// Group normalisation: `y = gamma (x - mean) / sqrt(var + eps) + beta`.
///
/// `x` is `[n, ..., c]` with any number of axes in between (`[n, h, w, c]` for images), `gamma` and `beta` are `[c]` in
/// `x`'s dtype or in f32; the result has the shape and dtype of `x`. A group is a run of `c / groups` neighbouring
/// channels; mean and (biased) variance run over the values of one group of one image. They are computed in f32
/// (f64 for f64), the variance about the mean, and they alone are kept for the gradient besides the inputs.
///
/// Errors if `groups` does not divide `c`, if `eps` is not positive, or if a shape, dtype or device differs from the
/// above.
///
/// Wu & He 2018 (arXiv 1803.08494).
pub fn group_norm(
    x: impl Into<Var>,
    gamma: impl Into<Var>,
    beta: impl Into<Var>,
    groups: usize,
    eps: f64,
) -> Result<Var> {
    let (x, gamma, beta) = (&x.into(), &gamma.into(), &beta.into());
    normalize("group_norm", false, [x, gamma, beta], groups, eps)
}

/// [`group_norm`] followed by SiLU, `y = u sigmoid(u)` with `u` the normalised value, in the same pass over memory.
/// Shapes, dtypes and errors are those of [`group_norm`]; `u` is never stored.
pub fn group_norm_silu(
    x: impl Into<Var>,
    gamma: impl Into<Var>,
    beta: impl Into<Var>,
    groups: usize,
    eps: f64,
) -> Result<Var> {
    let (x, gamma, beta) = (&x.into(), &gamma.into(), &beta.into());
    normalize("group_norm_silu", true, [x, gamma, beta], groups, eps)
}

/// What is normalised, and how.
#[derive(Debug, Clone, Copy)]
struct Setting {
    op: &'static str,
    images: usize,
    /// The product of the middle axes.
    pixels: usize,
    channels: usize,
    groups: usize,
    eps: f64,
    silu: bool,
}

impl Setting {
    /// Elements of an image.
    fn image(&self) -> usize {
        self.pixels * self.channels
    }

    /// Channels of a group.
    fn width(&self) -> usize {
        self.channels / self.groups
    }
}

/// The gradients of the three inputs.
struct Gradients {
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
}

fn normalize(op: &'static str, silu: bool, inputs: [&Var; 3], groups: usize, eps: f64) -> Result<Var> {
    let [x, gamma, beta] = inputs.map(|input| input.value().clone());
    let [images, middle @ .., channels] = &x.shape()[..] else {
        return Err(Error::shape(op, "x [n, ..., c]", x.shape()));
    };
    let setting =
        Setting { op, images: *images, pixels: middle.iter().product(), channels: *channels, groups, eps, silu };
    check(&setting, &x, &gamma, &beta)?;
    if x.is_empty() {
        let empty = x.clone();
        return Var::record_higher(op, empty, inputs, move |_, _| {
            let zeros = |like: &Tensor| Ok(Some(Tensor::zeros(like.shape(), like.dtype(), &like.device())?.into()));
            Ok([zeros(&x)?, zeros(&gamma)?, zeros(&beta)?])
        });
    }
    let (y, stats) = on!(x.device(), forward(&setting, &x, &gamma, &beta))?;
    let rule = move |dy: &Tensor, _| {
        let gradients = on!(x.device(), backward(&setting, dy, &x, &gamma, &beta, &stats))?;
        Ok([Some(gradients.x), Some(gradients.gamma), Some(gradients.beta)])
    };
    Var::record_fused(op, y, inputs, rule, move |inputs| plain(&setting, inputs))
}

/// The same, made of other operations.
fn plain(setting: &Setting, inputs: &[Var]) -> Result<Var> {
    let [x, gamma, beta] = inputs else { return Err(Error::argument(setting.op, "three inputs")) };
    let extents = [setting.images, setting.pixels, setting.groups, setting.width()];
    let u = standardized(x, extents, setting.eps)?.reshape(x.shape())?;
    let u = add(mul(&u, cast(gamma, u.dtype())?)?, cast(beta, u.dtype())?)?;
    cast(if setting.silu { silu(u)? } else { u }, x.dtype())
}

fn check(setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<()> {
    let &Setting { op, channels, groups, eps, .. } = setting;
    check_float(op, x)?;
    for affine in [gamma, beta] {
        check_same_device(op, x, affine)?;
        if affine.shape()[..] != [channels] {
            return Err(Error::shape(op, format!("gamma and beta [{channels}] for x {}", x.shape()), affine.shape()));
        }
        let fits = affine.dtype() == x.dtype() || (affine.dtype() == DType::F32 && x.dtype() == DType::BF16);
        if !fits || affine.dtype() != gamma.dtype() {
            let expected = format!("gamma and beta both {} like x, or both f32 beside bf16", x.dtype());
            return Err(Error::dtype(op, expected, affine.dtype()));
        }
    }
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(Error::argument(op, format!("groups must divide the {channels} channels, got {groups}")));
    }
    if !(eps > 0.0 && eps.is_finite()) {
        return Err(Error::argument(op, format!("eps must be positive, got {eps}")));
    }
    Ok(())
}
