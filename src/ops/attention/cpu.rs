use num_traits::Zero;
use rayon::prelude::*;

use super::{OP, Setting};
use crate::backend::cpu::gemm::{Factor, Matrix, Product, Scratch, Stored, Sum};
use crate::backend::cpu::{Kernel, OnTeam, RowSum, sum_of_pairs, tasks_per_share, with_vector_instructions};
use crate::error::Result;
use crate::tensor::{Accumulator, Element, Real, Tensor, real};

/// Scores that exist at a time: what fits the second-level cache twice.
const SCORES: usize = 1 << 16;

pub fn forward(setting: Setting, inputs: [&Tensor; 3], y: &mut Tensor, lse: &mut Tensor) -> Result<()> {
    real!(OP, y.dtype(), T => forward_as::<T>(setting, inputs, y, lse))
}

pub fn backward(
    setting: Setting,
    dy: &Tensor,
    inputs: [&Tensor; 3],
    y: &Tensor,
    lse: &Tensor,
    gradients: &mut [Tensor; 3],
) -> Result<()> {
    real!(OP, y.dtype(), T => backward_as::<T>(setting, dy, inputs, y, lse, gradients))
}

/// A run of queries of one head, and the keys that they see.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    queries: usize,
    keys: usize,
    causal: bool,
}

impl Setting {
    fn image(&self) -> usize {
        self.tokens * self.channels
    }

    /// What an image costs, in elements that are only read and written: an exponential for each score, and two
    /// products.
    fn work(&self) -> usize {
        let scores = self.tokens.saturating_mul(self.tokens);
        scores.saturating_mul(self.heads + self.channels / 8)
    }

    /// Queries of a block, at most.
    fn at_once(&self) -> usize {
        (SCORES / self.tokens).clamp(32, 256).min(self.tokens)
    }

    fn blocks(&self) -> impl Iterator<Item = Block> + use<> {
        let (Setting { tokens, causal, .. }, size) = (*self, self.at_once());
        (0..tokens).step_by(size).map(move |first| {
            let queries = size.min(tokens - first);
            Block { first, queries, keys: if causal { first + queries } else { tokens }, causal }
        })
    }

    /// Tokens `first..first + count` of a head, from the part of an image where the head's channels begin.
    fn rows<'a, T>(&self, head: &'a [T], first: usize, count: usize) -> Matrix<'a, T> {
        Matrix::strided(&head[first * self.channels..], count, self.head_dim(), self.channels)
    }
}

impl Block {
    /// Keys that query `i` of the block sees.
    #[inline(always)]
    fn seen(&self, i: usize) -> usize {
        if self.causal { self.first + i + 1 } else { self.keys }
    }
}

fn forward_as<T>(setting: Setting, [q, k, v]: [&Tensor; 3], y: &mut Tensor, lse: &mut Tensor) -> Result<()>
where
    T: Real + Stored<Sum = <T as Real>::Acc>,
    T::Acc: Real<Acc = T::Acc> + Sum + Element,
{
    let (image, head_dim) = (setting.image(), setting.head_dim());
    let q = q.as_slice::<T>()?.par_chunks(image);
    let k = k.as_slice::<T>()?.par_chunks(image);
    let v = v.as_slice::<T>()?.par_chunks(image);
    let y = y.as_mut_slice::<T>()?.par_chunks_mut(image);
    let lse = lse.as_mut_slice::<T::Acc>()?.par_chunks_mut(setting.heads * setting.tokens);
    let images = (q, k, v, y, lse).into_par_iter().with_min_len(tasks_per_share(setting.work()));
    images.try_each_on_team(|(q, k, v, y, lse)| {
        let mut scores = Scratch::of::<T::Acc>(setting.at_once() * setting.tokens)?;
        for (head, lse) in lse.chunks_mut(setting.tokens).enumerate() {
            let channel = head * head_dim;
            for block in setting.blocks() {
                let scores = &mut scores.as_mut()[..block.queries * block.keys];
                make_scores(&setting, block, [&q[channel..], &k[channel..]], scores)?;
                let lse = &mut lse[block.first..][..block.queries];
                with_vector_instructions(Softmax { block, scores, lse });
                let probabilities = Matrix::new(scores, block.queries, block.keys);
                let values = setting.rows(&v[channel..], 0, block.keys);
                Product::new(Factor::plain(&probabilities), Factor::plain(&values))
                    .write(&mut y[block.first * setting.channels + channel..], setting.channels)?;
            }
        }
        Ok(())
    })
}

/// `scale q k^T` for the queries of a block and the keys that at least one of them sees.
fn make_scores<T>(setting: &Setting, block: Block, [q, k]: [&[T]; 2], scores: &mut [T::Acc]) -> Result<()>
where
    T: Real + Stored<Sum = <T as Real>::Acc>,
    T::Acc: Sum,
{
    let (queries, keys) = (setting.rows(q, block.first, block.queries), setting.rows(k, 0, block.keys));
    Product::new(Factor::plain(&queries), Factor::transposed(&keys))
        .scaled(T::Acc::of(setting.scale()))
        .write(scores, block.keys)
}

/// Scores become probabilities, 0 where a query does not see a key.
struct Softmax<'a, A> {
    block: Block,
    scores: &'a mut [A],
    lse: &'a mut [A],
}

impl<A: Real<Acc = A> + Accumulator> Kernel for Softmax<'_, A> {
    #[inline(always)]
    fn run(self) {
        for (i, (row, lse)) in self.scores.chunks_mut(self.block.keys).zip(self.lse).enumerate() {
            let (seen, unseen) = row.split_at_mut(self.block.seen(i));
            let total = RowSum::of(seen);
            let (shift, scale) = (total.shift, total.scale());
            for score in seen {
                *score = (*score - shift).vector_exp() * scale;
            }
            unseen.fill(A::zero());
            *lse = shift + total.log_sum();
        }
    }
}

/// Room for a head's gradient.
struct Room<'a, A> {
    /// Of a block's scores, as the slopes.
    probabilities: &'a mut [A],
    slopes: &'a mut [A],
    /// Sums of the gradients of all keys, as those of the values.
    dk: &'a mut [A],
    dv: &'a mut [A],
}

impl<'a, A> Room<'a, A> {
    /// Elements that it takes.
    fn size(setting: &Setting) -> usize {
        2 * setting.tokens * (setting.at_once() + setting.head_dim())
    }

    fn of(setting: &Setting, memory: &'a mut [A]) -> Self {
        let (scores, sums) = memory.split_at_mut(2 * setting.at_once() * setting.tokens);
        let (probabilities, slopes) = scores.split_at_mut(setting.at_once() * setting.tokens);
        let (dk, rest) = sums.split_at_mut(setting.tokens * setting.head_dim());
        Room { probabilities, slopes, dk, dv: &mut rest[..setting.tokens * setting.head_dim()] }
    }
}

fn backward_as<T>(
    setting: Setting,
    dy: &Tensor,
    [q, k, v]: [&Tensor; 3],
    y: &Tensor,
    lse: &Tensor,
    [dq, dk, dv]: &mut [Tensor; 3],
) -> Result<()>
where
    T: Real + Stored<Sum = <T as Real>::Acc>,
    T::Acc: Real<Acc = T::Acc> + Sum + Element,
{
    let (image, head_dim) = (setting.image(), setting.head_dim());
    let images = |tensor| Tensor::as_slice::<T>(tensor).map(|data| data.par_chunks(image));
    let inputs = (images(q)?, images(k)?, images(v)?, images(y)?, images(dy)?);
    let dq = dq.as_mut_slice::<T>()?.par_chunks_mut(image);
    let dk = dk.as_mut_slice::<T>()?.par_chunks_mut(image);
    let dv = dv.as_mut_slice::<T>()?.par_chunks_mut(image);
    let lse = lse.as_slice::<T::Acc>()?.par_chunks(setting.heads * setting.tokens);
    let images = (inputs, dq, dk, dv, lse).into_par_iter().with_min_len(tasks_per_share(2 * setting.work()));
    images.try_each_on_team(|((q, k, v, y, dy), dq, dk, dv, lse)| {
        let mut memory = Scratch::of::<T::Acc>(Room::<T::Acc>::size(&setting))?;
        let mut room = Room::of(&setting, memory.as_mut());
        for (head, lse) in lse.chunks(setting.tokens).enumerate() {
            let channel = head * head_dim;
            let inputs = [q, k, v, y, dy].map(|image| &image[channel..]);
            backward_head::<T>(&setting, inputs, lse, &mut room, &mut dq[channel..])?;
            for (sums, out) in [(&room.dk, &mut *dk), (&room.dv, &mut *dv)] {
                for (sums, out) in sums.chunks(head_dim).zip(out[channel..].chunks_mut(setting.channels)) {
                    for (out, &sum) in out.iter_mut().zip(sums) {
                        *out = T::narrow(sum);
                    }
                }
            }
        }
        Ok(())
    })
}

/// Writes the head's `dq`, and leaves its `dk` and `dv` in `room`.
fn backward_head<T>(
    setting: &Setting,
    [q, k, v, y, dy]: [&[T]; 5],
    lse: &[T::Acc],
    room: &mut Room<T::Acc>,
    dq: &mut [T],
) -> Result<()>
where
    T: Real + Stored<Sum = <T as Real>::Acc>,
    T::Acc: Real<Acc = T::Acc> + Sum,
{
    let (head_dim, channels) = (setting.head_dim(), setting.channels);
    let scale = T::Acc::of(setting.scale());
    room.dk.fill(T::Acc::zero());
    room.dv.fill(T::Acc::zero());
    for block in setting.blocks() {
        let Block { first, queries, keys, .. } = block;
        let probabilities = &mut room.probabilities[..queries * keys];
        let slopes = &mut room.slopes[..queries * keys];
        make_scores(setting, block, [q, k], probabilities)?;
        let arriving = setting.rows(dy, first, queries);
        let (all_keys, values) = (setting.rows(k, 0, keys), setting.rows(v, 0, keys));
        Product::new(Factor::plain(&arriving), Factor::transposed(&values)).write(slopes, keys)?;
        with_vector_instructions(Slopes {
            block,
            head_dim,
            channels,
            y: &y[first * channels..],
            dy: &dy[first * channels..],
            lse: &lse[first..][..queries],
            probabilities,
            slopes,
        });
        let probabilities = Matrix::new(probabilities, queries, keys);
        let slopes = Matrix::new(slopes, queries, keys);
        Product::new(Factor::plain(&slopes), Factor::plain(&all_keys))
            .scaled(scale)
            .write(&mut dq[first * channels..], channels)?;
        Product::new(Factor::transposed(&slopes), Factor::plain(&setting.rows(q, first, queries)))
            .scaled(scale)
            .accumulating(true)
            .write(room.dk, head_dim)?;
        Product::new(Factor::transposed(&probabilities), Factor::plain(&arriving))
            .accumulating(true)
            .write(room.dv, head_dim)?;
    }
    Ok(())
}

/// Scores become probabilities again, and gradients of probabilities become gradients of scores.
struct Slopes<'a, T: Real> {
    block: Block,
    head_dim: usize,
    channels: usize,
    y: &'a [T],
    dy: &'a [T],
    lse: &'a [T::Acc],
    probabilities: &'a mut [T::Acc],
    slopes: &'a mut [T::Acc],
}

impl<T: Real> Kernel for Slopes<'_, T> {
    #[inline(always)]
    fn run(self) {
        let rows = self.probabilities.chunks_mut(self.block.keys).zip(self.slopes.chunks_mut(self.block.keys));
        let outputs = self.y.chunks(self.channels).zip(self.dy.chunks(self.channels));
        for (i, (((probabilities, slopes), (y, dy)), &lse)) in rows.zip(outputs).zip(self.lse).enumerate() {
            let delta = sum_of_pairs(&y[..self.head_dim], &dy[..self.head_dim], |y, dy| y * dy);
            let seen = self.block.seen(i);
            for (probability, slope) in probabilities[..seen].iter_mut().zip(&mut slopes[..seen]) {
                *probability = (*probability - lse).vector_exp();
                *slope = *probability * (*slope - delta);
            }
            probabilities[seen..].fill(T::Acc::zero());
            slopes[seen..].fill(T::Acc::zero());
        }
    }
}
