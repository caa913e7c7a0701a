//! Backward passes over a tape, whose gradients an operation adds up.

use super::accumulate;
use crate::autograd::{Backward, Gradients, Var};
use crate::error::Result;

impl Var {
    /// The gradients of this scalar with respect to every leaf it depends on. What the tape kept for it is freed.
    ///
    /// Errors if the variable has more than one element, does not require a gradient, if an earlier pass already
    /// freed a part of its graph, and once the calling thread is to [stop](crate::stop).
    pub fn backward(&self) -> Result<Gradients> {
        self.backward_with(Backward::default())
    }

    /// As [`backward`](Self::backward), with a cotangent, for chosen variables only, or keeping the tape.
    pub fn backward_with(&self, options: Backward<'_>) -> Result<Gradients> {
        self.pass(options, accumulate)
    }
}

impl Gradients {
    /// Adds the gradients of another pass over the same tape. Errors if the tapes differ.
    pub fn accumulate(&mut self, other: Gradients) -> Result<()> {
        self.add(other, accumulate)
    }
}
