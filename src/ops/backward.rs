//! Backward passes over a tape, whose gradients an operation adds up.

use super::{accumulate, add};
use crate::autograd::{Backward, Gradients, Var};
use crate::error::{Error, Result};

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

    /// The gradients of this scalar with respect to variables it depends on, leaves or not, as variables: they can be
    /// computed with and differentiated in turn. PyTorch's `autograd.grad` with `create_graph=True`.
    ///
    /// Nothing is freed, so that a [`backward`](Self::backward) of what is made of the gradients can follow:
    ///
    /// ```
    /// use veridical::{Device, Tape, Tensor};
    /// # fn main() -> veridical::Result<()> {
    /// let x = Tape::new().leaf(Tensor::from_vec(vec![1f32, 2.], [2], &Device::Cpu)?);
    /// let slope = x.square()?.square()?.sum_all()?.gradient(&[&x])?.remove(0);
    /// assert_eq!(slope.value().to_vec::<f32>()?, [4.0, 32.0]); // 4 x^3
    /// let bend = slope.square()?.sum_all()?.backward()?.of(&x)?;
    /// assert_eq!(bend.to_vec::<f32>()?, [96.0, 3072.0]); // 2 (4 x^3) (12 x^2)
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Errors if this is no scalar, if it, or a variable in `of`, is a constant, if one has no part in this or is of
    /// another tape, if an earlier pass freed a part of the graph, and with
    /// [`NoHigherGradient`](crate::Error::NoHigherGradient) if an operation in between has no rule in variables: nearly
    /// all do; CONTRIBUTING.md says how one gets it.
    pub fn gradient(&self, of: &[&Var]) -> Result<Vec<Var>> {
        let found = self.pass_on_tape(None, of, |a, b| add(a, b))?;
        let missing =
            || Error::Autograd("a gradient was asked for of a variable that has no part in the result".into());
        found.into_iter().map(|gradient| gradient.ok_or_else(missing)).collect()
    }

    /// As [`gradient`](Self::gradient) for a result of any shape, whose gradient is `cotangent` (a constant, or a
    /// variable, which the gradients then depend on too); `None` for a variable that has no part in it.
    pub fn gradient_with(&self, cotangent: &Var, of: &[&Var]) -> Result<Vec<Option<Var>>> {
        self.pass_on_tape(Some(cotangent), of, |a, b| add(a, b))
    }
}

impl Gradients {
    /// Adds the gradients of another pass over the same tape. Errors if the tapes differ.
    pub fn accumulate(&mut self, other: Gradients) -> Result<()> {
        self.add(other, accumulate)
    }
}
