//! Embeddings of a scalar (a noise level, a time) by cosines and sines of many frequencies.
//!
//! A phase may be many turns: a position of 1000, or `c_noise` times a frequency of hundreds. It is therefore computed
//! in f64 on every device, whole turns are taken off, and only the rest is rounded to f32. bf16 inputs are as coarse as
//! they are.

mod cpu;
mod gpu;

use super::{check_alike, check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// In turns per unit of the input.
#[derive(Debug, Clone)]
enum Frequencies {
    /// `2^(rate i) / 2 pi` for i = 0, 1, ...
    Geometric { rate: f64 },
    /// As they are.
    Given(Tensor),
}

/// `y = [cos(x f), sin(x f)]` with `f_i = max_positions^(-i / (channels/2 - endpoint))`, i = 0 .. channels/2 - 1
/// (`endpoint` counts as 1 if true: then the last frequency is exactly `1 / max_positions`).
///
/// `x` is `[b]` of any floating-point dtype, the result `[b, channels]`: cosines, then sines. DDPM++ has `endpoint`,
/// ADM has not. Errors if `channels` is odd or leaves no frequency (or a single one with `endpoint`), if
/// `max_positions` is not positive and finite, or if `x` has another shape. Vaswani et al. 2017 (arXiv 1706.03762), as
/// in EDM.
pub fn positional_embedding(x: impl Into<Var>, channels: usize, max_positions: f64, endpoint: bool) -> Result<Var> {
    let x = &x.into();
    const OP: &str = "positional_embedding";
    let least = if endpoint { 4 } else { 2 };
    if !channels.is_multiple_of(2) || channels < least {
        return Err(Error::argument(OP, format!("channels must be even and at least {least}, got {channels}")));
    }
    if !(max_positions.is_finite() && max_positions > 0.0) {
        return Err(Error::argument(OP, format!("max_positions must be positive and finite, got {max_positions}")));
    }
    let rate = -max_positions.log2() / (channels / 2 - usize::from(endpoint)) as f64;
    record(OP, x, channels / 2, Frequencies::Geometric { rate })
}

/// `y = [cos(2 pi x f), sin(2 pi x f)]` for given frequencies `f`: random Fourier features.
///
/// `x` is `[b]`, `freqs` `[c/2]` of the same floating-point dtype and a constant, the result `[b, c]`: cosines, then
/// sines. Errors on other shapes and dtypes. Tancik et al. 2020 (arXiv 2006.10739), as in NCSN++.
pub fn fourier_embedding(x: impl Into<Var>, freqs: &Tensor) -> Result<Var> {
    let x = &x.into();
    const OP: &str = "fourier_embedding";
    let [half] = freqs.shape().dims(OP, "frequencies [c/2]")?;
    check_alike(OP, &[x.value(), freqs])?;
    record(OP, x, half, Frequencies::Given(freqs.clone()))
}

fn record(op: &'static str, x: &Var, half: usize, frequencies: Frequencies) -> Result<Var> {
    check_float(op, x.value())?;
    let [batch] = x.shape().dims(op, "x [b]")?;
    let mut y = Tensor::empty([batch, 2 * half], x.dtype(), &x.device())?;
    if !y.is_empty() {
        on!(x.device(), forward(op, x.value(), half, &frequencies, &mut y))?;
    }
    let x_value = x.value().clone();
    Var::record(op, y, [x], move |dy, _| {
        if dy.is_empty() {
            return Ok([Some(Tensor::zeros([batch], dy.dtype(), &dy.device())?)]);
        }
        let mut dx = Tensor::empty([batch], dy.dtype(), &dy.device())?;
        on!(dy.device(), backward(op, dy, &x_value, half, &frequencies, &mut dx))?;
        Ok([Some(dx)])
    })
}
