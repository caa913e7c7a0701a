use super::{Array, Fill, Row, input};
use crate::{Result, Var, ops};

/// The elements of a window, row by row.
fn window(x: &Array, at: &[usize], kernel: usize, stride: usize) -> Vec<f64> {
    let places = (0..kernel).flat_map(|r| (0..kernel).map(move |s| (r, s)));
    places.map(|(r, s)| x.at(&[at[0], at[1] * stride + r, at[2] * stride + s, at[3]])).collect()
}

/// `f` of each window.
fn pooled(x: &Array, kernel: usize, stride: usize, f: impl Fn(&[f64]) -> f64) -> Array {
    let extent = |axis: usize| (x.shape[axis] - kernel) / stride + 1;
    let shape = [x.shape[0], extent(1), extent(2), x.shape[3]];
    let empty = Array { shape: shape.to_vec(), data: Vec::new() };
    Array::from_fn(&shape, |i| f(&window(x, &empty.index(i), kernel, stride)))
}

fn first_largest(window: &[f64]) -> usize {
    (0..window.len()).fold(0, |best, i| if window[i] > window[best] { i } else { best })
}

/// What is at the maxima of the first in the second, window by window.
fn gathered(x: &Array, other: &Array, kernel: usize, stride: usize) -> Array {
    let mut y = pooled(x, kernel, stride, |_| 0.0);
    for i in 0..y.data.len() {
        let at = y.index(i);
        y.data[i] = window(other, &at, kernel, stride)[first_largest(&window(x, &at, kernel, stride))];
    }
    y
}

/// The second, which has the shape of a result, at the maxima of the first.
fn scattered(x: &Array, y: &Array, kernel: usize, stride: usize) -> Array {
    let mut sum = x.map(|_| 0.0);
    for i in 0..y.data.len() {
        let at = y.index(i);
        let tap = first_largest(&window(x, &at, kernel, stride));
        let (row, column) = (at[1] * stride + tap / kernel, at[2] * stride + tap % kernel);
        sum.data[((at[0] * x.shape[1] + row) * x.shape[2] + column) * x.shape[3] + at[3]] += y.data[i];
    }
    sum
}

const CASES: [(&[usize], usize, usize); 16] = [
    (&[0, 4, 4, 3], 2, 2),
    (&[2, 4, 4, 0], 2, 2),
    (&[1, 1, 1, 1], 1, 1),
    (&[1, 2, 2, 1], 2, 2),
    (&[2, 5, 7, 3], 2, 2), // an odd row and column are left out
    (&[2, 6, 6, 8], 3, 3),
    (&[1, 7, 6, 4], 3, 2), // windows overlap
    (&[1, 5, 5, 5], 3, 1),
    (&[2, 7, 7, 4], 2, 3),  // pixels between windows
    (&[1, 4, 5, 16], 2, 2), // one vector of channels, on a CPU
    (&[1, 4, 5, 17], 2, 2),
    (&[1, 4, 3, 40], 2, 1),
    (&[1, 3, 9, 2], 3, 4),
    (&[3, 8, 8, 32], 2, 2),
    (&[1, 4, 4, 2], 4, 4), // the whole image
    (&[2, 24, 23, 33], 2, 2),
];

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (shape, kernel, stride) in CASES {
        // All different, as differences of a maximum need it; and with ties, of which the first counts.
        for fill in [Fill::Uniform(-1.7, 2.1), Fill::Integers(-2, 2)] {
            rows.extend(pooling(shape, kernel, stride, fill));
            rows.extend(at_maxima(shape, kernel, stride, fill));
        }
    }
    for (shape, kernel) in [([100, 24, 24, 32], 2), ([128, 32, 32, 64], 2), ([64, 32, 32, 64], 3)] {
        let (x, y) = (shape.iter().product::<usize>(), shape[0] * (shape[1] / kernel) * (shape[2] / kernel) * shape[3]);
        for row in pooling(&shape, kernel, kernel, Fill::Uniform(-1.7, 2.1)) {
            // Where the maxima were is written forward, and read backward.
            let taps = if row.op == "max_pool2d" { y as f64 } else { 0.0 };
            rows.push(row.bench(x as f64, (x + y) as f64).backward(x as f64, (x + y) as f64 + taps));
        }
    }
    rows
}

fn pooling(shape: &[usize], kernel: usize, stride: usize, fill: Fill) -> Vec<Row> {
    let of = |name, run: fn(&Var, usize, usize) -> Result<Var>, value: fn(&[f64]) -> f64| {
        let run = move |x: &[Var]| run(&x[0], kernel, stride);
        Row::new(name, vec![input(shape).fill(fill)], run, move |x| pooled(&x[0], kernel, stride, value))
            .case(format!("kernel={kernel} stride={stride} {fill:?}"))
    };
    let mean = |window: &[f64]| window.iter().sum::<f64>() / window.len() as f64;
    let largest = of("max_pool2d", |x, k, s| ops::max_pool2d(x, k, s), |window| window[first_largest(window)]);
    // A third or a ninth of a whole number is none; differences take no notice of ties, but a maximum does.
    let exact = matches!(fill, Fill::Integers(..));
    let mut rows = Vec::new();
    if !exact || kernel.is_power_of_two() {
        rows.push(of("avg_pool2d", |x, k, s| ops::avg_pool2d(x, k, s), mean));
    }
    match exact {
        false => rows.push(largest),
        true => rows.push(Row { inputs: largest.inputs.iter().map(|x| x.clone().constant()).collect(), ..largest }),
    }
    rows
}

/// The second input at the maxima of the first, and the second put there.
fn at_maxima(shape: &[usize], kernel: usize, stride: usize, fill: Fill) -> Vec<Row> {
    let pooled_shape = {
        let extent = |axis: usize| (shape[axis] - kernel) / stride + 1;
        [shape[0], extent(1), extent(2), shape[3]]
    };
    let x = || input(shape).fill(fill).constant();
    let case = format!("kernel={kernel} stride={stride} {fill:?}");
    let gather = move |x: &[Var]| ops::max_pool2d_with_maxima(&x[0], kernel, stride)?.1.gather(&x[1]);
    let scatter = move |x: &[Var]| ops::max_pool2d_with_maxima(&x[0], kernel, stride)?.1.scatter(&x[1]);
    vec![
        Row::new("max_pool2d_gather", vec![x(), input(shape).fill(fill)], gather, move |x| {
            gathered(&x[0], &x[1], kernel, stride)
        })
        .case(&case),
        Row::new("max_pool2d_scatter", vec![x(), input(&pooled_shape).fill(fill)], scatter, move |x| {
            scattered(&x[0], &x[1], kernel, stride)
        })
        .case(&case),
    ]
}
