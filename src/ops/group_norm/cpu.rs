use num_traits::{One, Zero};
use rayon::prelude::*;

use super::{Gradients, Setting};
use crate::backend::cpu::{GRAIN, Kernel, OnTeam, tasks_per_share, with_vector_instructions};
use crate::error::Result;
use crate::tensor::{Accumulator, Device, Element, Real, Tensor, real};

/// Few channels are handled as if several pixels were one with so many: inner loops should fill vector registers.
const LANES: usize = 128;
/// Values per channel that are summed in the accumulator's type; the sums of such blocks are added in f64.
const BLOCK: usize = 256;
/// A standard deviation below this share of the mean is measured again, about a better mean.
const LOST: f64 = 1e-2;

pub fn forward(setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<(Tensor, Tensor)> {
    real!(setting.op, x.dtype(), T => match setting.silu {
        true => forward_as::<T, true>(setting, x, gamma, beta),
        false => forward_as::<T, false>(setting, x, gamma, beta),
    })
}

pub fn backward(
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
) -> Result<Gradients> {
    real!(setting.op, x.dtype(), T => match setting.silu {
        true => backward_as::<T, true>(setting, dy, x, gamma, beta, stats),
        false => backward_as::<T, false>(setting, dy, x, gamma, beta, stats),
    })
}

impl Setting {
    /// Elements of a row: the channels of one pixel, or of several if there are few.
    fn row(&self) -> usize {
        self.channels * (LANES / self.channels).max(1)
    }

    /// Elements of a block of rows: what a thread sums, or writes, in one go.
    fn block(&self) -> usize {
        (2 * GRAIN / self.row()).clamp(1, BLOCK) * self.row()
    }

    /// How many blocks of an image a thread takes at least: all, where there are images enough for every thread.
    fn blocks_at_once(&self) -> usize {
        match self.images >= 2 * rayon::current_num_threads() {
            true => usize::MAX,
            false => tasks_per_share(self.block()),
        }
    }

    /// One value per group, for each element of a row.
    fn spread<A: Accumulator>(&self, per_group: impl Iterator<Item = A>) -> Vec<A> {
        let mut row = vec![A::zero(); self.row()];
        for (group, value) in row.chunks_exact_mut(self.width()).zip(per_group) {
            group.fill(value);
        }
        for filled in (self.channels..row.len()).step_by(self.channels) {
            row.copy_within(..self.channels, filled);
        }
        row
    }

    /// The mean over each group, from sums over channels.
    fn group_means(&self, channels: &[f64]) -> Vec<f64> {
        let count = (self.pixels * self.width()) as f64;
        channels.chunks_exact(self.width()).map(|group| group.iter().sum::<f64>() / count).collect()
    }

    /// The mean over each group of an image of what `add` adds up for each element of a row.
    fn means_of<T: Real>(&self, x: &[T], add: impl Fn(&[T], &mut [T::Acc]) + Sync) -> Vec<f64> {
        let [sums] = self.channel_sums(x.par_chunks(self.block()), |x, [sums]: &mut [Vec<T::Acc>; 1]| add(x, sums));
        self.group_means(&sums)
    }

    /// gamma or beta, widened, for each element of a row.
    fn affine<A: Accumulator>(&self, values: &Tensor) -> Result<Vec<A>> {
        real!(self.op, values.dtype(), T => {
            let values = values.as_slice::<T>()?.iter();
            Ok(values.map(|&value| A::of(value.acc().widen())).cycle().take(self.row()).collect())
        })
    }

    /// `N` sums per channel over the blocks of an image. `add` adds those of a block to one sum per element of a row
    /// each; the blocks are added up in order.
    fn channel_sums<A: Accumulator, B: Send, const N: usize>(
        &self,
        blocks: impl IndexedParallelIterator<Item = B>,
        add: impl Fn(B, &mut [Vec<A>; N]) + Sync,
    ) -> [Vec<f64>; N] {
        let of_block = |block: B| {
            let mut sums = std::array::from_fn(|_| vec![A::zero(); self.row()]);
            add(block, &mut sums);
            sums
        };
        let blocks: Vec<[Vec<A>; N]> = blocks.with_min_len(self.blocks_at_once()).map_on_team(of_block);
        let mut total = std::array::from_fn(|_| vec![0.0; self.channels]);
        for block in &blocks {
            for (total, sums) in total.iter_mut().zip(block) {
                for sums in sums.chunks_exact(self.channels) {
                    for (total, sum) in total.iter_mut().zip(sums) {
                        *total += sum.widen();
                    }
                }
            }
        }
        total
    }
}

fn forward_as<T: Real, const SILU: bool>(
    setting: &Setting,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
) -> Result<(Tensor, Tensor)>
where
    T::Acc: Element,
{
    let mut y = x.empty_like()?;
    let mut stats = Tensor::empty([setting.images, setting.groups, 2], T::Acc::DTYPE, &Device::Cpu)?;
    let (gamma, beta) = (setting.affine::<T::Acc>(gamma)?, setting.affine::<T::Acc>(beta)?);
    let image = setting.image();
    let x = x.as_slice::<T>()?.par_chunks(image);
    let y_images = y.as_mut_slice::<T>()?.par_chunks_mut(image);
    let stats_images = stats.as_mut_slice::<T::Acc>()?.par_chunks_mut(2 * setting.groups);
    (x, y_images, stats_images).into_par_iter().with_min_len(tasks_per_share(image)).each_on_team(|(x, y, stats)| {
        forward_image::<T, SILU>(setting, x, &gamma, &beta, y, stats);
    });
    Ok((y, stats))
}

fn forward_image<T: Real, const SILU: bool>(
    setting: &Setting,
    x: &[T],
    gamma: &[T::Acc],
    beta: &[T::Acc],
    y: &mut [T],
    stats: &mut [T::Acc],
) {
    let block = setting.block();
    let means_from =
        |from: &[T::Acc]| setting.means_of(x, |x, sums| with_vector_instructions(Add::<T, false> { x, from, sums }));
    let variances_about =
        |from: &[T::Acc]| setting.means_of(x, |x, sums| with_vector_instructions(Add::<T, true> { x, from, sums }));
    let mut means: Vec<T::Acc> = means_from(&vec![T::Acc::zero(); setting.row()]).into_iter().map(T::Acc::of).collect();
    let mut mean = setting.spread(means.iter().copied());
    let mut variances = variances_about(&mean);
    // The sums behind the mean round it by about a millionth. Where the spread is small beside the mean, that would
    // pass for spread.
    let lost = |(mean, variance): (&T::Acc, &f64)| variance.sqrt() < LOST * mean.widen().abs();
    if means.iter().zip(&variances).any(lost) {
        for ((mean, offset), variance) in means.iter_mut().zip(means_from(&mean)).zip(&variances) {
            if lost((&*mean, variance)) {
                *mean += T::Acc::of(offset);
            }
        }
        mean = setting.spread(means.iter().copied());
        variances = variances_about(&mean);
    }
    for ((stats, &mean), variance) in stats.chunks_exact_mut(2).zip(&means).zip(variances) {
        stats[0] = mean;
        stats[1] = T::Acc::of(1.0 / (variance + setting.eps).sqrt());
    }
    let mut scale = setting.spread(stats.chunks_exact(2).map(|stats| stats[1]));
    for (scale, &gamma) in scale.iter_mut().zip(gamma) {
        *scale *= gamma;
    }
    y.par_chunks_mut(block).zip(x.par_chunks(block)).with_min_len(setting.blocks_at_once()).each_on_team(|(y, x)| {
        with_vector_instructions(Apply::<T, SILU> { x, mean: &mean, scale: &scale, beta, y });
    });
}

/// Adds differences from `from`, or their squares, to `sums`.
struct Add<'a, T: Real, const SQUARED: bool> {
    x: &'a [T],
    from: &'a [T::Acc],
    sums: &'a mut [T::Acc],
}

impl<T: Real, const SQUARED: bool> Kernel for Add<'_, T, SQUARED> {
    #[inline(always)]
    fn run(self) {
        for x in self.x.chunks(self.sums.len()) {
            for ((sum, &x), &from) in self.sums.iter_mut().zip(x).zip(self.from) {
                let off = x.acc() - from;
                *sum += if SQUARED { off * off } else { off };
            }
        }
    }
}

/// `y = f((x - mean) scale + beta)`
struct Apply<'a, T: Real, const SILU: bool> {
    x: &'a [T],
    mean: &'a [T::Acc],
    scale: &'a [T::Acc],
    beta: &'a [T::Acc],
    y: &'a mut [T],
}

impl<T: Real, const SILU: bool> Kernel for Apply<'_, T, SILU> {
    #[inline(always)]
    fn run(self) {
        let Apply { x, mean, scale, beta, y } = self;
        for (y, x) in y.chunks_mut(mean.len()).zip(x.chunks(mean.len())) {
            for ((((y, &x), &mean), &scale), &beta) in y.iter_mut().zip(x).zip(mean).zip(scale).zip(beta) {
                let u = (x.acc() - mean) * scale + beta;
                *y = T::narrow(if SILU { u / (T::Acc::one() + (-u).vector_exp()) } else { u });
            }
        }
    }
}

/// What the gradient needs to know of each element of a row.
struct Row<'a, A> {
    mean: Vec<A>,
    rstd: Vec<A>,
    gamma: &'a [A],
    beta: &'a [A],
}

impl<A: Accumulator> Row<'_, A> {
    /// `f(i, xhat, dz)` for each element: the normalised value, and the gradient before gamma and beta were applied.
    #[inline(always)]
    fn each<T: Real<Acc = A>, const SILU: bool>(&self, x: &[T], dy: &[T], mut f: impl FnMut(usize, A, A)) {
        let n = x.len();
        let (dy, mean, rstd) = (&dy[..n], &self.mean[..n], &self.rstd[..n]);
        let (gamma, beta) = (&self.gamma[..n], &self.beta[..n]);
        for i in 0..n {
            let xhat = (x[i].acc() - mean[i]) * rstd[i];
            let mut dz = dy[i].acc();
            if SILU {
                let u = xhat * gamma[i] + beta[i];
                let s = A::one() / (A::one() + (-u).vector_exp());
                dz *= s * (A::one() + u * (A::one() - s));
            }
            f(i, xhat, dz);
        }
    }
}

fn backward_as<T: Real, const SILU: bool>(
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
) -> Result<Gradients>
where
    T::Acc: Element,
{
    let mut dx = x.empty_like()?;
    let (wide_gamma, wide_beta) = (setting.affine::<T::Acc>(gamma)?, setting.affine::<T::Acc>(beta)?);
    let image = setting.image();
    let x_images = x.as_slice::<T>()?.par_chunks(image);
    let dy_images = dy.as_slice::<T>()?.par_chunks(image);
    let dx_images = dx.as_mut_slice::<T>()?.par_chunks_mut(image);
    let stats = stats.as_slice::<T::Acc>()?.par_chunks(2 * setting.groups);
    let sums: Vec<[Vec<f64>; 2]> = (x_images, dy_images, dx_images, stats)
        .into_par_iter()
        .with_min_len(tasks_per_share(image))
        .map_on_team(|(x, dy, dx, stats)| {
            let row = Row {
                mean: setting.spread(stats.chunks_exact(2).map(|stats| stats[0])),
                rstd: setting.spread(stats.chunks_exact(2).map(|stats| stats[1])),
                gamma: &wide_gamma,
                beta: &wide_beta,
            };
            backward_image::<T, SILU>(setting, dy, x, &row, dx)
        });
    Ok(Gradients { x: dx, gamma: total(&sums, 1, gamma)?, beta: total(&sums, 0, beta)? })
}

/// Writes `dx` and returns the image's sums of dz and of dz xhat per channel.
fn backward_image<T: Real, const SILU: bool>(
    setting: &Setting,
    dy: &[T],
    x: &[T],
    rows: &Row<'_, T::Acc>,
    dx: &mut [T],
) -> [Vec<f64>; 2] {
    let block = setting.block();
    let blocks = (dx.par_chunks_mut(block), x.par_chunks(block), dy.par_chunks(block)).into_par_iter();
    let sums = setting.channel_sums(blocks, |(dx, x, dy), [sums, products]: &mut [Vec<T::Acc>; 2]| {
        with_vector_instructions(AddGradients::<T, SILU> { rows, x, dy, dx, sums, products });
    });
    let [mean_dz, mean_product] = sums.each_ref().map(|sums| {
        let scaled: Vec<f64> = sums.iter().zip(rows.gamma).map(|(sum, gamma)| sum * gamma.widen()).collect();
        setting.spread(setting.group_means(&scaled).into_iter().map(T::Acc::of))
    });
    let blocks = (dx.par_chunks_mut(block), x.par_chunks(block), dy.par_chunks(block)).into_par_iter();
    blocks.with_min_len(setting.blocks_at_once()).each_on_team(|(dx, x, dy)| {
        with_vector_instructions(InputGradient::<T, SILU> {
            rows,
            x,
            dy,
            mean_dz: &mean_dz,
            mean_product: &mean_product,
            dx,
        });
    });
    sums
}

/// Whether dz waits in `dx` between the two passes, which saves its second computation: where it is not rounded there.
const fn keeps<T: Real>(silu: bool) -> bool {
    silu && size_of::<T>() == size_of::<T::Acc>()
}

/// Adds dz and dz xhat to their sums.
struct AddGradients<'a, T: Real, const SILU: bool> {
    rows: &'a Row<'a, T::Acc>,
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
    sums: &'a mut [T::Acc],
    products: &'a mut [T::Acc],
}

impl<T: Real, const SILU: bool> Kernel for AddGradients<'_, T, SILU> {
    #[inline(always)]
    fn run(self) {
        let AddGradients { rows, x, dy, dx, sums, products } = self;
        let row = sums.len();
        for ((dx, x), dy) in dx.chunks_mut(row).zip(x.chunks(row)).zip(dy.chunks(row)) {
            let n = x.len();
            let (sums, products, dx) = (&mut sums[..n], &mut products[..n], &mut dx[..n]);
            rows.each::<T, SILU>(x, dy, |i, xhat, dz| {
                sums[i] += dz;
                products[i] += dz * xhat;
                if keeps::<T>(SILU) {
                    dx[i] = T::narrow(dz);
                }
            });
        }
    }
}

/// `dx = rstd (gamma dz - mean(gamma dz) - xhat mean(gamma dz xhat))`, means over the group.
struct InputGradient<'a, T: Real, const SILU: bool> {
    rows: &'a Row<'a, T::Acc>,
    x: &'a [T],
    dy: &'a [T],
    mean_dz: &'a [T::Acc],
    mean_product: &'a [T::Acc],
    dx: &'a mut [T],
}

impl<T: Real, const SILU: bool> Kernel for InputGradient<'_, T, SILU> {
    #[inline(always)]
    fn run(self) {
        let row = self.mean_dz.len();
        for ((dx, x), dy) in self.dx.chunks_mut(row).zip(self.x.chunks(row)).zip(self.dy.chunks(row)) {
            let n = x.len();
            let (dx, mean_dz, mean_product) = (&mut dx[..n], &self.mean_dz[..n], &self.mean_product[..n]);
            let (mean, rstd, gamma) = (&self.rows.mean[..n], &self.rows.rstd[..n], &self.rows.gamma[..n]);
            let gradient = |i: usize, xhat: T::Acc, dz: T::Acc| {
                T::narrow(rstd[i] * (gamma[i] * dz - mean_dz[i] - xhat * mean_product[i]))
            };
            if keeps::<T>(SILU) {
                for i in 0..n {
                    dx[i] = gradient(i, (x[i].acc() - mean[i]) * rstd[i], dx[i].acc());
                }
            } else {
                self.rows.each::<T, SILU>(x, dy, |i, xhat, dz| dx[i] = gradient(i, xhat, dz));
            }
        }
    }
}

/// The sum over images of one of their sums per channel, in order.
fn total(sums: &[[Vec<f64>; 2]], which: usize, like: &Tensor) -> Result<Tensor> {
    let mut total = vec![0.0; like.len()];
    for sums in sums {
        for (total, sum) in total.iter_mut().zip(&sums[which]) {
            *total += sum;
        }
    }
    let mut out = like.empty_like()?;
    real!("group_norm", like.dtype(), T => {
        for (out, total) in out.as_mut_slice::<T>()?.iter_mut().zip(total) {
            *out = T::narrow(<T as Real>::Acc::of(total));
        }
        Ok(out)
    })
}
