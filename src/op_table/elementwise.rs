use super::{Fill, Row, input};
use crate::{Result, Var, ops};

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

type Op = fn(&Var) -> Result<Var>;
type Function = fn(f64) -> f64;

pub fn rows() -> Vec<Row> {
    let (any, positive) = (Fill::Uniform(-1.7, 2.1), Fill::Uniform(0.3, 2.1));
    let functions: [(&str, Op, Function, Fill); 14] = [
        ("silu", Var::silu, |x| x * logistic(x), any),
        ("sigmoid", Var::sigmoid, logistic, any),
        ("tanh", Var::tanh, f64::tanh, any),
        ("relu", Var::relu, |x| x.max(0.0), any),
        ("gelu", Var::gelu, |x| x * libm::erfc(-x / 2f64.sqrt()) / 2.0, any),
        ("softplus", Var::softplus, |x| x.exp().ln_1p(), any),
        ("exp", Var::exp, f64::exp, any),
        ("log", Var::log, f64::ln, positive),
        ("sqrt", Var::sqrt, f64::sqrt, positive),
        ("square", Var::square, |x| x * x, any),
        ("abs", Var::abs, f64::abs, any),
        ("sin", Var::sin, f64::sin, any),
        ("cos", Var::cos, f64::cos, any),
        ("clamp", |x| ops::clamp(x, -0.6, 1.1), |x| x.clamp(-0.6, 1.1), any),
    ];
    let mut rows = Vec::new();
    let from_above = |x: &[Var]| ops::clamp(&x[0], f64::NEG_INFINITY, 0.4);
    rows.push(Row::new("clamp", vec![input(&[37])], from_above, |x| x[0].map(|x| x.min(0.4))).case("from above"));
    for slope in [0.2, 0.01] {
        let leaky = move |x: &[Var]| ops::leaky_relu(&x[0], slope);
        let row = Row::new("leaky_relu", vec![input(&[37])], leaky, move |x| {
            x[0].map(|x| if x > 0.0 { x } else { x * slope })
        });
        rows.push(row.case(format!("slope={slope}")));
    }
    for (name, op, f, fill) in functions {
        let row =
            |shape: &[usize]| Row::new(name, vec![input(shape).fill(fill)], move |x| op(&x[0]), move |x| x[0].map(f));
        rows.extend([&[][..], &[0, 3], &[1], &[7], &[3, 5], &[2, 4, 4, 8], &[1031]].map(row));
        let n = 1 << 22;
        rows.push(row(&[n]).bench(8.0 * n as f64, 2.0 * n as f64));
    }
    rows
}
