use super::{Array, Fill, Row, input};
use crate::{Var, ops};

fn reference(x: &[Array]) -> Array {
    let classes = x[0].shape[1];
    let losses = x[0].data.chunks(classes).zip(&x[1].data).map(|(row, &label)| {
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        sum.ln() - row[label as usize]
    });
    Array { shape: vec![], data: vec![losses.sum::<f64>() / x[0].shape[0] as f64] }
}

pub fn rows() -> Vec<Row> {
    let row = |batch: usize, classes: usize| {
        let labels = input(&[batch]).fill(Fill::Indices(classes as u32)).constant();
        let run = |x: &[Var]| ops::cross_entropy(&x[0], x[1].value());
        Row::new("cross_entropy", vec![input(&[batch, classes]), labels], run, reference).tolerance(4e-6, 6e-3)
    };
    let sizes = [(1, 1), (1, 2), (3, 10), (5, 33), (300, 3), (3, 1000), (2, 1500), (2, 2056)];
    let mut rows = sizes.map(|(batch, classes)| row(batch, classes)).to_vec();
    for (batch, classes) in [(1 << 16, 10), (1 << 12, 1000)] {
        let n = (batch * classes) as f64;
        rows.push(row(batch, classes).bench(5.0 * n, n));
    }
    rows
}
