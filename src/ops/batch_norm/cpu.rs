use num_traits::Zero;
use rayon::prelude::*;

use super::{BatchStatistics, Gradients, Setting};
use crate::backend::cpu::{GRAIN, Kernel, OnTeam, tasks_per_share, with_vector_instructions};
use crate::error::Result;
use crate::tensor::{Accumulator, Device, Element, Real, Tensor, real};

/// Few channels are handled as if several rows were one with so many: inner loops should fill vector registers.
const LANES: usize = 128;

impl Setting {
    /// Elements of a stretch: the channels of one row, or of several if there are few.
    fn stretch(&self) -> usize {
        self.channels * (LANES / self.channels).max(1)
    }

    /// Elements of a block of stretches: what a thread sums, or writes, in one go. It stays in the processor's cache,
    /// and its sums are short.
    fn block(&self) -> usize {
        (GRAIN / self.stretch()).clamp(16, 256) * self.stretch()
    }

    /// One value per channel, for each element of a stretch.
    fn spread<A: Copy>(&self, per_channel: impl Iterator<Item = A>) -> Vec<A> {
        let channels: Vec<A> = per_channel.collect();
        channels.iter().copied().cycle().take(self.stretch()).collect()
    }

    /// The sums of the elements of a stretch that belong to the same channel.
    fn folded<A: Accumulator>(&self, sums: &[A]) -> Vec<f64> {
        let mut channels = vec![0.0; self.channels];
        for sums in sums.chunks_exact(self.channels) {
            channels.iter_mut().zip(sums).for_each(|(channel, sum)| *channel += sum.widen());
        }
        channels
    }

    /// gamma or beta, in the accumulator's type.
    fn affine<A: Accumulator>(&self, values: &Tensor) -> Result<Vec<A>> {
        Ok(values.to_f64()?.into_iter().map(A::of).collect())
    }
}

pub fn statistics(setting: &Setting, x: &Tensor) -> Result<Tensor> {
    real!(setting.op, x.dtype(), T => statistics_as::<T>(setting, x))
}

pub fn given(setting: &Setting, by: &BatchStatistics) -> Result<Tensor> {
    real!(setting.op, by.mean.dtype(), T => stored::<T>(setting, &by.mean.to_f64()?, &by.variance.to_f64()?))
}

pub fn apply(setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor, stats: &Tensor) -> Result<Tensor> {
    real!(setting.op, x.dtype(), T => apply_as::<T>(setting, x, gamma, beta, stats))
}

pub fn backward(
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
    of_batch: bool,
) -> Result<Gradients> {
    real!(setting.op, x.dtype(), T => backward_as::<T>(setting, dy, x, gamma, beta, stats, of_batch))
}

/// A block's share of the statistics, in f64.
struct Share {
    rows: f64,
    mean: Vec<f64>,
    /// Squared distances from the mean.
    squares: Vec<f64>,
}

fn statistics_as<T: Real>(setting: &Setting, x: &Tensor) -> Result<Tensor>
where
    T::Acc: Element + Real,
{
    let (block, channels) = (setting.block(), setting.channels);
    let blocks = x.as_slice::<T>()?.par_chunks(block).with_min_len(tasks_per_share(block));
    let shares: Vec<Share> = blocks.map_on_team(|x| share(setting, x));
    let count = setting.rows as f64;
    // Counted from the first block's mean, as its rows are from the first of them.
    let mut mean = shares.first().map_or_else(Vec::new, |share| share.mean.clone());
    let (origin, mut variance) = (mean.clone(), vec![0.0; channels]);
    for share in &shares {
        for ((mean, origin), of_share) in mean.iter_mut().zip(&origin).zip(&share.mean) {
            *mean += share.rows / count * (of_share - origin);
        }
    }
    for share in &shares {
        for ((variance, mean), (of_share, squares)) in
            variance.iter_mut().zip(&mean).zip(share.mean.iter().zip(&share.squares))
        {
            *variance += (squares + share.rows * (of_share - mean).powi(2)) / count;
        }
    }
    stored::<T::Acc>(setting, &mean, &variance)
}

/// The statistics of a block, twice over what is in the cache by then. Differences from its first row are exact where a
/// sum of numbers far from zero would round the mean.
fn share<T: Real>(setting: &Setting, x: &[T]) -> Share {
    let rows = (x.len() / setting.channels) as f64;
    let pivot = setting.spread(x[..setting.channels].iter().map(|x| x.acc()));
    let mut sums = vec![T::Acc::zero(); setting.stretch()];
    with_vector_instructions(Add::<T, false> { x, pivot: &pivot, mean: &pivot, sums: &mut sums });
    let offsets: Vec<T::Acc> = setting.folded(&sums).into_iter().map(|sum| T::Acc::of(sum / rows)).collect();
    let mean = pivot.iter().zip(&offsets).map(|(pivot, offset)| pivot.widen() + offset.widen()).collect();
    sums.fill(T::Acc::zero());
    let offsets = setting.spread(offsets.into_iter());
    with_vector_instructions(Add::<T, true> { x, pivot: &pivot, mean: &offsets, sums: &mut sums });
    Share { rows, mean, squares: setting.folded(&sums) }
}

/// Adds `x - pivot`, or `(x - pivot - mean)^2`, to the sums.
struct Add<'a, T: Real, const SQUARED: bool> {
    x: &'a [T],
    pivot: &'a [T::Acc],
    mean: &'a [T::Acc],
    sums: &'a mut [T::Acc],
}

impl<T: Real, const SQUARED: bool> Kernel for Add<'_, T, SQUARED> {
    #[inline(always)]
    fn run(self) {
        for x in self.x.chunks(self.sums.len()) {
            for (((sum, &x), &pivot), &mean) in self.sums.iter_mut().zip(x).zip(self.pivot).zip(self.mean) {
                let off = if SQUARED { x.acc() - pivot - mean } else { x.acc() - pivot };
                *sum += if SQUARED { off * off } else { off };
            }
        }
    }
}

/// The rows of `stats`, as `mod.rs` describes them.
fn stored<A: Real>(setting: &Setting, mean: &[f64], variance: &[f64]) -> Result<Tensor> {
    let rounded = |value: f64| A::narrow(A::Acc::of(value));
    let mut stats = Tensor::empty([4, setting.channels], A::DTYPE, &Device::Cpu)?;
    let rows = stats.as_mut_slice::<A>()?;
    for (c, (&mean, &variance)) in mean.iter().zip(variance).enumerate() {
        let near = rounded(mean);
        let values = [near, rounded(mean - near.acc().widen()), rounded(1.0 / (variance + setting.eps).sqrt())];
        for (row, value) in values.into_iter().chain([rounded(variance)]).enumerate() {
            rows[row * setting.channels + c] = value;
        }
    }
    Ok(stats)
}

/// What normalises each element of a stretch.
struct Scale<A> {
    mean: Vec<A>,
    /// What `mean` lacks.
    rest: Vec<A>,
    rstd: Vec<A>,
}

impl<A: Accumulator + Element> Scale<A> {
    fn of(setting: &Setting, stats: &Tensor) -> Result<Self> {
        let stats = stats.as_slice::<A>()?;
        let row = |i: usize| setting.spread(stats[i * setting.channels..][..setting.channels].iter().copied());
        Ok(Scale { mean: row(0), rest: row(1), rstd: row(2) })
    }
}

fn apply_as<T: Real>(setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor, stats: &Tensor) -> Result<Tensor>
where
    T::Acc: Element,
{
    let mut y = x.empty_like()?;
    let mut scale = Scale::<T::Acc>::of(setting, stats)?;
    let gamma = setting.spread(setting.affine::<T::Acc>(gamma)?.into_iter());
    scale.rstd.iter_mut().zip(gamma).for_each(|(rstd, gamma)| *rstd *= gamma);
    let beta = setting.spread(setting.affine::<T::Acc>(beta)?.into_iter());
    let block = setting.block();
    let blocks = y.as_mut_slice::<T>()?.par_chunks_mut(block).zip(x.as_slice::<T>()?.par_chunks(block));
    blocks.with_min_len(tasks_per_share(block)).each_on_team(|(y, x)| {
        with_vector_instructions(Apply { x, scale: &scale, beta: &beta, y });
    });
    Ok(y)
}

/// `y = (x - mean) scale + beta`
struct Apply<'a, T: Real> {
    x: &'a [T],
    scale: &'a Scale<T::Acc>,
    beta: &'a [T::Acc],
    y: &'a mut [T],
}

impl<T: Real> Kernel for Apply<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Scale { mean, rest, rstd } = self.scale;
        let stretch = mean.len();
        for (y, x) in self.y.chunks_mut(stretch).zip(self.x.chunks(stretch)) {
            let n = x.len();
            let (y, mean, rest, rstd, beta) = (&mut y[..n], &mean[..n], &rest[..n], &rstd[..n], &self.beta[..n]);
            for i in 0..n {
                y[i] = T::narrow((x[i].acc() - mean[i] - rest[i]) * rstd[i] + beta[i]);
            }
        }
    }
}

fn backward_as<T: Real>(
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
    of_batch: bool,
) -> Result<Gradients>
where
    T::Acc: Element,
{
    let scale = Scale::<T::Acc>::of(setting, stats)?;
    let block = setting.block();
    let (x_all, dy_all) = (x.as_slice::<T>()?, dy.as_slice::<T>()?);
    let blocks = x_all.par_chunks(block).zip(dy_all.par_chunks(block)).with_min_len(tasks_per_share(block));
    let shares: Vec<[Vec<f64>; 2]> = blocks.map_on_team(|(x, dy)| {
        let zeros = || vec![T::Acc::zero(); setting.stretch()];
        let (mut sums, mut products) = (zeros(), zeros());
        with_vector_instructions(AddGradients { x, dy, scale: &scale, sums: &mut sums, products: &mut products });
        [setting.folded(&sums), setting.folded(&products)]
    });
    let mut totals = [vec![0.0; setting.channels], vec![0.0; setting.channels]];
    for share in &shares {
        for (total, share) in totals.iter_mut().zip(share) {
            total.iter_mut().zip(share).for_each(|(total, share)| *total += share);
        }
    }
    // What of a gradient the statistics take up: nothing if they were given.
    let taken = if of_batch { 1.0 / setting.rows as f64 } else { 0.0 };
    let [mean_dy, mean_product] =
        totals.each_ref().map(|total| setting.spread(total.iter().map(|total| T::Acc::of(total * taken))));
    let mut factor = setting.spread(setting.affine::<T::Acc>(gamma)?.into_iter());
    factor.iter_mut().zip(&scale.rstd).for_each(|(factor, &rstd)| *factor *= rstd);

    let mut dx = x.empty_like()?;
    let blocks =
        dx.as_mut_slice::<T>()?.par_chunks_mut(block).zip(x_all.par_chunks(block)).zip(dy_all.par_chunks(block));
    blocks.with_min_len(tasks_per_share(block)).each_on_team(|((dx, x), dy)| {
        let (mean_dy, mean_product) = (&mean_dy, &mean_product);
        with_vector_instructions(InputGradient { x, dy, scale: &scale, factor: &factor, mean_dy, mean_product, dx });
    });
    let [of_beta, of_gamma] = &totals;
    Ok(Gradients { x: dx, gamma: narrowed(setting.op, of_gamma, gamma)?, beta: narrowed(setting.op, of_beta, beta)? })
}

/// Adds dy and dy xhat to their sums.
struct AddGradients<'a, T: Real> {
    x: &'a [T],
    dy: &'a [T],
    scale: &'a Scale<T::Acc>,
    sums: &'a mut [T::Acc],
    products: &'a mut [T::Acc],
}

impl<T: Real> Kernel for AddGradients<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Scale { mean, rest, rstd } = self.scale;
        let stretch = mean.len();
        for (x, dy) in self.x.chunks(stretch).zip(self.dy.chunks(stretch)) {
            let n = x.len();
            let (dy, mean, rest, rstd) = (&dy[..n], &mean[..n], &rest[..n], &rstd[..n]);
            let (sums, products) = (&mut self.sums[..n], &mut self.products[..n]);
            for i in 0..n {
                let dy = dy[i].acc();
                sums[i] += dy;
                products[i] += dy * ((x[i].acc() - mean[i] - rest[i]) * rstd[i]);
            }
        }
    }
}

/// `dx = gamma rstd (dy - mean(dy) - xhat mean(dy xhat))`
struct InputGradient<'a, T: Real> {
    x: &'a [T],
    dy: &'a [T],
    scale: &'a Scale<T::Acc>,
    /// gamma rstd
    factor: &'a [T::Acc],
    mean_dy: &'a [T::Acc],
    mean_product: &'a [T::Acc],
    dx: &'a mut [T],
}

impl<T: Real> Kernel for InputGradient<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Scale { mean, rest, rstd } = self.scale;
        let stretch = mean.len();
        for ((dx, x), dy) in self.dx.chunks_mut(stretch).zip(self.x.chunks(stretch)).zip(self.dy.chunks(stretch)) {
            let n = x.len();
            let (dx, dy, mean, rest, rstd) = (&mut dx[..n], &dy[..n], &mean[..n], &rest[..n], &rstd[..n]);
            let (factor, mean_dy, mean_product) = (&self.factor[..n], &self.mean_dy[..n], &self.mean_product[..n]);
            for i in 0..n {
                let xhat = (x[i].acc() - mean[i] - rest[i]) * rstd[i];
                dx[i] = T::narrow(factor[i] * (dy[i].acc() - mean_dy[i] - xhat * mean_product[i]));
            }
        }
    }
}

/// Sums in the dtype of the parameter whose gradient they are.
fn narrowed(op: &'static str, sums: &[f64], like: &Tensor) -> Result<Tensor> {
    let mut gradient = like.empty_like()?;
    real!(op, like.dtype(), T => {
        let out = gradient.as_mut_slice::<T>()?;
        out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = T::narrow(<T as Real>::Acc::of(sum)));
        Ok(())
    })?;
    Ok(gradient)
}
