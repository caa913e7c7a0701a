//! Images of twice and of half the size, through a small filter.
//!
//! The convention is that of EDM and NCSN++ (Karras et al. 2022, arXiv 2206.00364; Song et al. 2021, arXiv 2011.13456):
//! the filter is the outer product of the taps with themselves, divided by its sum; borders are padded with zeros.

mod cpu;
mod gpu;

use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Most taps of a filter; a kernel's parameters hold this many.
const MAX_TAPS: usize = 32;

/// `[n, h, w, c]` images made larger or smaller along `h` and `w`.
#[derive(Debug, Clone)]
struct Resample {
    /// Each pixel of the input adds to many of the output, instead of each of the output summing many of the input.
    up: bool,
    /// Along one axis; up: twice the normalised taps, so that brightness stays. Scaled by the gradient's factor.
    taps: Vec<f64>,
    /// Taps that lie before pixel `2 i`.
    pad: usize,
    n: usize,
    from: [usize; 2],
    to: [usize; 2],
    c: usize,
}

/// `x` `[n, h, w, c]` enlarged to `[n, 2h, 2w, c]`, each channel by itself: the transposed convolution with `4 f`,
/// stride 2 and padding `(L - 1) / 2`, rounded down, where `f = outer(taps, taps) / sum(taps)^2`.
///
/// `[1, 1]` repeats pixels; `[1, 3, 3, 1]` interpolates, and darkens the rim. The gradient is 4 times
/// [`downsample2x`] of the result's. Any floating-point dtype; sums are in f32 (f64 for f64).
///
/// Errors unless `x` has four axes and there is an even number (at most 32) of finite taps whose sum is not 0.
pub fn upsample2x(x: impl Into<Var>, taps: &[f64]) -> Result<Var> {
    let x = &x.into();
    const OP: &str = "upsample2x";
    let ([n, h, w, c], taps) = check(OP, x, taps)?;
    let pad = (taps.len() - 1) / 2;
    let to = [h.saturating_mul(2), w.saturating_mul(2)];
    let taps = taps.iter().map(|tap| 2.0 * tap).collect();
    record(OP, x, Resample { up: true, taps, pad, n, from: [h, w], to, c })
}

/// `x` `[n, h, w, c]` reduced to `[n, h/2, w/2, c]` (rounded down), each channel by itself: the convolution with `f`,
/// stride 2 and padding `(L - 1) / 2`, rounded down, where `f = outer(taps, taps) / sum(taps)^2`.
///
/// `[1, 1]` is the mean of 2 x 2 pixels. The gradient is a quarter of [`upsample2x`] of the result's. Any
/// floating-point dtype; sums are in f32 (f64 for f64).
///
/// Errors unless `x` has four axes, `h` and `w` are 2 at least, and there is an even number (at most 32) of finite taps
/// whose sum is not 0.
pub fn downsample2x(x: impl Into<Var>, taps: &[f64]) -> Result<Var> {
    let x = &x.into();
    downsample2x_padded(x, taps, taps.len().saturating_sub(1) / 2)
}

/// As [`downsample2x`], with `padding` zeros beyond each border: `[n, h, w, c]` becomes `[n, (h + 2 padding - L) / 2 +
/// 1, ..., c]`, rounded down.
///
/// Without padding it ends a convolution that kept a wider border for it, as in NCSN++'s residual encoder. Errors also
/// if `padding` is not below the number of taps, or the filter is larger than the padded image.
pub fn downsample2x_padded(x: impl Into<Var>, taps: &[f64], padding: usize) -> Result<Var> {
    let x = &x.into();
    const OP: &str = "downsample2x";
    let ([n, h, w, c], taps) = check(OP, x, taps)?;
    if padding >= taps.len() {
        return Err(Error::argument(OP, format!("padding must be below the {} taps, got {padding}", taps.len())));
    }
    let least = taps.len().saturating_sub(2 * padding).max(1);
    if h < least || w < least {
        return Err(Error::shape(OP, format!("images of {least} x {least} pixels at least"), x.shape()));
    }
    let halved = |extent: usize| (extent + 2 * padding - taps.len()) / 2 + 1;
    let to = [halved(h), halved(w)];
    record(OP, x, Resample { up: false, taps, pad: padding, n, from: [h, w], to, c })
}

fn record(op: &'static str, x: &Var, forward: Resample) -> Result<Var> {
    let y = forward.run(op, x.value())?;
    // The adjoint: the same taps the other way round. Its own adjoint is what it came from.
    let backward = Resample { up: !forward.up, from: forward.to, to: forward.from, ..forward };
    Var::record_higher(op, y, [x], move |dy, _| Ok([Some(record(op, dy, backward.clone())?)]))
}

impl Resample {
    fn run(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        let mut y = Tensor::empty([self.n, self.to[0], self.to[1], self.c], x.dtype(), &x.device())?;
        if !y.is_empty() {
            on!(x.device(), resample(op, x, self, &mut y))?;
        }
        Ok(y)
    }
}

/// The extents of `x`, and the taps divided by their sum.
fn check(op: &'static str, x: &Var, taps: &[f64]) -> Result<([usize; 4], Vec<f64>)> {
    check_float(op, x.value())?;
    let dims = x.shape().dims(op, "images [n, h, w, c]")?;
    let sum: f64 = taps.iter().sum();
    if taps.is_empty() || !taps.len().is_multiple_of(2) || taps.len() > MAX_TAPS || !sum.is_finite() || sum == 0.0 {
        let expected = format!("an even number, at most {MAX_TAPS}, of finite taps whose sum is not 0");
        return Err(Error::argument(op, format!("the filter {taps:?}; it needs {expected}")));
    }
    Ok((dims, taps.iter().map(|tap| tap / sum).collect()))
}
