use num_traits::Zero;

use super::Resample;
use crate::backend::cpu::weighted_chunks;
use crate::error::Result;
use crate::tensor::{Accumulator, Real, Tensor, real};

/// One axis after the other: first a row of the result is made of whole rows of `x`, then its pixels of that row's
/// pixels. Both loops run over contiguous memory.
pub fn resample(op: &'static str, x: &Tensor, of: &Resample, y: &mut Tensor) -> Result<()> {
    real!(op, x.dtype(), T => {
        let x = x.as_slice::<T>()?;
        let ([from_h, from_w], [to_h, to_w], c) = (of.from, of.to, of.c);
        let taps: Vec<<T as Real>::Acc> = of.taps.iter().map(|&tap| Accumulator::of(tap)).collect();
        let row = to_w * c;
        let work = row * of.taps.len() * 2;
        weighted_chunks(y.as_mut_slice::<T>()?, row, work, |first, y| {
            let mut tall = vec![<T as Real>::Acc::zero(); from_w * c];
            let mut pixel = vec![<T as Real>::Acc::zero(); c];
            for (line, y) in (first / row..).zip(y.chunks_exact_mut(row)) {
                tall.fill(Zero::zero());
                for (at, tap) in of.sources(&taps, line % to_h, from_h) {
                    let x = &x[(line / to_h * from_h + at) * from_w * c..][..from_w * c];
                    tall.iter_mut().zip(x).for_each(|(sum, &x)| *sum += tap * x.acc());
                }
                for (column, y) in y.chunks_exact_mut(c).enumerate() {
                    pixel.fill(Zero::zero());
                    for (at, tap) in of.sources(&taps, column, from_w) {
                        pixel.iter_mut().zip(&tall[at * c..][..c]).for_each(|(sum, &x)| *sum += tap * x);
                    }
                    y.iter_mut().zip(&pixel).for_each(|(y, &sum)| *y = T::narrow(sum));
                }
            }
        });
        Ok(())
    })
}

impl Resample {
    /// The pixels (of `extent` along an axis) that pixel `to` of the result is made of, with their taps.
    #[inline(always)]
    fn sources<A: Copy>(&self, taps: &[A], to: usize, extent: usize) -> impl Iterator<Item = (usize, A)> {
        let (up, pad) = (self.up, self.pad);
        // Up: to = 2 at + r - pad. Down: at = 2 to + r - pad.
        let first = if up { (to + pad) % 2 } else { 0 };
        taps.iter().enumerate().skip(first).step_by(if up { 2 } else { 1 }).filter_map(move |(r, &tap)| {
            let at = if up { (to + pad).checked_sub(r)? / 2 } else { (2 * to + r).checked_sub(pad)? };
            (at < extent).then_some((at, tap))
        })
    }
}
