use super::{Array, Fill, Row, input};
use crate::ops;

fn linear(x: &[Array]) -> Array {
    let (outputs, inputs) = (x[1].shape[0], x[1].shape[1]);
    let shape = [&x[0].shape[..x[0].shape.len() - 1], &[outputs]].concat();
    Array::from_fn(&shape, |i| {
        let (row, o) = (i / outputs, i % outputs);
        let sum: f64 = (0..inputs).map(|j| x[0].data[row * inputs + j] * x[1].data[o * inputs + j]).sum();
        sum + x.get(2).map_or(0.0, |bias| bias.data[o])
    })
}

fn row(lead: &[usize], inputs: usize, outputs: usize, bias: bool, fill: Fill) -> Row {
    let mut shapes = vec![[lead, &[inputs]].concat(), vec![outputs, inputs]];
    shapes.extend(bias.then(|| vec![outputs]));
    let of = shapes.iter().map(|shape| input(shape).fill(fill)).collect();
    Row::new("linear", of, |x| ops::linear(&x[0], &x[1], x.get(2)), linear).tolerance(4e-6, 6e-3)
}

pub fn rows() -> Vec<Row> {
    let (real, whole) = (Fill::Uniform(-1.7, 2.1), Fill::Integers(-2, 2));
    let mut rows = Vec::new();
    for bias in [false, true] {
        rows.push(row(&[], 3, 4, bias, real));
        rows.push(row(&[1], 1, 1, bias, real));
        rows.push(row(&[5], 7, 3, bias, real));
        rows.push(row(&[2, 3, 2], 4, 6, bias, real));
        rows.push(row(&[0], 3, 2, bias, real));
        rows.push(row(&[3], 0, 2, bias, real));
        rows.push(row(&[33], 72, 65, bias, whole));
        rows.push(row(&[4, 16], 64, 40, bias, whole));
        rows.push(row(&[9], 600, 16, bias, whole));
    }
    let (m, k, n) = (512, 256, 1024);
    let elements = (m * k + n * k + m * n) as f64;
    rows.push(row(&[m], k, n, true, real).bench(2.0 * (m * k * n) as f64, elements));
    rows
}
