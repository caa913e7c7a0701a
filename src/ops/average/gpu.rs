use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::start;
use crate::params;
use crate::tensor::Tensor;

params! {
    struct AverageParams {
        average: Ptr,
        weights: Ptr,
        n: u64,
        part: f32,
        wide: u32,
    }
}

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
