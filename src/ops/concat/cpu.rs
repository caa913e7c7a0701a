use super::Piece;
use crate::backend::cpu::chunks;
use crate::error::Result;
use crate::tensor::{Element, Tensor, element};

pub fn assemble(_op: &'static str, pieces: &[&Piece], y: &mut Tensor) -> Result<()> {
    element!(y.dtype(), T => run::<T>(pieces, y))
}

/// Chunks of the result need not be whole rows: a concatenation along the first axis has only one.
fn run<T: Element>(pieces: &[&Piece], y: &mut Tensor) -> Result<()> {
    let sources = pieces.iter().map(|piece| piece.source.map(Tensor::as_slice::<T>).transpose());
    let sources: Vec<Option<&[T]>> = sources.collect::<Result<_>>()?;
    let mut ends: Vec<usize> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        ends.push(ends.last().unwrap_or(&0) + piece.width);
    }
    let row_width = *ends.last().unwrap_or(&1);
    chunks(y.as_mut_slice::<T>()?, 1, |first, y| {
        let (mut row, mut column) = (first / row_width, first % row_width);
        let mut which = ends.partition_point(|&end| end <= column);
        let mut rest = y;
        while !rest.is_empty() {
            let run = (ends[which] - column).min(rest.len());
            let (to, after) = rest.split_at_mut(run);
            let piece = pieces[which];
            match sources[which] {
                Some(source) => {
                    let at = row * piece.pitch + piece.first + column + piece.width - ends[which];
                    to.copy_from_slice(&source[at..at + run]);
                }
                None => to.fill(T::zeroed()),
            }
            rest = after;
            column += run;
            which += 1;
            if column == row_width {
                (row, column, which) = (row + 1, 0, 0);
            }
        }
    });
    Ok(())
}
