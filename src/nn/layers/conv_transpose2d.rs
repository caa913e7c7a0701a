//! Transposed two-dimensional convolution.

use super::{ConvOptions, LayerInit, Module};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::{Layout, ParamId, Scope};
use crate::ops;

/// A transposed convolution with bias, `[n, h, w, inputs]` to `[n, h', w', outputs]` with `h' = (h - 1) stride - 2
/// padding + kernel + output_padding`, computed in the dtype of `x`: see [`ops::conv_transpose2d()`]. In model files it
/// is PyTorch's `ConvTranspose2d`.
#[derive(Debug, Clone)]
pub struct ConvTranspose2d {
    weight: ParamId,
    bias: ParamId,
    stride: usize,
    padding: usize,
    output_padding: usize,
}

impl ConvTranspose2d {
    /// `options` are those of the convolution that this is the adjoint of; `output_padding` rows and columns are added
    /// at the end. A number for `init` is the gain of Xavier-uniform weights. Errors on a kernel or a stride of 0, and
    /// unless `output_padding` is below the stride.
    pub fn new(
        scope: &mut Scope,
        [inputs, outputs]: [usize; 2],
        options: ConvOptions,
        output_padding: usize,
        init: impl Into<LayerInit>,
    ) -> Result<Self> {
        let ConvOptions { kernel, stride, padding } = options;
        if kernel == 0 || stride == 0 || output_padding >= stride {
            let what = format!("positive kernel and stride, and output_padding below the stride: got {options:?}");
            return Err(Error::argument("ConvTranspose2d", format!("{what} and {output_padding}")));
        }
        let (taps, init) = (kernel * kernel, init.into());
        let weight = init.weight(taps * inputs, taps * outputs);
        // PyTorch counts the taps of an output channel here, for the weight's second axis has the outputs.
        let (weight, bias) = match init {
            LayerInit::Kaiming => (init.weight(taps * outputs, 0), init.bias(taps * outputs)),
            _ => (weight, init.bias(taps * inputs)),
        };
        Ok(ConvTranspose2d {
            weight: scope.parameter("weight", [inputs, kernel, kernel, outputs], weight),
            bias: scope.parameter("bias", [outputs], bias),
            stride,
            padding,
            output_padding,
        })
    }

    /// The layer that doubles the size of an image: kernel 5, stride 2, padding 2 and output padding 1.
    pub fn doubling(scope: &mut Scope, channels: [usize; 2], init: impl Into<LayerInit>) -> Result<Self> {
        Self::new(scope, channels, ConvOptions { kernel: 5, stride: 2, padding: 2 }, 1, init)
    }

    /// Multiply-adds for each pixel of `x`, those beyond the result's border included. Errors if the layer is another
    /// layout's.
    pub fn multiply_adds(&self, layout: &Layout) -> Result<u64> {
        Ok(layout.entry(self.weight)?.shape.elements() as u64)
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        let (weight, bias) = (cx.weight_in(self.weight, x.dtype())?, cx.weight_in(self.bias, x.dtype())?);
        ops::conv_transpose2d(x, &weight, Some(&bias), self.stride, self.padding, self.output_padding)
    }
}
