use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::params;
use crate::tensor::Tensor;

params! {
    struct AverageParams {
        average: Ptr,
        weights: Ptr,
        n: u64,
        part: f32,
        unused: u32,
    }
}

pub fn update(gpu: &Gpu, average: &mut Tensor, weights: &Tensor, part: f64) -> Result<()> {
    let params = AverageParams {
        average: average.ptr_mut()?,
        weights: weights.ptr()?,
        n: weights.len() as u64,
        part: part as f32,
        unused: 0,
    };
    gpu.launch(&Launch::over("average_fwd_f32", weights.len()), &params)
}
