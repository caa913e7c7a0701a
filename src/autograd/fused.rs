//! Fused operations, whose gradients of higher order are those of the operations they are made of.

use super::{Place, Var};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

impl Var {
    /// As [`record`](Self::record), with gradients of higher order: `plain` is the operation again, made of others that
    /// have such gradients.
    ///
    /// An ordinary backward pass runs `rule`, and `plain` never. Where gradients are to be differentiated
    /// ([`Var::gradient`]), the gradient is that of `plain`, which is run on the tape. The inputs' values are kept for
    /// it: record so what keeps them anyway. Neither closure may capture a variable.
    pub fn record_fused<const N: usize>(
        op: &'static str,
        y: Tensor,
        inputs: [&Var; N],
        rule: impl Fn(&Tensor, [bool; N]) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
        plain: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static,
    ) -> Result<Var> {
        let kept = inputs.map(|input| input.value().clone());
        Var::record_higher(op, y, inputs, move |dy, at| {
            if at.is_recorded() {
                let gradients = at.through(dy, &kept, &plain)?;
                return gradients.try_into().map_err(|_| Error::NoGradient { op });
            }
            let gradients = rule(dy.value(), std::array::from_fn(|i| at.wants(i)))?;
            Ok(gradients.map(|gradient| gradient.map(Var::constant)))
        })
    }
}

impl Place<'_> {
    /// Whether gradients are recorded, to be differentiated in turn.
    pub fn is_recorded(&self) -> bool {
        self.tape.is_some()
    }

    /// The gradients of the inputs, whose values are `kept`, through `block`, which is run on the tape.
    pub(super) fn through(
        &self,
        dy: &Var,
        kept: &[Tensor],
        block: &impl Fn(&[Var]) -> Result<Var>,
    ) -> Result<Vec<Option<Var>>> {
        // A variable of its own for each input: one may depend on another, and what flows by way of it is not the
        // block's.
        let alias = |(i, value): (usize, &Tensor)| {
            let input = self.input(i, value);
            if self.wants(i) { input.reshape(value.shape()) } else { Ok(input) }
        };
        let inputs = kept.iter().enumerate().map(alias).collect::<Result<Vec<_>>>()?;
        let y = block(&inputs)?;
        let of: Vec<&Var> = inputs.iter().enumerate().filter(|(i, _)| self.wants(*i)).map(|(_, input)| input).collect();
        let found = if y.requires_grad() { y.gradient_with(dy, &of)? } else { vec![None; of.len()] };
        let mut found = found.into_iter();
        let zeros = |like: &Tensor| Tensor::zeros(like.shape(), like.dtype(), &like.device()).map(Var::constant);
        let gradient =
            |(i, like): (usize, &Tensor)| self.wanted(i, || found.next().flatten().map_or_else(|| zeros(like), Ok));
        kept.iter().enumerate().map(gradient).collect()
    }
}
