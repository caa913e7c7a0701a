use crate::backend::convolution::Convolution;
use crate::backend::cpu::gemm;
use crate::error::Result;
use crate::stop;
use crate::tensor::{Tensor, real};

pub fn forward(
    op: &'static str,
    shape: &Convolution,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    y: &mut Tensor,
) -> Result<()> {
    real!(op, x.dtype(), T => {
        let bias = bias.map(|bias| bias.as_slice::<T>().map(gemm::widened)).transpose()?;
        gemm::convolve(shape, x.as_slice::<T>()?, (w.as_slice()?, w.part()), bias.as_deref(), y.as_mut_slice()?)?;
        stop::check()
    })
}

pub fn input_gradient(
    op: &'static str,
    shape: &Convolution,
    dy: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    dx: &mut Tensor,
) -> Result<()> {
    real!(op, dy.dtype(), T => {
        let bias = bias.map(|bias| bias.as_slice::<T>().map(gemm::widened)).transpose()?;
        gemm::input_gradient(shape, dy.as_slice::<T>()?, w.as_slice()?, bias.as_deref(), dx.as_mut_slice()?)?;
        stop::check()
    })
}

pub fn weight_gradient(op: &'static str, shape: &Convolution, dy: &Tensor, x: &Tensor, dw: &mut Tensor) -> Result<()> {
    real!(op, dy.dtype(), T => {
        gemm::weight_gradient(shape, x.as_slice::<T>()?, dy.as_slice()?, dw.as_mut_slice()?)?;
        stop::check()
    })
}
