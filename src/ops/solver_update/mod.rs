//! A solver's update of its sample, with noise that is made on the way.

mod cpu;
mod gpu;

use super::{check_alike, check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops::random::{Draws, Rows};
use crate::tensor::{DType, Tensor};

/// A factor for all samples, or one for each.
#[derive(Debug, Clone)]
pub enum Coefficient {
    /// For all.
    Shared(f64),
    /// `[n]`: f32, or f64 where the samples are f64.
    PerSample(Tensor),
}

impl From<f64> for Coefficient {
    fn from(value: f64) -> Self {
        Coefficient::Shared(value)
    }
}

impl From<Tensor> for Coefficient {
    fn from(values: Tensor) -> Self {
        Coefficient::PerSample(values)
    }
}

impl Coefficient {
    fn is_zero(&self) -> bool {
        matches!(self, Coefficient::Shared(value) if *value == 0.0)
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let Coefficient::PerSample(values) = self else { return Ok(()) };
        let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        if values.dtype() != dtype {
            return Err(Error::dtype(OP, format!("{dtype} coefficients"), values.dtype()));
        }
        let n = Rows::of(x.shape()).count;
        if values.shape()[..] != [n] {
            return Err(Error::shape(OP, format!("coefficients [{n}]"), values.shape()));
        }
        if !values.device().same(&x.device()) {
            let what = format!("coefficients on {}, samples on {}", values.device(), x.device());
            return Err(Error::Device { op: OP, what });
        }
        Ok(())
    }
}

const OP: &str = "solver update";

/// `y = x + a d + b z` in one pass, for `x`, `d` and `y` `[n, ...]` of any floating-point dtype.
///
/// `slope` is `(a, d)`; `noise` is `(b, draws)`, where `z` are the standard normal numbers of the draws, made in the
/// kernel and never stored. Either may be absent, and noise with a shared `b` of zero is not made. Rounded as `fma(b,
/// z, fma(a, d, x))` on every device. The gradient is `dy` for `x` and `a dy` for `d`; the coefficients are constants.
///
/// Errors if shapes, dtypes or devices of `x` and `d` differ, or if coefficients or sample ids do not fit.
pub fn solver_update(
    x: impl Into<Var>,
    slope: Option<(Coefficient, &Var)>,
    noise: Option<(Coefficient, &Draws)>,
) -> Result<Var> {
    let x = &x.into();
    let y = run(
        Some(x.value()),
        slope.as_ref().map(|(a, d)| (a, d.value())),
        noise.as_ref().map(|(b, draws)| (b, *draws)),
        x.value(),
    )?;
    match slope {
        None => Var::record(OP, y, [x], |dy, _| Ok([Some(dy.clone())])),
        Some((a, d)) => Var::record(OP, y, [x, d], move |dy, wanted| {
            let dd = match wanted[1] {
                true => Some(run(None, Some((&a, dy)), None, dy)?),
                false => None,
            };
            Ok([Some(dy.clone()), dd])
        }),
    }
}

/// As [`solver_update`] with an `x` that may be absent (zero); `like` has its shape.
fn run(
    x: Option<&Tensor>,
    slope: Option<(&Coefficient, &Tensor)>,
    noise: Option<(&Coefficient, &Draws)>,
    like: &Tensor,
) -> Result<Tensor> {
    check_float(OP, like)?;
    let noise = noise.filter(|(b, _)| !b.is_zero());
    if let Some((a, d)) = slope {
        check_alike(OP, &[like, d])?;
        if d.shape() != like.shape() {
            return Err(Error::shape(OP, format!("a slope {}", like.shape()), d.shape()));
        }
        a.check(like)?;
    }
    if let Some((b, draws)) = noise {
        b.check(like)?;
        draws.check(OP, like.shape(), &like.device())?;
    }
    let mut y = like.empty_like()?;
    if !y.is_empty() {
        on!(like.device(), update(x, slope, noise, &mut y))?;
    }
    Ok(y)
}
