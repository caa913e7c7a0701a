use super::{Array, Fill, Row, input};
use crate::{Var, ops};

fn rows_of(table: &Array, index: &Array) -> Array {
    let width = table.shape[1];
    let shape = [index.shape.as_slice(), &[width]].concat();
    Array::from_fn(&shape, |i| table.at(&[index.data[i / width] as usize, i % width]))
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let cases: [(usize, usize, &[usize]); 9] = [
        (1, 1, &[1]),
        (5, 3, &[7]),
        (5, 3, &[0]),
        (4, 8, &[3, 2]),
        (10, 16, &[]),
        (3, 7, &[300]),
        (300, 4, &[20]),
        (6, 640, &[131]),
        (7, 257, &[33]),
    ];
    let run = |x: &[Var]| ops::embedding(&x[0], x[1].value());
    for (count, width, shape) in cases {
        for fill in [Fill::Uniform(-1.7, 2.1), Fill::Integers(-4, 4)] {
            let table = input(&[count, width]).fill(fill);
            let index = input(shape).fill(Fill::Indices(count as u32)).constant();
            rows.push(Row::new("embedding", vec![table, index], run, |x| rows_of(&x[0], &x[1])));
        }
    }
    let index = input(&[4096]).fill(Fill::Indices(1000)).constant();
    rows.push(
        Row::new("embedding", vec![input(&[1000, 768]), index], run, |x| rows_of(&x[0], &x[1]))
            .bench(0.0, (1000.0 + 4096.0) * 768.0), // rows of the table that are asked for twice are in the cache
    );
    for (k, shape) in [(1, &[3][..]), (10, &[17]), (5, &[0]), (33, &[2, 3])] {
        // One-hot rows have no gradient: they multiply something that has one, so that their dtype is the row's.
        let run = move |x: &[Var]| {
            let hot = ops::one_hot(x[1].value(), k, x[0].dtype())?;
            ops::mul(&x[0], Var::constant(hot))
        };
        let index = input(shape).fill(Fill::Indices(k as u32)).constant();
        let weights = input(&[k]).fill(Fill::Integers(1, 9));
        rows.push(Row::new("one_hot", vec![weights, index], run, move |x| {
            let shape = [x[1].shape.as_slice(), &[k]].concat();
            Array::from_fn(&shape, |i| if x[1].data[i / k] as usize == i % k { x[0].data[i % k] } else { 0.0 })
        }));
    }
    rows
}
