use super::{Array, Fill, Row, input};
use crate::{Var, ops};

fn concat(x: &[Array], axis: usize) -> Array {
    let mut shape = x[0].shape.clone();
    shape[axis] = x.iter().map(|x| x.shape[axis]).sum();
    let empty = Array::from_fn(&shape, |_| 0.0);
    Array::from_fn(&shape, |i| {
        let mut index = empty.index(i);
        let mut which = 0;
        while index[axis] >= x[which].shape[axis] {
            index[axis] -= x[which].shape[axis];
            which += 1;
        }
        x[which].at(&index)
    })
}

fn slice(x: &Array, axis: usize, start: usize, end: usize) -> Array {
    let mut shape = x.shape.clone();
    shape[axis] = end - start;
    let empty = Array::from_fn(&shape, |_| 0.0);
    Array::from_fn(&shape, |i| {
        let mut index = empty.index(i);
        index[axis] += start;
        x.at(&index)
    })
}

pub fn rows() -> Vec<Row> {
    let whole = |shape: &[usize]| input(shape).fill(Fill::Integers(-9, 9));
    let mut rows = Vec::new();
    let cases: [(&[&[usize]], usize); 11] = [
        (&[&[3], &[2]], 0),
        (&[&[1]], 0),
        (&[&[0, 3], &[2, 3]], 0),
        (&[&[3, 4], &[2, 4], &[1, 4]], 0),
        (&[&[3, 4], &[3, 5]], 1),
        (&[&[2, 3, 3, 8], &[2, 3, 3, 16]], 3),
        (&[&[2, 3, 3, 8], &[2, 3, 3, 0], &[2, 3, 3, 3], &[2, 3, 3, 1]], 3),
        (&[&[2, 3, 5], &[2, 4, 5]], 1),
        (&[&[5, 0], &[5, 0]], 1),
        (&[&[3, 1400], &[3, 24], &[3, 4001]], 1),
        // More than a launch takes, some of them 16 bytes at a time.
        (&[&[3, 8], &[3, 16], &[3, 3], &[3, 5], &[3, 24], &[3, 1], &[3, 7], &[3, 8], &[3, 8]], 1),
    ];
    for (shapes, axis) in cases {
        let inputs = shapes.iter().map(|shape| whole(shape)).collect();
        let run = move |x: &[Var]| ops::concat(&x.iter().collect::<Vec<_>>(), axis);
        rows.push(Row::new("concat", inputs, run, move |x| concat(x, axis)).case(format!("axis={axis}")));
    }
    let (n, a, b) = (1 << 22, [16, 32, 32, 128], [16, 32, 32, 128]);
    rows.push(
        Row::new("concat", vec![input(&a), input(&b)], |x| ops::concat(&[&x[0], &x[1]], 3), |x| concat(x, 3))
            .bench(0.0, 2.0 * n as f64),
    );
    let slices: [(&[usize], usize, usize, usize); 11] = [
        (&[5], 0, 1, 4),
        (&[5], 0, 2, 2),
        (&[5], 0, 0, 5),
        (&[0, 3], 1, 1, 2),
        (&[4, 3], 0, 1, 3),
        (&[4, 3], 1, 2, 3),
        (&[2, 3, 4], 1, 0, 2),
        (&[2, 2, 2, 24], 3, 8, 16),
        (&[2, 2, 2, 24], 3, 16, 24),
        (&[2, 2, 2, 24], 3, 3, 17),
        (&[3, 9000], 1, 700, 8100),
    ];
    for (shape, axis, start, end) in slices {
        let run = move |x: &[Var]| ops::slice(&x[0], axis, start..end);
        let row = Row::new("slice", vec![whole(shape)], run, move |x| slice(&x[0], axis, start, end));
        rows.push(row.case(format!("{start}..{end} of axis {axis}")));
    }
    let run = |x: &[Var]| ops::slice(&x[0], 3, 128..256);
    let row = Row::new("slice", vec![input(&[16, 32, 32, 256])], run, |x| slice(&x[0], 3, 128, 256));
    rows.push(row.bench(0.0, n as f64));
    rows
}
