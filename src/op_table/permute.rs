use super::{Array, Fill, Row, input};
use crate::{Var, ops};

fn permute(x: &Array, axes: &[usize]) -> Array {
    let shape: Vec<usize> = axes.iter().map(|&axis| x.shape[axis]).collect();
    let empty = Array::from_fn(&shape, |_| 0.0);
    Array::from_fn(&shape, |i| {
        let to = empty.index(i);
        let mut from = vec![0; axes.len()];
        for (k, &axis) in axes.iter().enumerate() {
            from[axis] = to[k];
        }
        x.at(&from)
    })
}

pub fn rows() -> Vec<Row> {
    let cases: [(&'static [usize], &'static [usize]); 16] = [
        (&[], &[]),
        (&[3], &[0]),
        (&[3, 4], &[1, 0]),
        (&[3, 4], &[0, 1]),
        (&[0, 4], &[1, 0]),
        (&[2, 3, 4, 5], &[0, 2, 3, 1]),
        (&[2, 3, 4, 5], &[0, 3, 1, 2]),
        (&[2, 16, 3, 8], &[0, 2, 1, 3]),
        (&[2, 5, 3, 7], &[0, 2, 1, 3]),
        (&[2, 3, 4, 2, 3], &[4, 2, 0, 3, 1]),
        (&[2, 3, 2, 3, 2, 2], &[1, 0, 4, 5, 3, 2]),
        (&[33, 65], &[1, 0]),
        (&[2, 40, 17, 3], &[3, 0, 2, 1]),
        (&[2, 3, 17, 33, 2], &[3, 0, 1, 4, 2]),
        (&[1, 19, 1, 16], &[3, 2, 1, 0]),
        (&[2, 70, 20, 3], &[0, 2, 1, 3]),
    ];
    let row = |shape: &[usize], axes: &'static [usize]| {
        let run = move |x: &[Var]| ops::permute(&x[0], axes);
        let x = input(shape).fill(Fill::Integers(-9, 9));
        Row::new("permute", vec![x], run, move |x| permute(&x[0], axes)).case(format!("axes={axes:?}"))
    };
    let mut rows: Vec<Row> = cases.into_iter().map(|(shape, axes)| row(shape, axes)).collect();
    rows.push(Row::new(
        "transpose",
        vec![input(&[3, 4, 5])],
        |x| ops::transpose(&x[0], 2, 0),
        |x| permute(&x[0], &[2, 1, 0]),
    ));
    let n = 16.0 * 32.0 * 32.0 * 256.0;
    rows.push(row(&[16, 256, 32, 32], &[0, 2, 3, 1]).bench(0.0, 2.0 * n));
    rows.push(row(&[16, 32, 32, 256], &[0, 3, 1, 2]).bench(0.0, 2.0 * n));
    rows.push(row(&[16, 3, 256, 256], &[0, 2, 3, 1]).bench(0.0, 2.0 * 16.0 * 3.0 * 65536.0));
    rows
}
