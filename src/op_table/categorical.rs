//! Samples of categorical distributions, hard and relaxed.

use super::random::{draws, gumbel, like, words};
use super::{Array, Row, input};
use crate::ops::{self, gumbel_softmax::GumbelNoise};
use crate::{DType, Var};

/// Perturbed logits of a batch.
fn perturbed(x: &Array, scattered: bool) -> Array {
    let words = words(&x.shape, scattered);
    Array::from_fn(&x.shape, |i| x.data[i] + gumbel(words[i]))
}

fn largest(row: &[f64]) -> usize {
    (0..row.len()).fold(0, |best, j| if row[j] > row[best] { j } else { best })
}

fn one_hot(t: &Array) -> Array {
    let mut y = t.map(|_| 0.0);
    for (y, t) in y.data.chunks_mut(t.shape[1]).zip(t.data.chunks(t.shape[1])) {
        y[largest(t)] = 1.0;
    }
    y
}

/// `softmax(t / tau)`, and its transposed Jacobian is left to the gradient check.
fn soft(t: &Array, tau: f64) -> Array {
    let k = t.shape[1];
    let mut y = t.clone();
    for row in y.data.chunks_mut(k) {
        let max = row.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        row.iter_mut().for_each(|x| *x = ((*x - max) / tau).exp());
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
    y
}

/// Rows of a thread, of several and all lanes of a warp, of a block in one turn and in many, in shared memory and
/// beyond it; whole vectors, pairs and single numbers.
const SIZES: [(usize, usize); 18] = [
    (0, 3),
    (1, 1),
    (40, 2),
    (5, 3),
    (7, 10),
    (6, 31),
    (5, 32),
    (3, 33),
    (9, 100),
    (2, 132),
    (3, 257),
    (2, 1000),
    (9, 1024),
    (2, 1025),
    (1, 1031),
    (2, 5000),
    (1, 13_000),
    (1, 100_000),
];

fn categoricals() -> Vec<Row> {
    let row = |n: usize, k: usize, scattered: bool| {
        let run = move |x: &[Var]| ops::categorical(&x[0], &draws(&x[0], scattered)?).map(Var::constant);
        let reference = move |x: &[Array]| {
            let t = perturbed(&x[0], scattered);
            like(&[n], t.data.chunks(k).map(|row| largest(row) as f64).collect())
        };
        Row::new("categorical", vec![input(&[n, k]).constant()], run, reference).tolerance(0.0, 0.0)
    };
    let mut rows: Vec<Row> = SIZES.iter().map(|&(n, k)| row(n, k, n % 2 == 1)).collect();
    rows.push(row(1 << 16, 10, false).bench(655_360.0, 655_360.0));
    rows
}

const ON_GPUS: [DType; 2] = [DType::F32, DType::BF16];

/// Of f32: where one number of many has most of a long row, its gradient is the difference of nearly equal numbers.
fn tolerance(k: usize) -> f64 {
    if k > 10_000 { 4e-5 } else { 4e-6 }
}

fn gumbel_softmaxes() -> Vec<Row> {
    let mut rows = Vec::new();
    let drawn = |n: usize, k: usize, tau: f64| {
        let run = move |x: &[Var]| ops::gumbel_softmax(&x[0], tau, false, &draws(&x[0], n % 2 == 1)?);
        Row::new("gumbel_softmax", vec![input(&[n, k])], run, move |x| soft(&perturbed(&x[0], n % 2 == 1), tau))
            .case(format!("tau={tau} drawn"))
            .dtypes(&ON_GPUS)
            .tolerance(tolerance(k), 6e-3)
    };
    for (i, &(n, k)) in SIZES.iter().enumerate() {
        let (shape, tau) = ([n, k], [1.0, 0.5, 2.0, 0.3][i % 4]);
        // Noise as given keeps the gradient check in f64 throughout.
        let given = move |x: &[Var]| ops::gumbel_softmax(&x[0], tau, false, GumbelNoise::Given(x[1].value()));
        let sum = move |x: &[Array]| soft(&Array::from_fn(&shape, |i| x[0].data[i] + x[1].data[i]), tau);
        let inputs = vec![input(&shape), input(&shape).constant()];
        rows.push(
            Row::new("gumbel_softmax", inputs, given, sum)
                .case(format!("tau={tau} given"))
                .dtypes(&[DType::F32, DType::F64])
                .tolerance(tolerance(k), 6e-3),
        );
        rows.push(drawn(n, k, tau));
        for gradient in [false, true] {
            let hard = move |x: &[Var]| ops::gumbel_softmax(&x[0], tau, true, &draws(&x[0], false)?);
            let logits = if gradient { input(&shape) } else { input(&shape).constant() };
            rows.push(
                Row::new("gumbel_softmax", vec![logits], hard, |x| one_hot(&perturbed(&x[0], false)))
                    .case(format!("tau={tau} hard, gradient {gradient}"))
                    .dtypes(&ON_GPUS)
                    .tolerance(tolerance(k), 6e-3),
            );
        }
    }
    for (n, k) in [(1 << 16, 10), (1 << 12, 1000), (1 << 8, 100_000)] {
        let elements = (n * k) as f64;
        rows.push(drawn(n, k, 0.7).bench(elements, 2.0 * elements).backward(elements, 3.0 * elements));
    }
    rows
}

/// The gradient is compared between devices and with f64; `tests/gumbel_rao.rs` has it in plain loops. Its weights are
/// exponentials of sums of three numbers of about ten, rounded, divided by tau.
fn gumbel_raos() -> Vec<Row> {
    let row = |n: usize, k: usize, tau: f64, samples: usize, scattered: bool| {
        let run = move |x: &[Var]| ops::gumbel_rao(&x[0], tau, samples, &draws(&x[0], scattered)?);
        Row::new("gumbel_rao", vec![input(&[n, k])], run, move |x| one_hot(&perturbed(&x[0], scattered)))
            .case(format!("tau={tau} {samples} samples"))
            .dtypes(&ON_GPUS)
            .tolerance(1e-5, 6e-3)
    };
    let mut rows = Vec::new();
    for (i, &(n, k)) in SIZES[..SIZES.len() - 1].iter().enumerate() {
        rows.push(row(n, k, [1.0, 0.5, 2.0, 0.3][i % 4], [1, 3, 2][i % 3], i % 2 == 1));
    }
    rows.push(row(65, 10, 0.7, 100, false));
    let (n, k, samples) = (1 << 13, 10, 10);
    let elements = (n * k) as f64;
    rows.push(
        row(n, k, 0.7, samples, false)
            .bench(elements, 2.0 * elements)
            .backward(elements * samples as f64, 3.0 * elements),
    );
    rows
}

pub fn rows() -> Vec<Row> {
    [categoricals(), gumbel_softmaxes(), gumbel_raos()].concat()
}
