use super::{Array, Fill, Input, Row, input};
use crate::ops::batch_norm::BatchStatistics;
use crate::{DType, Result, Tensor, Var, ops};

const EPS: f64 = 1e-5;

/// The mean and the biased variance of a channel.
fn statistics(x: &Array, channel: usize, channels: usize) -> (f64, f64) {
    let values: Vec<f64> = x.data.iter().copied().skip(channel).step_by(channels).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64)
}

/// By the statistics of the batch or, if there are five inputs, by the last two.
fn reference(x: &[Array]) -> Array {
    let channels = x[1].data.len();
    let mut y = x[0].clone();
    for c in 0..channels {
        let (mean, variance) = match x {
            [_, _, _, mean, variance] => (mean.data[c], variance.data[c]),
            _ => statistics(&x[0], c, channels),
        };
        for value in y.data.iter_mut().skip(c).step_by(channels) {
            *value = x[1].data[c] * (*value - mean) / (variance + EPS).sqrt() + x[2].data[c];
        }
    }
    y
}

fn inputs(shape: &[usize]) -> Vec<Input> {
    let channels = [shape[shape.len() - 1]];
    vec![input(shape), input(&channels), input(&channels)]
}

/// Statistics are never narrower than f32.
fn wide(x: &Var) -> Result<Tensor> {
    let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    ops::cast(x, dtype).map(Var::into_value)
}

pub fn rows() -> Vec<Row> {
    let of_batch = |shape: &[usize]| {
        let run = |x: &[Var]| Ok(ops::batch_norm(&x[0], &x[1], &x[2], EPS)?.0);
        Row::new("batch_norm", inputs(shape), run, reference).tolerance(4e-6, 6e-3)
    };
    let given = |shape: &[usize]| {
        let channels = [shape[shape.len() - 1]];
        let (mean, variance) = (input(&channels).constant(), input(&channels).fill(Fill::Uniform(0.1, 2.0)).constant());
        let run = |x: &[Var]| {
            let by = BatchStatistics { mean: wide(&x[3])?, variance: wide(&x[4])? };
            ops::batch_norm_with(&x[0], &x[1], &x[2], &by, EPS)
        };
        Row::new("batch_norm_with", [inputs(shape), vec![mean, variance]].concat(), run, reference)
            .tolerance(4e-6, 6e-3)
    };
    // The reference is plain: where numbers of few values are near each other, gradients are large.
    let shapes: [&[usize]; 13] = [
        &[5, 0],
        &[7, 1],
        &[9, 3],
        &[64, 8], // one chunk of rows, on a GPU
        &[65, 31],
        &[2, 3, 3, 34], // more channels than a warp has lanes
        &[3, 5, 7, 16],
        &[2, 2, 2, 3, 10], // three axes of pixels
        &[4, 8, 8, 128],   // a row fills a stretch, on a CPU
        &[4, 7, 9, 129],
        &[3, 601],
        &[600, 4],
        &[17, 2049], // more than a block of rows at a time
    ];
    let mut rows: Vec<Row> = shapes.iter().map(|shape| of_batch(shape)).collect();
    rows.extend(shapes.iter().chain(&[&[1, 4][..], &[0, 3], &[1, 1, 1, 8]]).map(|shape| given(shape)));
    for shape in [[100, 24, 24, 32], [128, 16, 16, 128], [64, 32, 32, 64]] {
        let n = shape.iter().product::<usize>() as f64;
        rows.push(of_batch(&shape).bench(8.0 * n, 2.0 * n));
    }
    rows.push(given(&[100, 24, 24, 32]).bench(4.0 * 1_843_200.0, 2.0 * 1_843_200.0));
    rows
}
