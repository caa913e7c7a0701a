use super::{Array, Fill, Row, input};
use crate::ops;

fn reference(x: &[Array]) -> Array {
    let d = x[0].shape[1].max(1);
    let rows = x[0].data.chunks(d).flat_map(|row| {
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(move |x| x / length)
    });
    Array { shape: x[0].shape.clone(), data: rows.collect() }
}

pub fn rows() -> Vec<Row> {
    let row =
        |n: usize, d: usize| Row::new("l2_normalize", vec![input(&[n, d])], |x| ops::l2_normalize(&x[0]), reference);
    let sizes = [(0, 3), (3, 0), (1, 2), (3, 5), (7, 31), (5, 33), (130, 4), (2, 1024), (2, 1025), (3, 2056)];
    let mut rows = sizes.map(|(n, d)| row(n, d)).to_vec();
    // Rows whose squares overflow or vanish in f32, or that are divided by the least length. Differences of 1e-6 say
    // nothing of the gradient of the smallest.
    for size in [1e-15, 1e-9, 1e-3, 1e25] {
        let fill = input(&[4, 6]).fill(Fill::Uniform(-1.7 * size, 2.1 * size));
        let input = if size < 1e-6 { fill.constant() } else { fill };
        rows.push(Row { inputs: vec![input], ..row(4, 6) }.case(format!("around {size:e}")));
    }
    for (n, d) in [(1 << 14, 768), (1 << 16, 128)] {
        let count = (n * d) as f64;
        rows.push(row(n, d).bench(4.0 * count, 2.0 * count));
    }
    rows
}
