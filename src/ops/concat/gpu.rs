use super::Piece;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::ConcatParams;
use crate::error::Result;
use crate::ops::{copy_kernel, start};
use crate::tensor::Tensor;

/// One launch per piece, each of which touches only its own columns.
pub fn assemble(gpu: &Gpu, op: &'static str, pieces: &[&Piece], y: &mut Tensor) -> Result<()> {
    let kernel = copy_kernel!(op, y.dtype(), "concat_fwd")?;
    let size = y.dtype().size();
    let y_pitch: usize = pieces.iter().map(|piece| piece.width).sum();
    let rows = y.len() / y_pitch;
    let mut to = y.ptr_mut(gpu)?;
    for piece in pieces {
        let x = match piece.source {
            Some(source) => source.ptr(gpu)?.byte_add(piece.first * size),
            None => Ptr::NULL,
        };
        let whole_vectors = [piece.width, piece.pitch, y_pitch].iter().all(|width| (width * size).is_multiple_of(16));
        let wide = whole_vectors && Ptr::all_wide(&[x, to]);
        let params = ConcatParams {
            x,
            y: to,
            rows: rows as u64,
            width: piece.width as u64,
            x_pitch: piece.pitch as u64,
            y_pitch: y_pitch as u64,
            wide: wide.into(),
        };
        let items = rows * piece.width / if wide { 16 / size } else { 1 };
        start(gpu, &Launch::over(kernel, items), &params)?;
        to = to.byte_add(piece.width * size);
    }
    Ok(())
}
