//! The three products that a convolution and its gradients are.

use crate::backend::convolution::Convolution;
use crate::ops::product::Sizes;

/// Which of the three products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
}

impl Pass {
    pub fn sizes(self, s: &Convolution) -> Sizes {
        let (m, n, k) = match self {
            Pass::Forward => (s.out_pixels(), s.outputs, s.taps() * s.inputs),
            Pass::InputGradient => (s.in_pixels(), s.inputs, s.taps() * s.outputs),
            Pass::WeightGradient => (s.outputs, s.taps() * s.inputs, s.out_pixels()),
        };
        Sizes { batch: 1, m, n, k }
    }
}
