//! Functions of one number, element by element: activations and elementary functions.
//!
//! A function is a row of the table below (its meaning, its value and its slope on the CPU) and a row of that in
//! `kernels/elementwise.cu`; everything else is the same for all of them. What `bend` says, the slope's derivative in
//! terms of operations, is for gradients of gradients, on every device.

mod cpu;
mod function;
mod gpu;

use function::{Function, functions};

use super::{check_float, mul, neg, on, scale, shift};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::Accumulator;

fn apply<F: Function>(f: F, x: &Var) -> Result<Var> {
    check_float(F::NAME, x.value())?;
    let y = on!(x.device(), forward(f, x.value()))?;
    let saved = if F::SLOPE_OF_RESULT { y.clone() } else { x.value().clone() };
    Var::record_higher(F::NAME, y, [x], move |dy, at| {
        let of = if F::SLOPE_OF_RESULT { at.result(&saved) } else { at.input(0, &saved) };
        Ok([Some(sloped(f, dy, &of)?)])
    })
}

/// `dy` times the slope at `of`: the gradient of a function's argument.
fn sloped<F: Function>(f: F, dy: &Var, of: &Var) -> Result<Var> {
    let dx = on!(dy.device(), backward(f, dy.value(), of.value()))?;
    let saved = of.value().clone();
    if F::FLAT_SLOPE {
        return Var::record_higher(F::NAME, dx, [dy], move |g, _| Ok([Some(sloped(f, g, &saved.clone().into())?)]));
    }
    let cotangent = dy.value().clone();
    Var::record_higher(F::NAME, dx, [dy, of], move |g, at| {
        let (dy, of) = (at.input(0, &cotangent), at.input(1, &saved));
        Ok([at.wanted(0, || sloped(f, g, &of))?, at.wanted(1, || f.bend(&mul(g, &dy)?, &of))?])
    })
}

#[inline(always)]
fn logistic<A: Accumulator>(x: A) -> A {
    A::one() / (A::one() + (-x).vector_exp())
}

functions! {
    /// `x sigmoid(x)` (Elfwing et al. 2017, arXiv 1702.03118).
    silu: Silu {
        value(x) { x * logistic(x) }
        slope(x) {
            let s = logistic(x);
            s * (A::one() + x * (A::one() - s))
        }
        // (x s)'' = s' (2 + x (1 - 2 s))
        bend(self, w, x) {
            let turn = mul(x, shift(scale(sigmoid(x)?, -2.0)?, 1.0)?)?;
            sloped(Sigmoid, &mul(w, shift(turn, 2.0)?)?, x)
        }
    }
    /// `1 / (1 + e^-x)`.
    sigmoid: Sigmoid {
        value(x) { logistic(x) }
        slope(x) {
            // One exponential, which nothing cancels.
            let e = (-x.abs()).vector_exp();
            e / ((A::one() + e) * (A::one() + e))
        }
        bend(self, w, x) { sloped(self, &mul(w, shift(scale(sigmoid(x)?, -2.0)?, 1.0)?)?, x) }
    }
    /// Hyperbolic tangent.
    tanh: Tanh {
        value(x) { x.vector_tanh() }
        slope(x) {
            let e = (A::of(-2.0) * x.abs()).vector_exp();
            A::of(4.0) * e / ((A::one() + e) * (A::one() + e))
        }
        bend(self, w, x) { sloped(self, &mul(w, scale(tanh(x)?, -2.0)?)?, x) }
    }
    /// `max(x, 0)`; the gradient at 0 is 0.
    relu: Relu {
        // So that -inf becomes 0, while NaN stays NaN.
        value(x) { if x > A::zero() { x } else if x < A::zero() { A::zero() } else { x * A::zero() } }
        slope(x) { if x > A::zero() { A::one() } else { A::zero() } }
        bend: zero
    }
    /// `x (1 + erf(x / sqrt 2)) / 2`, exact (Hendrycks & Gimpel 2016, arXiv 1606.08415).
    gelu: Gelu {
        value(x) { x * x.normal_cdf() }
        slope(x) {
            let density = (-x * x / A::of(2.0)).vector_exp() / (A::PI() + A::PI()).sqrt();
            x.normal_cdf() + x * density
        }
        // The density times 2 - x^2.
        bend(self, w, x) {
            let squared = square(x)?;
            let density = scale(exp(scale(&squared, -0.5)?)?, (2.0 * std::f64::consts::PI).sqrt().recip())?;
            mul(w, mul(density, shift(neg(squared)?, 2.0)?)?)
        }
    }
    /// `log(1 + e^x)`, exact for large |x|.
    softplus: Softplus {
        value(x) { x.vector_softplus() }
        slope(x) { logistic(x) }
        bend(self, w, x) { sloped(Sigmoid, w, x) }
    }
    /// `e^x`, which is its own derivative.
    exp: Exp {
        value(x) { x.vector_exp() }
        slope(y) of result { y }
        bend(self, w, _y) { Ok(w.clone()) }
    }
    /// The natural logarithm: -inf at 0, NaN below.
    log: Log {
        value(x) { x.ln() }
        slope(x) { x.recip() }
        bend(self, w, x) { neg(sloped(self, &sloped(self, w, x)?, x)?) }
    }
    /// The square root: NaN below 0; the gradient at 0 is infinite.
    sqrt: Sqrt {
        value(x) { x.sqrt() }
        slope(x) { A::of(0.5) / x.sqrt() }
        // -1/(2 x) times the slope.
        bend(self, w, x) { scale(sloped(Log, &sloped(self, w, x)?, x)?, -0.5) }
    }
    /// `x^2`.
    square: Square {
        value(x) { x * x }
        slope(x) { x + x }
        bend(self, w, _x) { scale(w, 2.0) }
    }
    /// `|x|`; the gradient at 0 is 0, and that of NaN is NaN.
    abs: Abs {
        value(x) { x.abs() }
        slope(x) { if x > A::zero() { A::one() } else if x < A::zero() { -A::one() } else { x.abs() } }
        bend: zero
    }
    /// The sine.
    sin: Sin {
        value(x) { x.sin() }
        slope(x) { x.cos() }
        bend(self, w, x) { neg(mul(w, sin(x)?)?) }
    }
    /// The cosine.
    cos: Cos {
        value(x) { x.cos() }
        slope(x) { -x.sin() }
        bend(self, w, x) { neg(mul(w, cos(x)?)?) }
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
    const FLAT_SLOPE: bool = true;

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
    const FLAT_SLOPE: bool = true;

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
