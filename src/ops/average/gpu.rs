use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::AverageParams;
use crate::error::Result;
use crate::ops::start;
use crate::tensor::Tensor;

pub fn update(gpu: &Gpu, average: &mut Tensor, weights: &Tensor, part: f64) -> Result<()> {
    let (average_at, weights_at) = (average.ptr_mut(gpu)?, weights.ptr(gpu)?);
    let params = AverageParams {
        average: average_at,
        weights: weights_at,
        n: weights.len() as u64,
        part: part as f32,
        wide: Ptr::all_wide(&[average_at, weights_at]).into(),
    };
    start(gpu, &Launch::over("average_fwd_f32", weights.len().div_ceil(4)), &params)
}
