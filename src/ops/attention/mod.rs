//! Scaled dot-product attention with several heads.

mod cpu;
mod gpu;

use super::{add, cast, check_alike, check_float, matmul, matmul_transposed, on, permute, scale, softmax};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Device, Tensor};

/// `y = softmax(q k^T / sqrt(d / heads)) v`, per head, with the softmax over keys.
///
/// `q`, `k`, `v` and the result are `[b, t, d]`; head `i` owns channels `i d / heads .. (i + 1) d / heads`, and the
/// heads' results stand side by side again. With `causal`, query `i` sees keys `0..=i` only. Scores and softmax are in
/// f32 (f64 for f64) and never stored whole: for the gradient one number per query and head is kept, the logarithm of
/// its sum of exponentials, and the probabilities are computed again. For bf16 on a GPU, where tensor cores multiply,
/// probabilities and the gradients of scores are rounded to bf16 before their products.
///
/// Errors if `heads` does not divide `d`, if shapes, dtypes or devices differ, on integers, and on a GPU if a head has
/// more than 256 channels.
///
/// Vaswani et al. 2017 (arXiv 1706.03762); computed as in Dao et al. 2022 (arXiv 2205.14135).
pub fn attention(q: impl Into<Var>, k: impl Into<Var>, v: impl Into<Var>, heads: usize, causal: bool) -> Result<Var> {
    let (q, k, v) = (&q.into(), &k.into(), &v.into());
    let inputs = [q, k, v];
    let [q, k, v] = inputs.map(|input| input.value().clone());
    check_float(OP, &q)?;
    check_alike(OP, &[&q, &k, &v])?;
    let [images, tokens, channels] = q.shape().dims(OP, "q, k and v [b, t, d]")?;
    if let Some(other) = [&k, &v].into_iter().find(|other| other.shape() != q.shape()) {
        return Err(Error::shape(OP, format!("q, k and v all {}", q.shape()), other.shape()));
    }
    if heads == 0 || !channels.is_multiple_of(heads) {
        return Err(Error::argument(OP, format!("heads must divide the {channels} channels, got {heads}")));
    }
    if q.is_empty() {
        return Var::record_higher(OP, q, inputs, |dy, _| Ok([Some(dy.clone()), Some(dy.clone()), Some(dy.clone())]));
    }
    let setting = Setting { images, tokens, channels, heads, causal };
    let dtype = if q.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let mut lse = Tensor::empty([images, heads, tokens], dtype, &q.device())?;
    let mut y = q.empty_like()?;
    on!(q.device(), forward(setting, [&q, &k, &v], &mut y, &mut lse))?;
    let kept = y.clone();
    let rule = move |dy: &Tensor, _| {
        let mut gradients = [q.empty_like()?, k.empty_like()?, v.empty_like()?];
        on!(dy.device(), backward(setting, dy, [&q, &k, &v], &kept, &lse, &mut gradients))?;
        Ok(gradients.map(Some))
    };
    Var::record_fused(OP, y, inputs, rule, move |inputs| plain(setting, inputs))
}

/// The same, made of other operations, which store the scores.
fn plain(setting: Setting, inputs: &[Var]) -> Result<Var> {
    let [q, k, v] = inputs else { return Err(Error::argument(OP, "three inputs")) };
    let Setting { images, tokens, channels, heads, causal } = setting;
    let wide = if q.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let by_head = |x: &Var| {
        let split = cast(x, wide)?.reshape([images, tokens, heads, setting.head_dim()])?;
        permute(split, &[0, 2, 1, 3])
    };
    let mut scores = scale(matmul_transposed(by_head(q)?, false, by_head(k)?, true)?, setting.scale())?;
    if causal {
        let hidden = |at: usize| if at % tokens > at / tokens { f32::NEG_INFINITY } else { 0.0 };
        let mask = Tensor::from_vec((0..tokens * tokens).map(hidden).collect(), [tokens, tokens], &Device::Cpu)?;
        scores = add(scores, cast(mask, wide)?.into_value().to_device(&q.device())?)?;
    }
    let y = permute(matmul(softmax(scores)?, by_head(v)?)?, &[0, 2, 1, 3])?;
    cast(y.reshape([images, tokens, channels])?, q.dtype())
}

const OP: &str = "attention";

/// The sizes.
#[derive(Debug, Clone, Copy)]
struct Setting {
    images: usize,
    tokens: usize,
    channels: usize,
    heads: usize,
    causal: bool,
}

impl Setting {
    /// Channels of a head.
    fn head_dim(&self) -> usize {
        self.channels / self.heads
    }

    /// What scores are multiplied with.
    fn scale(&self) -> f64 {
        1.0 / (self.head_dim() as f64).sqrt()
    }
}
