use super::{Array, Fill, Row, input};
use crate::{Var, ops};

/// The sum over the marked axes, which keep an extent of 1 if `keep`.
fn sum(x: &Array, axes: &[usize], keep: bool) -> Array {
    let kept: Vec<usize> = (0..x.shape.len()).filter(|axis| keep || !axes.contains(axis)).collect();
    let shape: Vec<usize> = kept.iter().map(|axis| if axes.contains(axis) { 1 } else { x.shape[*axis] }).collect();
    let mut y = Array::from_fn(&shape, |_| 0.0);
    for (i, &value) in x.data.iter().enumerate() {
        let index = x.index(i);
        let at = kept.iter().zip(&shape).fold(0, |at, (&axis, &extent)| at * extent + index[axis] % extent);
        y.data[at] += value;
    }
    y
}

pub fn rows() -> Vec<Row> {
    let cases: [(&'static [usize], &'static [usize]); 15] = [
        (&[], &[]),
        (&[1], &[0]),
        (&[0, 4], &[0]),
        (&[7], &[0]),
        (&[3, 5], &[1]),
        (&[3, 5], &[0]),
        (&[2, 3, 4], &[0, 2]),
        (&[2, 3, 4], &[]),
        (&[2, 3, 3, 4], &[0, 1, 2]),
        (&[9001], &[0]),
        (&[700, 9], &[0]),
        (&[3, 300, 5], &[1]),
        (&[2, 4097], &[1]), // two passes for each of two sums
        (&[70_001], &[0]),
        (&[523, 40], &[0]), // two stripes of columns
    ];
    let mut rows = Vec::new();
    for (shape, axes) in cases {
        for fill in [Fill::Uniform(-1.7, 2.1), Fill::Integers(-4, 3)] {
            let x = input(shape).fill(fill);
            rows.push(
                Row::new("sum", vec![x.clone()], |x| ops::sum(&x[0], axes), |x| sum(&x[0], axes, false))
                    .case(format!("axes={axes:?}"))
                    .tolerance(1e-5, 6e-3),
            );
        }
        if shape.iter().product::<usize>() > 0 {
            let count: usize = axes.iter().map(|&axis| shape[axis]).product();
            rows.push(
                Row::new(
                    "mean",
                    vec![input(shape)],
                    |x| ops::mean(&x[0], axes),
                    move |x| sum(&x[0], axes, false).map(|x| x / count as f64),
                )
                .case(format!("axes={axes:?}"))
                .tolerance(1e-5, 6e-3),
            );
        }
    }
    for (from, to) in [(&[2, 3, 4][..], &[3, 1][..]), (&[5, 2], &[]), (&[2, 2, 2, 3], &[2, 1, 1, 3])] {
        let run = move |x: &[Var]| ops::sum_to(&x[0], to);
        let missing = from.len() - to.len();
        let axes: Vec<usize> = (0..from.len()).filter(|&a| a < missing || to[a - missing] != from[a]).collect();
        rows.push(Row::new("sum_to", vec![input(from)], run, move |x| Array {
            shape: to.to_vec(),
            ..sum(&x[0], &axes, true)
        }));
    }
    for (shape, axes) in [(&[1 << 22][..], &[0][..]), (&[16 * 1024, 256], &[0]), (&[16 * 1024, 256], &[1])] {
        let n = (1 << 22) as f64;
        rows.push(
            Row::new("sum", vec![input(shape)], move |x| ops::sum(&x[0], axes), move |x| sum(&x[0], axes, false))
                .case(format!("axes={axes:?}"))
                .tolerance(1e-5, 6e-3)
                .bench(n, n)
                .backward(0.0, n),
        );
    }
    rows
}
