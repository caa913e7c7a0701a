//! Solvers of the reverse process, one file each. They take any denoiser, any starting point and any grid of noise levels.

mod heun;

pub use heun::{heun, step as heun_step};

use crate::error::Result;
use crate::tensor::Tensor;

/// Something that denoises: `D(x; sigma)` for samples that share one noise level, in the shape and dtype of `x`.
///
/// Every `FnMut(&Tensor, f64) -> Result<Tensor>` is one.
pub trait Denoise {
    /// The expected clean samples, given noisy ones.
    fn at(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor>;
}

impl<F: FnMut(&Tensor, f64) -> Result<Tensor>> Denoise for F {
    fn at(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        self(x, sigma)
    }
}
