//! Two-dimensional convolution.

mod cpu;
mod gpu;
mod hopper;
mod hopper_weight;
mod pass;
#[cfg(all(test, any(feature = "cuda", feature = "emulator", feature = "ptx")))]
mod tests;

use super::product::check_bias;
use super::{check_alike, check_float, on, sum_to};
use crate::autograd::Var;
use crate::backend::convolution::Convolution;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

const OP: &str = "conv2d";

/// `y[n, i, j, o] = bias[o] + sum over ky, kx, c of x[n, stride i + ky - padding, stride j + kx - padding, c] w[o, ky,
/// kx, c]`, where `x` is zero outside (a cross-correlation, as every network means by convolution).
///
/// `x` is `[batch, height, width, in]`, `w` `[out, kernel, kernel, in]`, `bias` `[out]` if given; `y` is `[batch,
/// (height + 2 padding - kernel) / stride + 1, (width + 2 padding - kernel) / stride + 1, out]`, rounded down. Sums are
/// in f32 (f64 for f64), and rounded once for bf16.
///
/// Errors if a shape differs from the above, if the kernel is larger than the padded input, if `stride` is zero, if
/// `stride` or `padding` is absurd, or unless all have one floating-point dtype and one device.
pub fn conv2d(x: impl Into<Var>, w: impl Into<Var>, bias: Option<&Var>, stride: usize, padding: usize) -> Result<Var> {
    let (x, w) = (&x.into(), &w.into());
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    check_alike(OP, &inputs.iter().map(|input| input.value()).collect::<Vec<_>>())?;
    check_float(OP, x.value())?;
    let shape = shape_of(OP, x, w, bias, stride, padding)?;
    convolve(OP, shape, x, w, bias)
}

/// The convolution. It is linear in `x` and in `w`, and so are its gradients, [`adjoint`] and [`weight_gradient`], in
/// what they are made of: the gradients of each of the three are the other two. Here and in these the caller has
/// checked that the variables have the shapes of the geometry, one floating-point dtype and one device.
fn convolve(op: &'static str, shape: Convolution, x: &Var, w: &Var, bias: Option<&Var>) -> Result<Var> {
    let device = x.device();
    let mut y = Tensor::empty([shape.batch, shape.out_height(), shape.out_width(), shape.outputs], x.dtype(), &device)?;
    if !y.is_empty() {
        on!(device, forward(op, &shape, x.value(), w.value(), bias.map(Var::value), &mut y))?;
    }
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    let (x, w) = (x.value().clone(), w.value().clone());
    let bias_shape = bias.map(|bias| bias.shape().clone());
    Var::record_all_higher(op, y, &inputs, move |dy, at| {
        let dx = at.wanted(0, || adjoint(op, shape, dy, &at.input(1, &w), None))?;
        let dw = at.wanted(1, || weight_gradient(op, shape, dy, &at.input(0, &x)))?;
        let mut gradients = vec![dx, dw];
        if let Some(shape) = &bias_shape {
            gradients.push(at.wanted(2, || sum_to(dy, shape))?);
        }
        Ok(gradients)
    })
}

/// What `dy` `[batch, out height, out width, out]` makes of the weight, plus `bias` `[in]` if given: the gradient of
/// the input, and the transposed convolution.
pub(super) fn adjoint(op: &'static str, shape: Convolution, dy: &Var, w: &Var, bias: Option<&Var>) -> Result<Var> {
    let device = dy.device();
    let mut dx = Tensor::empty([shape.batch, shape.height, shape.width, shape.inputs], dy.dtype(), &device)?;
    if !dx.is_empty() {
        on!(device, input_gradient(op, &shape, dy.value(), w.value(), bias.map(Var::value), &mut dx))?;
    }
    let inputs: Vec<&Var> = [dy, w].into_iter().chain(bias).collect();
    let kept = [dy.value().clone(), w.value().clone()];
    let bias_shape = bias.map(|bias| bias.shape().clone());
    Var::record_all_higher(op, dx, &inputs, move |g, at| {
        let d_dy = at.wanted(0, || convolve(op, shape, g, &at.input(1, &kept[1]), None))?;
        let dw = at.wanted(1, || weight_gradient(op, shape, &at.input(0, &kept[0]), g))?;
        let mut gradients = vec![d_dy, dw];
        if let Some(shape) = &bias_shape {
            gradients.push(at.wanted(2, || sum_to(g, shape))?);
        }
        Ok(gradients)
    })
}

/// What `dy` `[batch, out height, out width, out]` makes of the input: the gradient of the weight.
fn weight_gradient(op: &'static str, shape: Convolution, dy: &Var, x: &Var) -> Result<Var> {
    let device = dy.device();
    let mut dw = Tensor::empty([shape.outputs, shape.kernel, shape.kernel, shape.inputs], dy.dtype(), &device)?;
    if !dw.is_empty() {
        on!(device, weight_gradient(op, &shape, dy.value(), x.value(), &mut dw))?;
    }
    let kept = [dy.value().clone(), x.value().clone()];
    Var::record_higher(op, dw, [dy, x], move |g, at| {
        let d_dy = at.wanted(0, || convolve(op, shape, &at.input(1, &kept[1]), g, None))?;
        let dx = at.wanted(1, || adjoint(op, shape, &at.input(0, &kept[0]), g, None))?;
        Ok([d_dy, dx])
    })
}

/// Kernel, stride and padding up to this keep every position within an image representable in 32 bits.
pub(crate) const ABSURD: usize = 1 << 15;

fn shape_of(
    op: &'static str,
    x: &Var,
    w: &Var,
    bias: Option<&Var>,
    stride: usize,
    padding: usize,
) -> Result<Convolution> {
    let [batch, height, width, inputs] = x.shape().dims(op, "an input [batch, height, width, in]")?;
    let [outputs, kernel, kernel_width, weight_inputs] = w.shape().dims(op, "a weight [out, kernel, kernel, in]")?;
    if kernel != kernel_width || kernel == 0 || weight_inputs != inputs {
        let expected = format!("a weight [out, kernel, kernel, {inputs}] for an input {}", x.shape());
        return Err(Error::shape(op, expected, w.shape()));
    }
    check_bias(op, bias.map(Var::value), outputs, w.shape())?;
    if stride == 0 || stride >= ABSURD || padding >= ABSURD || kernel >= ABSURD {
        let what = format!(
            "stride {stride}, padding {padding}, kernel {kernel}; each must be below {ABSURD}, and stride not 0"
        );
        return Err(Error::argument(op, what));
    }
    if height.max(width) >= 1 << 30 {
        return Err(Error::argument(op, format!("an image of {height}x{width}; extents must be below 2^30")));
    }
    if height.min(width) + 2 * padding < kernel {
        let expected = format!("an input of at least {kernel}x{kernel} with {padding} zeros on each side");
        return Err(Error::shape(op, expected, x.shape()));
    }
    Ok(Convolution { batch, height, width, inputs, outputs, kernel, stride, padding })
}
