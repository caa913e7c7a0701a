//! New sequences, token by token.

use super::{Transformer, shape};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::{Context, Module};
use crate::ops;
use crate::ops::random::Draws;
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Device, Tensor};

/// Keys and values of the tokens so far, `[b, heads, t, head_dim]` each, block by block.
type Past = Vec<Option<(Var, Var)>>;

impl Transformer {
    /// Sequences `first` to `first + count - 1` of a seed, `length` tokens each, `[count, length]` u32: from the start
    /// token on, each next token drawn from the network's own distribution. A sequence is the same whatever others it
    /// is drawn with, up to ties within float rounding. The keys and values of earlier tokens are kept, so the work is
    /// that of one pass.
    ///
    /// Errors on more tokens than the context has.
    pub fn generate(&self, cx: &Context, seed: u64, first: u32, count: usize, length: usize) -> Result<Tensor> {
        if length == 0 || length > self.config.context {
            let what =
                format!("sequences of {length} tokens; from a context of {} there are 1 to that", self.config.context);
            return Err(Error::argument("Transformer::generate", what));
        }
        let device = cx.weights().device();
        let key = RandomKey::new(seed, Purpose::Categorical);
        let mut past: Past = vec![None; self.blocks.len()];
        let mut last = Tensor::from_slice(&vec![self.config.start(); count], [count, 1], &device)?;
        let mut columns = Vec::with_capacity(length);
        for at in 0..length {
            let logits = self.next(cx, &last, at, &mut past)?;
            let draws = Draws::from_sample(key.at_step(at as u32), first);
            let tokens = ops::categorical(&ops::cast(&logits, DType::F32)?, &draws)?;
            last = tokens.reshape([count, 1])?;
            columns.push(tokens.to_vec::<u32>()?);
        }
        let rows: Vec<u32> = (0..count).flat_map(|i| columns.iter().map(move |column| column[i])).collect();
        Tensor::from_slice(&rows, [count, length], &Device::Cpu)
    }

    /// The logits `[b, vocab]` after one more token `[b, 1]`, the `at`-th; its keys and values go to `past`.
    fn next(&self, cx: &Context, token: &Tensor, at: usize, past: &mut Past) -> Result<Var> {
        let [b, _] = token.shape().dims("Transformer", "tokens [b, 1]")?;
        let (heads, width) = (self.config.heads, self.config.width);
        let head_dim = width / heads;
        // One token's channels are its heads side by side: no axes have to change places.
        let by_heads = |x: &Var| x.reshape(shape(&[b, heads, 1, head_dim]));
        let mut x = self.embed(cx, token, at)?;
        for (block, past) in self.blocks.iter().zip(past) {
            let normed = block.before_attention.forward(cx, &x)?;
            let [q, k, v] = self.split(&block.queries_keys_values.forward(cx, &normed)?)?;
            let (q, k, v) = (by_heads(&q)?, by_heads(&k)?, by_heads(&v)?);
            let (keys, values) = match past.take() {
                Some((keys, values)) => (ops::concat(&[&keys, &k], 2)?, ops::concat(&[&values, &v], 2)?),
                None => (k, v),
            };
            let scores = ops::scale(&ops::matmul_transposed(&q, false, &keys, true)?, 1.0 / (head_dim as f64).sqrt())?;
            let mixed = ops::matmul(&ops::softmax(&scores)?, &values)?.reshape(shape(&[b, 1, width]))?;
            *past = Some((keys, values));
            x = self.add_branches(cx, block, &x, &mixed)?;
        }
        self.head.forward(cx, &self.norm.forward(cx, &x)?)?.reshape([b, self.config.vocab])
    }
}
