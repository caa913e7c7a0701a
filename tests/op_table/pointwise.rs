use super::{Fill, Row, input};
use veridical::{Result, Var, ops};

type Op = fn(&Var) -> Result<Var>;
type Function = fn(f64) -> f64;

pub fn rows() -> Vec<Row> {
    let any = Fill::Uniform(-1.7, 2.1);
    let positive = Fill::Uniform(0.3, 2.1);
    let functions: [(&str, Op, Function, Fill); 6] = [
        ("exp", Var::exp, f64::exp, any),
        ("log", Var::log, f64::ln, positive),
        ("sqrt", Var::sqrt, f64::sqrt, positive),
        ("square", Var::square, |x| x * x, any),
        ("abs", Var::abs, f64::abs, any),
        ("clamp", |x| ops::clamp(x, -0.6, 1.1), |x| x.clamp(-0.6, 1.1), any),
    ];
    let mut rows = Vec::new();
    let from_above = |x: &[Var]| ops::clamp(&x[0], f64::NEG_INFINITY, 0.4);
    rows.push(Row::new("clamp", vec![input(&[37])], from_above, |x| x[0].map(|x| x.min(0.4))).case("from above"));
    for (name, op, f, fill) in functions {
        let row =
            |shape: &[usize]| Row::new(name, vec![input(shape).fill(fill)], move |x| op(&x[0]), move |x| x[0].map(f));
        rows.extend([&[][..], &[0, 3], &[1], &[7], &[3, 5], &[2, 4, 4, 8], &[1031]].map(row));
        let n = 1 << 22;
        rows.push(row(&[n]).bench(4.0 * n as f64, 2.0 * n as f64));
    }
    rows
}
