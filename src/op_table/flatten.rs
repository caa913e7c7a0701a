use super::{Array, Row, constants};
use crate::{DType, Tensor, Var, ops};

/// Two parts into a buffer with a gap before, between and behind them; the buffer is the first input.
pub fn rows() -> Vec<Row> {
    let row = |[first, second, gap]: [usize; 3], add: bool| {
        let offsets = [gap, first + 2 * gap];
        let whole = first + second + 3 * gap;
        let run = move |x: &[Var]| {
            // The buffer is f32 where parts are bf16.
            let dtype = if x[1].dtype() == DType::BF16 { DType::F32 } else { x[1].dtype() };
            let mut flat: Tensor = ops::cast(&x[0], dtype)?.into_value();
            ops::flatten(&mut flat, &[(offsets[0], x[1].value()), (offsets[1], x[2].value())], add)?;
            Ok(flat.into())
        };
        let reference = move |x: &[Array]| {
            let mut flat = x[0].clone();
            for (offset, part) in offsets.into_iter().zip(&x[1..]) {
                for (to, &value) in flat.data[offset..].iter_mut().zip(&part.data) {
                    *to = if add { *to + value } else { value };
                }
            }
            flat
        };
        let inputs = [constants(1, whole), constants(1, first), constants(1, second)].concat();
        Row::new("flatten", inputs, run, reference).case(if add { "added" } else { "" })
    };
    let sizes = [[0, 0, 0], [1, 0, 1], [3, 5, 0], [16, 64, 16], [8, 4100, 8], [255, 4099, 1]];
    sizes.into_iter().flat_map(|size| [false, true].map(|add| row(size, add))).collect()
}
