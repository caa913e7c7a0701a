//! Layers that are random in training and do nothing otherwise.

use super::Module;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::Scope;
use crate::ops;
use crate::random::Purpose;

/// Drops each element with probability `p` in training, and scales the others up (Srivastava et al. 2014).
#[derive(Debug, Clone)]
pub struct Dropout {
    p: f64,
    site: u32,
}

impl Dropout {
    /// Errors unless `p` is in `[0, 1)`.
    pub fn new(scope: &mut Scope, p: f64) -> Result<Self> {
        match (0.0..1.0).contains(&p) {
            true => Ok(Dropout { p, site: scope.own_site() }),
            false => Err(Error::argument("Dropout", format!("p must be in [0, 1), got {p}"))),
        }
    }
}

impl Module for Dropout {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        cx.dropout(x, self.p, self.site)
    }
}

/// Adds normal noise of standard deviation `sigma` in training, as the classifiers and discriminators of
/// semi-supervised games do (Salimans et al. 2016, arXiv 1606.03498). The noise of a sample is a function of the
/// context's address.
#[derive(Debug, Clone)]
pub struct GaussianNoise {
    sigma: f64,
    site: u32,
}

impl GaussianNoise {
    /// Errors unless `sigma` is finite and not negative.
    pub fn new(scope: &mut Scope, sigma: f64) -> Result<Self> {
        match sigma >= 0.0 && sigma.is_finite() {
            true => Ok(GaussianNoise { sigma, site: scope.own_site() }),
            false => {
                Err(Error::argument("GaussianNoise", format!("sigma must be finite and not negative, got {sigma}")))
            }
        }
    }
}

impl Module for GaussianNoise {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        if !cx.is_training() || self.sigma == 0.0 {
            return Ok(x.clone());
        }
        let draws = cx.address()?.draws_at(Purpose::LayerNoise, self.site);
        let noise = ops::normal(x.shape(), x.dtype(), &draws, &x.device())?;
        ops::add_scaled(x, 1.0, noise, self.sigma)
    }
}
