//! The affine map of a layer: a product with a weight, and a bias. The kernels are those of
//! [`matmul`](super::matmul()).

use super::product::{Factor, Sizes, check_bias, product};
use super::{check_alike, check_float, reduce};
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

    let bias_shape = bias.map(|bias| bias.shape().clone());
    let inputs_of_op: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    Var::record_all(OP, y, &inputs_of_op, move |dy, wanted| {
        let wanted = |i: usize| wanted.get(i).copied().unwrap_or(false);
        let dx = wanted(0).then(|| {
            let sizes = Sizes { batch: 1, m: rows, n: inputs, k: outputs };
            product(OP, &Factor::new(dy, false), &weight.flipped(), None, sizes)?.reshape(left.tensor.shape())
        });
        let dw = wanted(1).then(|| {
            let sizes = Sizes { batch: 1, m: outputs, n: inputs, k: rows };
            product(OP, &Factor::new(dy, true), &left, None, sizes)?.reshape([outputs, inputs])
        });
        let mut gradients = vec![dx.transpose()?, dw.transpose()?];
        if let Some(shape) = &bias_shape {
            gradients.push(wanted(2).then(|| reduce::sum_to_shape(OP, dy, shape)).transpose()?);
        }
        Ok(gradients)
    })
}
