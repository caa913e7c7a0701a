use super::{Array, Fill, Input, Row, input};
use crate::{Result, Var, ops};

/// The element of `x` that NumPy's broadcasting puts at `index` of the result.
fn broadcast(x: &Array, index: &[usize]) -> f64 {
    let skip = index.len() - x.shape.len();
    let own: Vec<usize> =
        x.shape.iter().zip(&index[skip..]).map(|(&extent, &i)| if extent == 1 { 0 } else { i }).collect();
    x.at(&own)
}

fn pairwise(x: &[Array], f: impl Fn(f64, f64) -> f64) -> Array {
    let (a, b) = (&x[0], &x[1]);
    let rank = a.shape.len().max(b.shape.len());
    let extent = |x: &Array, axis: usize| (axis + x.shape.len()).checked_sub(rank).map_or(1, |i| x.shape[i]);
    let shape: Vec<usize> =
        (0..rank).map(|axis| if extent(a, axis) == 1 { extent(b, axis) } else { extent(a, axis) }).collect();
    let empty = Array::from_fn(&shape, |_| 0.0);
    Array::from_fn(&shape, |i| {
        let index = empty.index(i);
        f(broadcast(a, &index), broadcast(b, &index))
    })
}

type Op = fn(&Var, &Var) -> Result<Var>;
type Function = fn(f64, f64) -> f64;

pub fn rows() -> Vec<Row> {
    let ops: [(&str, Op, Function); 5] = [
        ("add", |a, b| ops::add(a, b), |a, b| a + b),
        ("sub", |a, b| ops::sub(a, b), |a, b| a - b),
        ("mul", |a, b| ops::mul(a, b), |a, b| a * b),
        ("div", |a, b| ops::div(a, b), |a, b| a / b),
        ("add_scaled", |a, b| ops::add_scaled(a, 0.75, b, -2.5), |a, b| 0.75 * a - 2.5 * b),
    ];
    let shapes: [(&[usize], &[usize]); 16] = [
        (&[], &[]),
        (&[0, 3], &[3]),
        (&[1], &[1]),
        (&[17], &[17]),
        (&[3, 5], &[5]),
        (&[5], &[3, 5]),
        (&[3, 5], &[3, 1]),
        (&[2, 3, 3, 4], &[2, 1, 1, 4]),
        (&[2, 3, 3, 4], &[2, 1, 1, 1]),
        (&[4, 1], &[1, 6]),
        (&[2, 3], &[]),
        (&[1030], &[1030]),
        (&[2, 3, 5, 16], &[2, 1, 1, 16]), // whole vectors of both operands
        (&[2, 3, 8], &[2, 1, 1]),         // of one
        (&[1, 24], &[3, 1]),
        (&[3, 1, 8], &[5, 1]),
    ];
    let mut rows = Vec::new();
    for (name, op, f) in ops {
        // Denominators stay away from zero.
        let positive = Fill::Uniform(0.5, 2.5);
        let make = |a: Input, b: Input| {
            let row =
                Row::new(name, vec![a, b.fill(positive)], move |x| op(&x[0], &x[1]), move |x: &[Array]| pairwise(x, f));
            // The gradient of a quotient's denominator rounds three intermediates.
            if name == "div" { row.tolerance(2e-6, 1.8e-2) } else { row }
        };
        rows.extend(shapes.map(|(a, b)| make(input(a), input(b))));
        let n = 1 << 22;
        let image: &[usize] = &[16, 32, 32, 256];
        let large = [
            make(input(&[n]), input(&[n])).bench(n as f64, 3.0 * n as f64),
            make(input(image), input(&[16, 1, 1, 256])).bench(n as f64, 2.0 * n as f64),
        ];
        for (i, row) in large.into_iter().enumerate() {
            let n = n as f64;
            // Sums and differences need no operand again, and a factor of one not even a copy of the gradient.
            rows.push(match (name, i) {
                ("add", 0) => row.backward(0.0, 0.0),
                ("add" | "sub", 1) => row.backward(n, n),
                ("sub", _) => row.backward(n, 2.0 * n),
                ("add_scaled", 0) => row.backward(2.0 * n, 3.0 * n),
                ("add_scaled", _) => row.backward(2.0 * n, 2.0 * n),
                _ => row,
            });
        }
    }
    let whole = |shape: &[usize]| input(shape).fill(Fill::Integers(-8, 8));
    rows.push(Row::new(
        "add",
        vec![whole(&[3, 5, 7]), whole(&[5, 1])],
        |x| ops::add(&x[0], &x[1]),
        |x| pairwise(x, |a, b| a + b),
    ));
    rows.push(Row::new("scale", vec![input(&[5, 3])], |x| ops::scale(&x[0], -1.5), |x| x[0].map(|x| -1.5 * x)));
    rows.push(Row::new("neg", vec![input(&[9])], |x| ops::neg(&x[0]), |x| x[0].map(|x| -x)));
    rows.push(Row::new("shift", vec![input(&[5, 3])], |x| ops::shift(&x[0], 0.5), |x| x[0].map(|x| x + 0.5)));
    for (from, to) in [
        (&[3, 1][..], &[2, 3, 4][..]),
        (&[], &[5]),
        (&[4], &[4]),
        (&[2, 1, 1, 3], &[2, 2, 2, 3]),
        (&[8], &[3, 8]),
        (&[3, 1], &[3, 8]),
    ] {
        let shape = to.to_vec();
        let run = move |x: &[Var]| ops::broadcast_to(&x[0], to);
        rows.push(Row::new("broadcast_to", vec![input(from)], run, move |x| {
            let empty = Array::from_fn(&shape, |_| 0.0);
            Array::from_fn(&shape, |i| broadcast(&x[0], &empty.index(i)))
        }));
    }
    rows
}
