use super::{Coefficient, OP};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::SolverUpdateParams;
use crate::error::Result;
use crate::ops::random::{Draws, Rows};
use crate::ops::{kernel, start};
use crate::random::Stream;
use crate::tensor::Tensor;

pub fn update(
    gpu: &Gpu,
    x: Option<&Tensor>,
    slope: Option<(&Coefficient, &Tensor)>,
    noise: Option<(&Coefficient, &Draws)>,
    y: &mut Tensor,
) -> Result<()> {
    let kernel = kernel!(OP, y.dtype(), "solver_update_fwd")?;
    let rows = Rows::of(y.shape());
    let (a, a_each) = factor(gpu, slope.map(|(a, _)| a))?;
    let (b, b_each) = factor(gpu, noise.map(|(b, _)| b))?;
    let (stream, first, ids) = match noise {
        Some((_, draws)) => draws.device(gpu)?,
        None => (Stream { key: [0; 2], tail: [0; 2] }, 0, Ptr::NULL),
    };
    let address = |tensor: Option<&Tensor>| tensor.map_or(Ok(Ptr::NULL), |tensor| tensor.ptr(gpu));
    let (x, d, y) = (address(x)?, address(slope.map(|(_, d)| d))?, y.ptr_mut(gpu)?);
    let params = SolverUpdateParams {
        x,
        d,
        y,
        a_each,
        b_each,
        ids,
        rows: rows.count as u64,
        len: rows.len as u64,
        a,
        b,
        noisy: noise.is_some().into(),
        first,
        key0: stream.key[0],
        key1: stream.key[1],
        step: stream.tail[0],
        site: stream.tail[1],
        wide: rows.wide(&[x, d, y]),
        unused: 0,
    };
    start(gpu, &Launch::over(kernel, rows.blocks()), &params)
}

/// A shared value, and the address of the values for each sample if there are such.
fn factor(gpu: &Gpu, coefficient: Option<&Coefficient>) -> Result<(f32, Ptr)> {
    Ok(match coefficient {
        None => (0.0, Ptr::NULL),
        Some(Coefficient::Shared(value)) => (*value as f32, Ptr::NULL),
        Some(Coefficient::PerSample(values)) => (0.0, values.ptr(gpu)?),
    })
}
