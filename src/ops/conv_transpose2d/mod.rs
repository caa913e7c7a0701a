//! Transposed two-dimensional convolution. The kernels are those of [`conv2d`](super::conv2d()), whose input gradient
//! this is.

use super::conv2d::{ABSURD, adjoint};
use super::product::check_bias;
use super::{check_alike, check_float};
use crate::autograd::Var;
use crate::backend::convolution::Convolution;
use crate::error::{Error, Result};

/// The adjoint of a convolution: `y[n, stride i + r - padding, stride j + s - padding, o]` is the sum of `x[n, i, j, c]
/// w[c, r, s, o]` over all that meet there, plus `bias[o]`.
///
/// `x` is `[batch, height, width, in]`, `w` `[in, kernel, kernel, out]`, `bias` `[out]` if given; `y` is `[batch,
/// (height - 1) stride - 2 padding + kernel + output_padding, ..., out]`. So `w` is the weight of the convolution from
/// `y`'s channels to `x`'s, and a model file has it as PyTorch's `ConvTranspose2d` does, `[in, out, kernel, kernel]`.
/// `output_padding` is added at the end of both axes: a convolution with a stride forgets as much about the size of its
/// input. With a kernel of 5, stride 2, padding 2 and output padding 1, or of 4, 2, 1 and 0, the size doubles. Sums are
/// in f32 (f64 for f64), and rounded once for bf16.
///
/// Errors if a shape differs from the above, if the result would have no pixels, unless `output_padding` is below
/// `stride`, if `stride` or `padding` is absurd, or unless all have one floating-point dtype and one device.
pub fn conv_transpose2d(
    x: impl Into<Var>,
    w: impl Into<Var>,
    bias: Option<&Var>,
    stride: usize,
    padding: usize,
    output_padding: usize,
) -> Result<Var> {
    let (x, w) = (&x.into(), &w.into());
    const OP: &str = "conv_transpose2d";
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    check_alike(OP, &inputs.iter().map(|input| input.value()).collect::<Vec<_>>())?;
    check_float(OP, x.value())?;
    let shape = shape_of(x, w, bias, stride, padding, output_padding)?;
    adjoint(OP, shape, x, w, bias)
}

/// The geometry of the convolution from the result back to `x`.
fn shape_of(
    x: &Var,
    w: &Var,
    bias: Option<&Var>,
    stride: usize,
    padding: usize,
    output_padding: usize,
) -> Result<Convolution> {
    const OP: &str = "conv_transpose2d";
    let [batch, height, width, inputs] = x.shape().dims(OP, "an input [batch, height, width, in]")?;
    let [weight_inputs, kernel, kernel_width, outputs] = w.shape().dims(OP, "a weight [in, kernel, kernel, out]")?;
    if kernel != kernel_width || kernel == 0 || weight_inputs != inputs {
        let expected = format!("a weight [{inputs}, kernel, kernel, out] for an input {}", x.shape());
        return Err(Error::shape(OP, expected, w.shape()));
    }
    check_bias(OP, bias.map(Var::value), outputs, w.shape())?;
    if stride == 0 || stride >= ABSURD || padding >= ABSURD || kernel >= ABSURD {
        let what = format!(
            "stride {stride}, padding {padding}, kernel {kernel}; each must be below {ABSURD}, and stride not 0"
        );
        return Err(Error::argument(OP, what));
    }
    if output_padding >= stride {
        let what = format!("output_padding must be below the stride {stride}, got {output_padding}");
        return Err(Error::argument(OP, what));
    }
    let extent = |extent: usize| {
        let end = extent.checked_sub(1)?.checked_mul(stride)?.checked_add(kernel + output_padding)?;
        end.checked_sub(2 * padding).filter(|&extent| extent > 0)
    };
    let (Some(out_height), Some(out_width)) = (extent(height), extent(width)) else {
        let result = format!("a kernel of {kernel}, stride {stride} and padding {padding} leave pixels");
        return Err(Error::shape(OP, format!("an input of which {result}"), x.shape()));
    };
    if out_height.max(out_width) >= 1 << 30 {
        let what = format!("a result of {out_height}x{out_width} pixels; extents must be below 2^30");
        return Err(Error::argument(OP, what));
    }
    let shape = Convolution {
        batch,
        height: out_height,
        width: out_width,
        inputs: outputs,
        outputs: inputs,
        kernel,
        stride,
        padding,
    };
    Ok(shape)
}
