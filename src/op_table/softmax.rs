use super::{Array, Row, input};
use crate::{Result, Var};

fn reference(x: &Array, log: bool) -> Array {
    let columns = x.shape[x.shape.len() - 1];
    let mut y = x.clone();
    for row in y.data.chunks_mut(columns.max(1)) {
        let max = row.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        for x in row {
            *x = if log { *x - max - sum.ln() } else { (*x - max).exp() / sum };
        }
    }
    y
}

type Op = fn(&Var) -> Result<Var>;

pub fn rows() -> Vec<Row> {
    let ops: [(&str, Op, bool); 2] = [("softmax", Var::softmax, false), ("log_softmax", Var::log_softmax, true)];
    let mut rows = Vec::new();
    for (name, op, log) in ops {
        let row = |shape: &[usize]| {
            Row::new(name, vec![input(shape)], move |x| op(&x[0]), move |x: &[Array]| reference(&x[0], log))
                .tolerance(4e-6, 6e-3)
        };
        let shapes: [&[usize]; 14] = [
            &[0, 4],
            &[3, 0],
            &[5],
            &[4, 1],
            &[3, 10],
            &[70, 10],
            &[33, 32],
            &[2, 3, 33],
            &[9, 64],
            &[2, 1024],
            &[2, 1022],
            &[2, 1032],
            &[3, 1500],
            &[2, 2049],
        ];
        rows.extend(shapes.map(row));
        for shape in [[1 << 16, 10], [1 << 12, 1024]] {
            let n = (shape[0] * shape[1]) as f64;
            rows.push(row(&shape).bench(5.0 * n, 2.0 * n));
        }
    }
    rows
}
