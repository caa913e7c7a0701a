//! The affine map of a layer: a product with a weight, and a bias. The kernels are those of
//! [`matmul`](super::matmul()).

use super::product::{Factor, Sizes, check_bias, product};
use super::{check_alike, check_float, matmul, matmul_transposed, sum_to};
use crate::autograd::Var;
use crate::error::{Error, Result};

/// `y = x w^T + bias` for `x` `[.., in]`, `w` `[out, in]` and, if given, `bias` `[out]`; `y` is `[.., out]`.
///
/// Sums are in f32 (f64 for f64), and rounded once for bf16. Errors if a shape differs from the above, or unless all
/// have one floating-point dtype and one device.
pub fn linear(x: impl Into<Var>, w: impl Into<Var>, bias: Option<&Var>) -> Result<Var> {
    let (x, w) = (&x.into(), &w.into());
    const OP: &str = "linear";
    let tensors: Vec<_> = [x, w].into_iter().chain(bias).map(Var::value).collect();
    check_alike(OP, &tensors)?;
    check_float(OP, x.value())?;
    let [outputs, inputs] = w.shape().dims(OP, "a weight [out, in]")?;
    let lead = match x.shape() as &[usize] {
        [lead @ .., last] if *last == inputs => lead,
        _ => return Err(Error::shape(OP, format!("an input [.., {inputs}] for a weight {}", w.shape()), x.shape())),
    };
    check_bias(OP, bias.map(Var::value), outputs, w.shape())?;
    let rows = lead.iter().product();
    let sizes = Sizes { batch: 1, m: rows, n: outputs, k: inputs };
    let (left, weight) = (Factor::new(x.value(), false), Factor::new(w.value(), true));
    let y = product(OP, &left, &weight, bias.map(Var::value), sizes)?.reshape([lead, &[outputs]].concat())?;

    let (input, weight) = (left.tensor, weight.tensor);
    let bias_shape = bias.map(|bias| bias.shape().clone());
    let inputs_of_op: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    Var::record_all_higher(OP, y, &inputs_of_op, move |dy, at| {
        let (x, w) = (at.input(0, &input), at.input(1, &weight));
        let rows_of_dy = dy.reshape([rows, outputs])?;
        let dx = at.wanted(0, || matmul(&rows_of_dy, w)?.reshape(x.shape()))?;
        let dw = at.wanted(1, || matmul_transposed(&rows_of_dy, true, x.reshape([rows, inputs])?, false))?;
        let mut gradients = vec![dx, dw];
        if let Some(shape) = &bias_shape {
            gradients.push(at.wanted(2, || sum_to(dy, shape))?);
        }
        Ok(gradients)
    })
}
