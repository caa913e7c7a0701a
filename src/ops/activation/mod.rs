//! Activation functions, element by element.

mod cpu;
mod gpu;

use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};

/// Which function; also how a network's configuration names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x sigmoid(x)` (Elfwing et al. 2017, arXiv 1702.03118).
    Silu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`; the gradient at 0 is 0.
    Relu,
    /// `x` where positive, else `slope * x`; the gradient at 0 is `slope`.
    LeakyRelu(f64),
    /// `x (1 + erf(x / sqrt 2)) / 2`, exact (Hendrycks & Gimpel 2016, arXiv 1606.08415).
    Gelu,
    /// `log(1 + e^x)`, exact for large |x|.
    Softplus,
}

impl Activation {
    /// The function's name.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Silu => "silu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Gelu => "gelu",
            Activation::Softplus => "softplus",
        }
    }

    /// Applies the function to every element of `x`, of any shape; see the functions of this module.
    pub fn apply(self, x: &Var) -> Result<Var> {
        check_float(self.name(), x.value())?;
        if let Activation::LeakyRelu(slope) = self
            && !slope.is_finite()
        {
            return Err(Error::argument("leaky_relu", format!("slope must be finite, got {slope}")));
        }
        let y = on!(x.device(), forward(self, x.value()))?;
        let saved = x.value().clone();
        Var::record(self.name(), y, [x], move |dy, _| Ok([Some(on!(dy.device(), backward(self, dy, &saved))?)]))
    }
}

/// `x sigmoid(x)` for `x` of any shape and floating-point dtype. Errors on integers.
pub fn silu(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Activation::Silu.apply(x)
}

/// `1 / (1 + e^-x)` for `x` of any shape and floating-point dtype. Errors on integers.
pub fn sigmoid(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Activation::Sigmoid.apply(x)
}

/// Hyperbolic tangent for `x` of any shape and floating-point dtype. Errors on integers.
pub fn tanh(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Activation::Tanh.apply(x)
}

/// `max(x, 0)` for `x` of any shape and floating-point dtype. Errors on integers.
pub fn relu(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Activation::Relu.apply(x)
}

/// `x` where positive, else `slope * x`. Errors on integers and if `slope` is not finite.
pub fn leaky_relu(x: impl Into<Var>, slope: f64) -> Result<Var> {
    let x = &x.into();
    Activation::LeakyRelu(slope).apply(x)
}

/// `x (1 + erf(x / sqrt 2)) / 2` for `x` of any shape and floating-point dtype. Errors on integers.
pub fn gelu(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Activation::Gelu.apply(x)
}

/// `log(1 + e^x)` for `x` of any shape and floating-point dtype, exact for large |x|. Errors on integers.
pub fn softplus(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Activation::Softplus.apply(x)
}
