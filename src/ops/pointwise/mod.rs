//! Elementary functions, element by element.

mod cpu;
mod gpu;

use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Function {
    Exp,
    Log,
    Sqrt,
    Square,
    Abs,
    Clamp { min: f64, max: f64 },
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Function::Exp => "exp",
            Function::Log => "log",
            Function::Sqrt => "sqrt",
            Function::Square => "square",
            Function::Abs => "abs",
            Function::Clamp { .. } => "clamp",
        }
    }

    fn apply(self, x: &Var) -> Result<Var> {
        check_float(self.name(), x.value())?;
        let y = on!(x.device(), forward(self, x.value()))?;
        // The exponential is its own derivative.
        let saved = if self == Function::Exp { y.clone() } else { x.value().clone() };
        Var::record(self.name(), y, [x], move |dy, _| Ok([Some(on!(dy.device(), backward(self, dy, &saved))?)]))
    }
}

/// `e^x` for `x` of any shape and floating-point dtype. Errors on integers.
pub fn exp(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Function::Exp.apply(x)
}

/// The natural logarithm: -inf at 0, NaN below. For `x` of any shape and floating-point dtype. Errors on integers.
pub fn log(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Function::Log.apply(x)
}

/// The square root: NaN below 0; the gradient at 0 is infinite. For `x` of any shape and floating-point dtype. Errors on
/// integers.
pub fn sqrt(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Function::Sqrt.apply(x)
}

/// `x^2` for `x` of any shape and floating-point dtype. Errors on integers.
pub fn square(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Function::Square.apply(x)
}

/// `|x|`; the gradient at 0 is 0. For `x` of any shape and floating-point dtype. Errors on integers.
pub fn abs(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    Function::Abs.apply(x)
}

/// `min(max(x, min), max)`; NaN stays NaN. The gradient passes where `min <= x <= max` (in f32; f64 for f64) and is 0
/// elsewhere; either bound may be infinite. For `x` of any shape and floating-point dtype.
///
/// Errors unless `min <= max`, and on integers.
pub fn clamp(x: impl Into<Var>, min: f64, max: f64) -> Result<Var> {
    let x = &x.into();
    if !matches!(min.partial_cmp(&max), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)) {
        return Err(Error::argument("clamp", format!("min must not be above max, got {min} and {max}")));
    }
    Function::Clamp { min, max }.apply(x)
}
