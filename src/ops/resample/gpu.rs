use super::{MAX_TAPS, Resample};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::ResampleParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn resample(gpu: &Gpu, op: &'static str, x: &Tensor, of: &Resample, y: &mut Tensor) -> Result<()> {
    let kernel = match of.up {
        true => kernel!(op, x.dtype(), "resample_fwd_up")?,
        false => kernel!(op, x.dtype(), "resample_fwd_down")?,
    };
    let narrow =
        |extent: usize| u32::try_from(extent).map_err(|_| crate::Error::shape(op, "extents below 2^32", x.shape()));
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let per_vector = 16 / x.dtype().size();
    let wide = of.c.is_multiple_of(per_vector) && Ptr::all_wide(&[x_at, y_at]);
    let mut taps = [0.0; MAX_TAPS];
    taps.iter_mut().zip(&of.taps).for_each(|(to, &tap)| *to = tap as f32);
    let params = ResampleParams {
        x: x_at,
        y: y_at,
        n: of.n as u64,
        from: [narrow(of.from[0])?, narrow(of.from[1])?],
        to: [narrow(of.to[0])?, narrow(of.to[1])?],
        c: narrow(of.c)?,
        pad: of.pad as u32,
        count: of.taps.len() as u32,
        wide: wide.into(),
        taps,
    };
    start(gpu, &Launch::over(kernel, if wide { y.len() / per_vector } else { y.len() }), &params)
}
