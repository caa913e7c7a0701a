use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops::contrastive::{check_temperature, statistics};
use crate::ops::{self, check_float, check_same_device};
use crate::tensor::Tensor;

/// A number that a loss is given, or a variable of one element that holds it and gets a gradient.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// As it is.
    Number(f64),
    /// A temperature or bias that is learnt, of any floating-point dtype.
    Learnt(Var),
}

impl From<f64> for Scalar {
    fn from(number: f64) -> Self {
        Scalar::Number(number)
    }
}

impl From<Var> for Scalar {
    fn from(var: Var) -> Self {
        Scalar::Learnt(var)
    }
}

impl From<&Var> for Scalar {
    fn from(var: &Var) -> Self {
        Scalar::Learnt(var.clone())
    }
}

impl From<Tensor> for Scalar {
    fn from(tensor: Tensor) -> Self {
        Scalar::Learnt(tensor.into())
    }
}

impl From<&Tensor> for Scalar {
    fn from(tensor: &Tensor) -> Self {
        Scalar::Learnt(tensor.into())
    }
}

impl Scalar {
    /// A variable without axes, of the dtype of `like`'s statistics. Errors of `op`, whose `name` this is, unless it is
    /// one number, finite if it is known, and on `like`'s device.
    pub(super) fn variable(self, op: &'static str, name: &str, like: &Var) -> Result<Var> {
        let dtype = statistics(like.dtype());
        match self {
            Scalar::Number(number) if !number.is_finite() => {
                Err(Error::argument(op, format!("{name} must be finite, got {number}")))
            }
            Scalar::Number(number) => Ok(Tensor::scalar(number, dtype, &like.device())?.into()),
            Scalar::Learnt(var) if var.value().len() != 1 => {
                Err(Error::shape(op, format!("a {name} of one element"), var.shape()))
            }
            Scalar::Learnt(var) => {
                check_float(op, var.value())?;
                check_same_device(op, like.value(), var.value())?;
                ops::cast(var, dtype)?.reshape([])
            }
        }
    }

    /// As [`variable`](Self::variable), of e to this.
    pub(super) fn exponential(self, op: &'static str, name: &str, like: &Var) -> Result<Var> {
        match self {
            Scalar::Number(number) if number.is_finite() && number.exp().is_finite() => {
                Scalar::Number(number.exp()).variable(op, name, like)
            }
            Scalar::Number(number) => {
                Err(Error::argument(op, format!("{name} must be finite, and e to it too, got {number}")))
            }
            learnt => ops::exp(learnt.variable(op, name, like)?),
        }
    }

    /// As [`variable`](Self::variable), of a number that must be above zero, and so must its reciprocal.
    pub(super) fn positive(self, op: &'static str, name: &str, like: &Var) -> Result<Var> {
        if let Scalar::Number(number) = self {
            check_temperature(op, name, number)?;
        }
        self.variable(op, name, like)
    }
}
