//! Two-dimensional convolution.

use super::{LayerInit, Module};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::{Layout, ParamId, Scope};
use crate::ops;

/// The shape of a convolution beside its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvOptions {
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Pixels between neighbouring patches.
    pub stride: usize,
    /// Zeros beyond each border of the image.
    pub padding: usize,
}

impl ConvOptions {
    /// A kernel of this height and width that visits every pixel: an odd one keeps the size of the image.
    pub fn same(kernel: usize) -> Self {
        ConvOptions { kernel, stride: 1, padding: kernel / 2 }
    }
}

/// A convolution with bias, `[n, h, w, inputs]` to `[n, h', w', outputs]` with `h' = (h + 2 padding - kernel) / stride
/// + 1`, computed in the dtype of `x`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: ParamId,
    bias: ParamId,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// A number for `init` is the gain of Xavier-uniform weights. Errors on a kernel or a stride of 0.
    pub fn new(
        scope: &mut Scope,
        [inputs, outputs]: [usize; 2],
        options: ConvOptions,
        init: impl Into<LayerInit>,
    ) -> Result<Self> {
        let ConvOptions { kernel, stride, padding } = options;
        if kernel == 0 || stride == 0 {
            return Err(Error::argument("Conv2d", format!("kernel and stride must be positive, got {options:?}")));
        }
        Ok(Self::register(scope, [inputs, outputs], kernel, stride, padding, init.into()))
    }

    /// A 3x3 convolution that keeps the size of the image.
    pub fn three(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        Self::register(scope, [inputs, outputs], 3, 1, 1, init.into())
    }

    fn register(
        scope: &mut Scope,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
        init: LayerInit,
    ) -> Self {
        let (taps, shape) = (kernel * kernel, [outputs, kernel, kernel, inputs]);
        let weight = scope.parameter("weight", shape, init.weight(taps * inputs, taps * outputs));
        let bias = scope.parameter("bias", [outputs], init.bias(taps * inputs));
        Conv2d { weight, bias, stride, padding }
    }

    /// As [`forward`](Module::forward), with another number of zeros beyond each border.
    pub fn forward_padded(&self, cx: &Context, x: &Var, padding: usize) -> Result<Var> {
        let (weight, bias) = (cx.weight_in(self.weight, x.dtype())?, cx.weight_in(self.bias, x.dtype())?);
        ops::conv2d(x, &weight, Some(&bias), self.stride, padding)
    }

    /// Multiply-adds for each pixel of the result, those with the border's zeros included. Errors if the layer is
    /// another layout's.
    pub fn multiply_adds(&self, layout: &Layout) -> Result<u64> {
        Ok(layout.entry(self.weight)?.shape.elements() as u64)
    }
}

impl Module for Conv2d {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.forward_padded(cx, x, self.padding)
    }
}
