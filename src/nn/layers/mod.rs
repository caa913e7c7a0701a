//! The layers that networks are made of.

mod batch_norm;
mod conv2d;
mod conv_transpose2d;
mod group_norm;
mod layer_norm;
mod linear;
mod noise;
mod projection;
mod reparametrised;
mod sequential;
mod spectral_norm;
mod weight_norm;

pub use batch_norm::{BatchNorm, ConditionalBatchNorm};
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::{Conv2d, ConvOptions};
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use noise::{Dropout, GaussianNoise};
pub use projection::Projection;
pub use sequential::Sequential;
pub use spectral_norm::{SpectralNorm, SpectrallyNormalised, spectral_norm};
pub use weight_norm::{WeightNorm, weight_norm};

use super::context::Context;
use super::layout::Init;
use crate::autograd::Var;
use crate::error::Result;

/// A layer or network with one input: a pure function of it and of the weights in the context.
pub trait Module {
    /// The result for `x`; each implementation states its shapes.
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var>;
}

/// A function is a layer without parameters.
impl<F: Fn(&Context, &Var) -> Result<Var>> Module for F {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self(cx, x)
    }
}

/// How the weights and the bias of a layer start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LayerInit {
    /// Xavier-uniform weights times this, bias zero: DDPM++ and NCSN++.
    Xavier(f32),
    /// Weights and bias uniform within `1 / sqrt(fan_in)`, PyTorch's own: ADM.
    Kaiming,
    /// Weights normal with this standard deviation, bias zero.
    Normal(f32),
    /// Weights and bias zero.
    Zero,
}

impl From<f32> for LayerInit {
    /// Xavier with this gain.
    fn from(gain: f32) -> Self {
        LayerInit::Xavier(gain)
    }
}

impl LayerInit {
    pub(super) fn weight(self, fan_in: usize, fan_out: usize) -> Init {
        match self {
            LayerInit::Xavier(gain) => Init::Xavier { fan_in, fan_out, gain },
            LayerInit::Kaiming => Init::Uniform(1.0 / (fan_in.max(1) as f32).sqrt()),
            LayerInit::Normal(deviation) => Init::Normal(deviation),
            LayerInit::Zero => Init::Constant(0.0),
        }
    }

    pub(super) fn bias(self, fan_in: usize) -> Init {
        match self {
            LayerInit::Kaiming => self.weight(fan_in, 0),
            _ => Init::Constant(0.0),
        }
    }
}
