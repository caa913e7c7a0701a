use crate::backend::gpu::{Gpu, Launch};
use crate::backend::params::DropoutParams;
use crate::error::Result;
use crate::ops::random::{Draws, Rows};
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn mask(
    gpu: &Gpu,
    x: &Tensor,
    threshold: u32,
    scale: f64,
    draws: &Draws,
    rows: Rows,
    y: &mut Tensor,
) -> Result<()> {
    let kernel = kernel!("dropout", x.dtype(), "dropout_fwd")?;
    let (stream, first, ids) = draws.device(gpu)?;
    let (x, y) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let params = DropoutParams {
        x,
        y,
        ids,
        rows: rows.count as u64,
        len: rows.len as u64,
        first,
        key0: stream.key[0],
        key1: stream.key[1],
        step: stream.tail[0],
        site: stream.tail[1],
        threshold,
        scale: scale as f32,
        wide: rows.wide(&[x, y]),
    };
    start(gpu, &Launch::over(kernel, rows.blocks()), &params)
}
