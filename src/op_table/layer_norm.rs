use super::{Array, Row, input};
use crate::{Var, ops};

const EPS: f64 = 1e-5;

fn reference(x: &[Array]) -> Array {
    let (x, gamma, beta) = (&x[0], &x[1], &x[2]);
    let channels = gamma.data.len();
    let mut y = x.clone();
    if channels == 0 {
        return y;
    }
    for row in y.data.chunks_mut(channels) {
        let mean = row.iter().sum::<f64>() / channels as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / channels as f64;
        for (i, v) in row.iter_mut().enumerate() {
            *v = gamma.data[i] * (*v - mean) / (variance + EPS).sqrt() + beta.data[i];
        }
    }
    y
}

pub fn rows() -> Vec<Row> {
    let row = |shape: &[usize]| {
        let channels = [shape[shape.len() - 1]];
        let inputs = vec![input(shape), input(&channels), input(&channels)];
        let run = |x: &[Var]| ops::layer_norm(&x[0], &x[1], &x[2], EPS);
        Row::new("layer_norm", inputs, run, reference).tolerance(4e-6, 6e-3)
    };
    let shapes: [&[usize]; 10] = [
        &[0, 4],
        &[3, 0],
        &[7],        // one row
        &[5, 3],     // fewer channels than lanes
        &[2, 3, 33], // one more than a warp
        &[9, 64],
        &[130, 31], // rows in three chunks
        &[2, 1024], // the longest row of a warp
        &[3, 1031], // a block to a row
        &[1, 2, 3, 8],
    ];
    let mut rows: Vec<Row> = shapes.map(row).into();
    for shape in [[64 * 64, 128], [8 * 1024, 768]] {
        let n = shape.iter().product::<usize>() as f64;
        rows.push(row(&shape).bench(8.0 * n, 2.0 * n));
    }
    rows
}
