use super::{Array, Row, input};
use veridical::ops;

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

type Op = fn(&veridical::Var) -> veridical::Result<veridical::Var>;
type Function = fn(f64) -> f64;

pub fn rows() -> Vec<Row> {
    let functions: [(&str, Op, Function); 6] = [
        ("silu", veridical::Var::silu, |x| x * logistic(x)),
        ("sigmoid", veridical::Var::sigmoid, logistic),
        ("tanh", veridical::Var::tanh, f64::tanh),
        ("relu", veridical::Var::relu, |x| x.max(0.0)),
        ("gelu", veridical::Var::gelu, |x| x * libm::erfc(-x / 2f64.sqrt()) / 2.0),
        ("softplus", veridical::Var::softplus, |x| x.exp().ln_1p()),
    ];
    let mut rows = Vec::new();
    for (name, op, f) in functions {
        let row =
            |shape: &[usize]| Row::new(name, vec![input(shape)], move |x| op(&x[0]), move |x: &[Array]| x[0].map(f));
        rows.extend([&[][..], &[0, 3], &[1], &[7], &[3, 5], &[2, 4, 4, 8], &[1031]].map(row));
        let n = 1 << 22;
        rows.push(row(&[n]).bench(8.0 * n as f64, 2.0 * n as f64));
    }
    for slope in [0.2, 0.01] {
        rows.push(
            Row::new(
                "leaky_relu",
                vec![input(&[37])],
                move |x| ops::leaky_relu(&x[0], slope),
                move |x| x[0].map(|x| if x > 0.0 { x } else { x * slope }),
            )
            .case(format!("slope={slope}")),
        );
    }
    rows
}
