//! Two-dimensional convolution.

mod cpu;
mod gpu;
#[cfg(all(test, any(feature = "cuda", feature = "emulator")))]
mod tests;

use super::product::check_bias;
use super::{check_alike, check_float, on, reduce};
use crate::autograd::Var;
use crate::backend::convolution::Convolution;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

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
    const OP: &str = "conv2d";
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    check_alike(OP, &inputs.iter().map(|input| input.value()).collect::<Vec<_>>())?;
    check_float(OP, x.value())?;
    let shape = shape_of(OP, x, w, bias, stride, padding)?;
    let y = convolution(OP, &shape, x.value(), w.value(), bias.map(Var::value))?;

    let (x, w) = (x.value().clone(), w.value().clone());
    let bias_shape = bias.map(|bias| bias.shape().clone());
    Var::record_all(OP, y, &inputs, move |dy, wanted| {
        let wanted = |i: usize| wanted.get(i).copied().unwrap_or(false);
        let dx = wanted(0).then(|| conv2d_input_gradient(OP, &shape, dy, &w, None));
        let dw = wanted(1).then(|| conv2d_weight_gradient(OP, &shape, &x, dy));
        let mut gradients = vec![dx.transpose()?, dw.transpose()?];
        if let Some(shape) = &bias_shape {
            gradients.push(wanted(2).then(|| reduce::sum_to_shape(OP, dy, shape)).transpose()?);
        }
        Ok(gradients)
    })
}

/// The convolution without a tape. Here and in its two gradients the caller has checked that the tensors have the
/// shapes of the geometry, one floating-point dtype and one device.
pub(crate) fn convolution(
    op: &'static str,
    shape: &Convolution,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let device = x.device();
    let mut y = Tensor::empty([shape.batch, shape.out_height(), shape.out_width(), shape.outputs], x.dtype(), &device)?;
    if !y.is_empty() {
        on!(device, forward(op, shape, x, w, bias, &mut y))?;
    }
    Ok(y)
}

/// The gradient of a convolution's input `[batch, height, width, in]`, from that of its result and the weight; plus
/// `bias` `[in]` if given. It is linear in both: the gradients of a product with it are [`convolution`] (for `dy`) and
/// [`conv2d_weight_gradient`] (for `w`) of that other factor.
pub(crate) fn conv2d_input_gradient(
    op: &'static str,
    shape: &Convolution,
    dy: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let device = dy.device();
    let mut dx = Tensor::empty([shape.batch, shape.height, shape.width, shape.inputs], dy.dtype(), &device)?;
    if !dx.is_empty() {
        on!(device, input_gradient(op, shape, dy, w, bias, &mut dx))?;
    }
    Ok(dx)
}

/// The gradient of a convolution's weight `[out, kernel, kernel, in]`, from the input and the gradient of the result.
/// It is linear in both: the gradients of a product with it are [`conv2d_input_gradient`] (for `x`) and [`convolution`]
/// (for `dy`), with that other factor as the weight.
pub(crate) fn conv2d_weight_gradient(op: &'static str, shape: &Convolution, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let device = dy.device();
    let mut dw = Tensor::empty([shape.outputs, shape.kernel, shape.kernel, shape.inputs], dy.dtype(), &device)?;
    if !dw.is_empty() {
        on!(device, weight_gradient(op, shape, dy, x, &mut dw))?;
    }
    Ok(dw)
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
