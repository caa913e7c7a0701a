use super::{Array, Fill, Row, input};
use crate::{Var, ops};

/// `y[i, r, c] = sum over j of a[i, r, j] b[i, j, c]`, each factor as it is or transposed.
fn product(a: &Array, a_transposed: bool, b: &Array, b_transposed: bool) -> Array {
    let rank = a.shape.len();
    let last = |x: &Array, transposed: bool| if transposed { x.shape[rank - 2] } else { x.shape[rank - 1] };
    let first = |x: &Array, transposed: bool| if transposed { x.shape[rank - 1] } else { x.shape[rank - 2] };
    let (m, k, n) = (first(a, a_transposed), last(a, a_transposed), last(b, b_transposed));
    let shape = [&a.shape[..rank - 2], &[m, n]].concat();
    let empty = Array { shape: shape.clone(), data: Vec::new() };
    Array::from_fn(&shape, |i| {
        let index = empty.index(i);
        let (lead, r, c) = (&index[..rank - 2], index[rank - 2], index[rank - 1]);
        let at = |x: &Array, row: usize, column: usize, transposed: bool| {
            let place = if transposed { [column, row] } else { [row, column] };
            x.at(&[lead, &place].concat())
        };
        (0..k).map(|j| at(a, r, j, a_transposed) * at(b, j, c, b_transposed)).sum()
    })
}

fn row(lead: &[usize], [m, n, k]: [usize; 3], a_transposed: bool, b_transposed: bool, fill: Fill) -> Row {
    let shape = |rows: usize, columns: usize, transposed: bool| match transposed {
        false => [lead, &[rows, columns]].concat(),
        true => [lead, &[columns, rows]].concat(),
    };
    let inputs = [shape(m, k, a_transposed), shape(k, n, b_transposed)].map(|shape| input(&shape).fill(fill));
    let run = move |x: &[Var]| ops::matmul_transposed(&x[0], a_transposed, &x[1], b_transposed);
    let reference = move |x: &[Array]| product(&x[0], a_transposed, &x[1], b_transposed);
    let letter = |transposed: bool| if transposed { 't' } else { 'n' };
    Row::new("matmul", inputs.to_vec(), run, reference)
        .case(format!("{}{}", letter(a_transposed), letter(b_transposed)))
        .tolerance(4e-6, 6e-3)
}

pub fn rows() -> Vec<Row> {
    let (real, whole) = (Fill::Uniform(-1.7, 2.1), Fill::Integers(-2, 2));
    let mut rows = Vec::new();
    for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
        for size in [[1, 1, 1], [3, 5, 2], [7, 1, 9], [1, 8, 4], [0, 3, 2], [3, 2, 0]] {
            rows.push(row(&[], size, a, b, real));
        }
        for size in [[64, 64, 32], [65, 63, 33], [16, 24, 40], [17, 9, 47], [8, 16, 530]] {
            rows.push(row(&[], size, a, b, whole));
        }
        rows.push(row(&[], [40, 48, 72], a, b, real));
        rows.push(row(&[3], [5, 4, 6], a, b, real));
        rows.push(row(&[2, 3], [16, 8, 24], a, b, whole));
        rows.push(row(&[0], [2, 2, 2], a, b, real));
        let (n, count) = (1024, 1024 * 1024);
        rows.push(row(&[], [n, n, n], a, b, real).bench(2.0 * (n * count) as f64, 3.0 * count as f64));
    }
    rows.push(row(&[64], [256, 256, 64], false, true, real).bench(2.0 * 64.0 * 256.0 * 256.0 * 64.0, 64.0 * 98304.0));
    rows
}
