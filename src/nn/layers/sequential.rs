//! Layers one after the other.

use std::fmt::{self, Debug, Formatter};

use super::Module;
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::context::Context;

/// Layers one after the other, each given what the one before it made. Operations without parameters go between them as
/// functions.
///
/// ```
/// use veridical::nn::{Context, Layout, Linear, Module, Sequential, Weights};
/// use veridical::{Device, Tensor, Var, ops};
/// # fn main() -> veridical::Result<()> {
/// let mut layout = Layout::new();
/// let mut scope = layout.scope("net");
/// let network = Sequential::new()
///     .then(Linear::new(&mut scope.at("hidden"), 2, 16, 1.0))
///     .then(|_: &Context, x: &Var| ops::silu(x))
///     .then(Linear::new(&mut scope.at("output"), 16, 1, 1.0));
/// let weights = Weights::init(&layout.into(), 7, &Device::Cpu)?;
/// let x = Tensor::from_slice(&[0.5f32, -0.5], [1, 2], &Device::Cpu)?;
/// assert_eq!(network.forward(&Context::inference(&weights), &x.into())?.shape()[..], [1, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Sequential(Vec<Box<dyn Module + Send + Sync>>);

impl Sequential {
    /// Nothing yet: the input as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// With another layer at the end.
    #[must_use]
    pub fn then(mut self, layer: impl Module + Send + Sync + 'static) -> Self {
        self.0.push(Box::new(layer));
        self
    }
}

impl Module for Sequential {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.0.iter().try_fold(x.clone(), |x, layer| layer.forward(cx, &x))
    }
}

impl Debug for Sequential {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "Sequential of {} layers", self.0.len())
    }
}
