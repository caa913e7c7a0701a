use super::{Array, Row, constants};
use crate::{DType, Var, ops};

pub fn rows() -> Vec<Row> {
    let row = |n: usize, beta: f64| {
        let run = move |x: &[Var]| {
            let mut average = x[0].value().clone();
            ops::average(&mut average, x[1].value(), beta)?;
            Ok(average.into())
        };
        let reference = move |x: &[Array]| {
            Array::from_fn(&[n], |i| {
                if beta == 0.0 { x[1].data[i] } else { beta * x[0].data[i] + (1.0 - beta) * x[1].data[i] }
            })
        };
        Row::new("average", constants(2, n), run, reference)
            .case(format!("beta={beta}"))
            .dtypes(&[DType::F32, DType::F64])
    };
    [0, 1, 3, 4, 255, 4099].into_iter().flat_map(|n| [0.0, 0.5, 0.999, 1.0].map(|beta| row(n, beta))).collect()
}
