use super::Piece;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::ConcatParams;
use crate::error::Result;
use crate::ops::{copy_kernel, start};
use crate::tensor::Tensor;

/// Pieces that one launch handles.
const PIECES: usize = 4;

/// Each piece touches only its own columns.
pub fn assemble(gpu: &Gpu, op: &'static str, pieces: &[&Piece], y: &mut Tensor) -> Result<()> {
    let kernel = copy_kernel!(op, y.dtype(), "concat_fwd")?;
    let size = y.dtype().size();
    let y_pitch: usize = pieces.iter().map(|piece| piece.width).sum();
    let rows = y.len() / y_pitch;
    let y_at = y.ptr_mut(gpu)?;
    let mut first = 0;
    for group in pieces.chunks(PIECES) {
        let mut params = ConcatParams {
            x: [Ptr::NULL; PIECES],
            y: y_at,
            rows: rows as u64,
            y_pitch: y_pitch as u64,
            first: [0; PIECES],
            width: [0; PIECES],
            x_pitch: [0; PIECES],
            wide: 0,
        };
        let mut items = 0;
        for (i, piece) in group.iter().enumerate() {
            if let Some(source) = piece.source {
                params.x[i] = source.ptr(gpu)?.byte_add(piece.first * size);
            }
            let whole_vectors = [piece.width, piece.pitch, y_pitch].iter().all(|n| (n * size).is_multiple_of(16));
            let wide = whole_vectors && Ptr::all_wide(&[params.x[i], y_at.byte_add(first * size)]);
            params.wide |= u64::from(wide) << i;
            (params.first[i], params.width[i]) = (first as u64, piece.width as u64);
            params.x_pitch[i] = piece.pitch as u64;
            items = items.max(rows * piece.width / if wide { 16 / size } else { 1 });
            first += piece.width;
        }
        let Launch { grid: [blocks, ..], threads, .. } = Launch::over(kernel, items);
        start(gpu, &Launch::blocks(kernel, [blocks, group.len() as u32, 1], threads), &params)?;
    }
    Ok(())
}
