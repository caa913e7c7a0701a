use super::{Array, Row, constants};
use crate::{DType, Var, ops};

pub fn rows() -> Vec<Row> {
    let row = |sizes: &[usize], max_norm: f64| {
        let run = move |x: &[Var]| {
            let gradients: Vec<_> = x.iter().map(Var::value).collect();
            Ok(ops::gradient_norm(&gradients, max_norm)?.into())
        };
        let reference = move |x: &[Array]| {
            let norm = x.iter().flat_map(|part| &part.data).map(|g| g * g).sum::<f64>().sqrt();
            let factor = if max_norm.is_infinite() { 1.0 } else { (max_norm / (norm + 1e-6)).min(1.0) };
            Array { shape: vec![2], data: vec![norm, factor] }
        };
        let inputs = sizes.iter().flat_map(|&n| constants(1, n)).collect();
        Row::new("gradient_norm", inputs, run, reference).case(format!("max_norm={max_norm}")).dtypes(&[
            DType::F32,
            DType::BF16,
            DType::F64,
        ])
    };
    let sizes: [&[usize]; 5] = [&[0], &[1], &[3, 0, 5], &[255, 257], &[4099, 16, 1]];
    sizes.into_iter().flat_map(|sizes| [f64::INFINITY, 2.0, 1e3].map(|max_norm| row(sizes, max_norm))).collect()
}
