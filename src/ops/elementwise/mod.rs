//! Functions of one number, element by element: activations and elementary functions.
//!
//! A function is a row of the table below (its meaning, its value and its slope on the CPU) and a row of that in
//! `kernels/elementwise.cu`; everything else is the same for all of them.

mod cpu;
mod function;
mod gpu;

use function::{Function, functions};

use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::Accumulator;

fn apply<F: Function>(f: F, x: &Var) -> Result<Var> {
    check_float(F::NAME, x.value())?;
    let y = on!(x.device(), forward(f, x.value()))?;
    let saved = if F::SLOPE_OF_RESULT { y.clone() } else { x.value().clone() };
    Var::record(F::NAME, y, [x], move |dy, _| Ok([Some(on!(dy.device(), backward(f, dy, &saved))?)]))
}

#[inline(always)]
fn logistic<A: Accumulator>(x: A) -> A {
    A::one() / (A::one() + (-x).vector_exp())
}

fn normal_cdf<A: Accumulator>(x: A) -> A {
    // erfc keeps the lower tail's digits, which 1 + erf would cancel.
    (-x * A::FRAC_1_SQRT_2()).erfc() / A::of(2.0)
}

functions! {
    /// `x sigmoid(x)` (Elfwing et al. 2017, arXiv 1702.03118).
    silu: Silu {
        value(x) { x * logistic(x) }
        slope(x) {
            let s = logistic(x);
            s * (A::one() + x * (A::one() - s))
        }
    }
    /// `1 / (1 + e^-x)`.
    sigmoid: Sigmoid {
        value(x) { logistic(x) }
        slope(x) { logistic(x) * logistic(-x) }
    }
    /// Hyperbolic tangent.
    tanh: Tanh {
        value(x) { x.tanh() }
        slope(x) {
            let y = x.tanh();
            A::one() - y * y
        }
    }
    /// `max(x, 0)`; the gradient at 0 is 0.
    relu: Relu {
        // So that -inf becomes 0, while NaN stays NaN.
        value(x) { if x > A::zero() { x } else if x < A::zero() { A::zero() } else { x * A::zero() } }
        slope(x) { if x > A::zero() { A::one() } else { A::zero() } }
    }
    /// `x (1 + erf(x / sqrt 2)) / 2`, exact (Hendrycks & Gimpel 2016, arXiv 1606.08415).
    gelu: Gelu {
        value(x) { x * normal_cdf(x) }
        slope(x) {
            let density = (-x * x / A::of(2.0)).exp() / (A::PI() + A::PI()).sqrt();
            normal_cdf(x) + x * density
        }
    }
    /// `log(1 + e^x)`, exact for large |x|.
    softplus: Softplus {
        value(x) { x.max(A::zero()) + (-x.abs()).exp().ln_1p() }
        slope(x) { logistic(x) }
    }
    /// `e^x`, which is its own derivative.
    exp: Exp {
        value(x) { x.vector_exp() }
        slope(y) of result { y }
    }
    /// The natural logarithm: -inf at 0, NaN below.
    log: Log {
        value(x) { x.ln() }
        slope(x) { x.recip() }
    }
    /// The square root: NaN below 0; the gradient at 0 is infinite.
    sqrt: Sqrt {
        value(x) { x.sqrt() }
        slope(x) { A::of(0.5) / x.sqrt() }
    }
    /// `x^2`.
    square: Square {
        value(x) { x * x }
        slope(x) { x + x }
    }
    /// `|x|`; the gradient at 0 is 0, and that of NaN is NaN.
    abs: Abs {
        value(x) { x.abs() }
        slope(x) { if x > A::zero() { A::one() } else if x < A::zero() { -A::one() } else { x.abs() } }
    }
    /// The sine.
    sin: Sin {
        value(x) { x.sin() }
        slope(x) { x.cos() }
    }
    /// The cosine.
    cos: Cos {
        value(x) { x.cos() }
        slope(x) { -x.sin() }
    }
}

/// `x` where positive, else `slope x`; the gradient at 0 is `slope`.
#[derive(Clone, Copy)]
struct LeakyRelu {
    slope: f64,
}

impl Function for LeakyRelu {
    const NAME: &'static str = "leaky_relu";
    const KERNELS: function::Kernels = function::kernels!("leaky_relu");

    #[inline(always)]
    fn value<A: Accumulator>(self, x: A) -> A {
        let slope = A::of(self.slope);
        let scaled = if x > A::zero() { x } else { x * slope };
        // As for ReLU.
        if x < A::zero() && slope == A::zero() { A::zero() } else { scaled }
    }

    #[inline(always)]
    fn slope<A: Accumulator>(self, x: A) -> A {
        if x > A::zero() { A::one() } else { A::of(self.slope) }
    }

    fn numbers(self) -> [f64; 2] {
        [self.slope, 0.0]
    }
}

/// `min(max(x, min), max)`.
#[derive(Clone, Copy)]
struct Clamp {
    min: f64,
    max: f64,
}

impl Function for Clamp {
    const NAME: &'static str = "clamp";
    const KERNELS: function::Kernels = function::kernels!("clamp");

    #[inline(always)]
    fn value<A: Accumulator>(self, x: A) -> A {
        let (min, max) = (A::of(self.min), A::of(self.max));
        // Comparisons that are false for NaN, which therefore stays.
        if x < min {
            min
        } else if x > max {
            max
        } else {
            x
        }
    }

    #[inline(always)]
    fn slope<A: Accumulator>(self, x: A) -> A {
        if x < A::of(self.min) || x > A::of(self.max) { A::zero() } else { A::one() }
    }

    fn numbers(self) -> [f64; 2] {
        [self.min, self.max]
    }
}

/// `x` where positive, else `slope * x`; the gradient at 0 is `slope`. Errors on integers and if `slope` is not finite.
pub fn leaky_relu(x: impl Into<Var>, slope: f64) -> Result<Var> {
    if !slope.is_finite() {
        return Err(Error::argument("leaky_relu", format!("slope must be finite, got {slope}")));
    }
    apply(LeakyRelu { slope }, &x.into())
}

/// `min(max(x, min), max)`; NaN stays NaN. The gradient passes where `min <= x <= max` (in f32; f64 for f64) and is 0
/// elsewhere; either bound may be infinite. For `x` of any shape and floating-point dtype.
///
/// Errors unless `min <= max`, and on integers.
pub fn clamp(x: impl Into<Var>, min: f64, max: f64) -> Result<Var> {
    if !matches!(min.partial_cmp(&max), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)) {
        return Err(Error::argument("clamp", format!("min must not be above max, got {min} and {max}")));
    }
    apply(Clamp { min, max }, &x.into())
}
