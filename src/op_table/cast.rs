use super::{Fill, Row, input};
use crate::{DType, Var, ops};

type Round = fn(f64) -> f64;

/// There and back again, so that the result has the row's dtype whatever that is.
pub fn rows() -> Vec<Row> {
    let to_f32 = |x: f64| f64::from(x as f32);
    let to_bf16 = |x: f64| f64::from(half::bf16::from_f64(x));
    let targets: [(DType, Round); 2] = [(DType::F32, to_f32), (DType::BF16, to_bf16)];
    let mut rows = Vec::new();
    for (target, round) in targets {
        let row = |shape: &[usize], fill: Fill| {
            let run = move |x: &[Var]| ops::cast(&ops::cast(&x[0], target)?, x[0].dtype());
            Row::new("cast", vec![input(shape).fill(fill)], run, move |x| x[0].map(round))
                .case(format!("by way of {target}"))
                .tolerance(0.0, 0.0)
                .dtypes(&[DType::F32, DType::BF16])
        };
        let uniform = Fill::Uniform(-1e3, 1e-3);
        rows.extend([&[][..], &[0, 4], &[1], &[7], &[8], &[3, 5, 17], &[4099]].map(|shape| row(shape, uniform)));
        let n = 1 << 22;
        // From the other dtype: to its own, a cast has nothing to do.
        let other = if target == DType::F32 { DType::BF16 } else { DType::F32 };
        rows.push(row(&[n], uniform).dtypes(&[other]).bench(0.0, 2.0 * n as f64));
    }
    rows
}
